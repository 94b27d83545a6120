//! What is stored, and what is told about it.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

/// The number of a commit; Kubernetes' `resourceVersion`. Starts at 1, never repeats, never goes back.
pub type Revision = u64;

/// One stored value. Shared by every reader.
pub struct Record {
    /// Where it is stored: `/registry/{group}/{plural}/{namespace}/{name}`.
    pub key: Arc<str>,
    /// The value as it is served, the revision already written in.
    pub value: Bytes,
    /// The commit that created the key (since it was last absent).
    pub create_revision: Revision,
    /// The commit that wrote this value.
    pub revision: Revision,
    memo: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl Record {
    /// A record as a backend loads it.
    pub fn new(key: Arc<str>, value: Bytes, create_revision: Revision, revision: Revision) -> Self {
        Self {
            key,
            value,
            create_revision,
            revision,
            memo: OnceLock::new(),
        }
    }

    /// What `parse` makes of the value: computed by the first caller, kept beside the value for all.
    ///
    /// # Panics
    /// When two callers ask for different types: a store has one type of memo, by design of its user.
    pub fn memo<T: Any + Send + Sync>(&self, parse: impl FnOnce(&Bytes) -> T) -> &T {
        self.memo
            .get_or_init(|| Box::new(parse(&self.value)))
            .downcast_ref()
            .expect("all users of one store ask for the same type of memo")
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("key", &self.key)
            .field("bytes", &self.value.len())
            .field("create_revision", &self.create_revision)
            .field("revision", &self.revision)
            .finish()
    }
}

/// What happened to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// It was created (no `previous`) or replaced.
    Put,
    /// It is gone.
    Delete,
}

/// One committed change, shared by all watchers of it.
#[derive(Debug)]
pub struct Event {
    /// The commit. Several events share it when one commit had several operations.
    pub revision: Revision,
    /// What happened.
    pub kind: EventKind,
    /// The new record; for a delete the final state, carrying the deletion's revision.
    pub record: Arc<Record>,
    /// The record before the change; None for a create.
    pub previous: Option<Arc<Record>>,
}

impl Event {
    /// Bytes that live on only because this event is remembered.
    pub(crate) fn retained_bytes(&self) -> usize {
        let size = |record: &Record| size_of::<Record>() + record.value.len();
        let last = if self.kind == EventKind::Delete {
            size(&self.record)
        } else {
            0
        };
        size_of::<Self>() + last + self.previous.as_deref().map_or(0, size)
    }
}
