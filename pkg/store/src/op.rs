//! What a caller asks of the store, and what it gets.

use std::sync::Arc;

use crate::record::{Record, Revision};

/// The condition under which an operation is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Whatever is there.
    Any,
    /// The key must not exist.
    Absent,
    /// The key must exist.
    Exists,
    /// The key must exist and have been written by exactly this commit.
    Revision(Revision),
}

impl Expect {
    /// Whether `current` meets the condition.
    pub(crate) fn holds(self, current: Option<&Record>) -> bool {
        match (self, current) {
            (Expect::Any, _) | (Expect::Absent, None) | (Expect::Exists, Some(_)) => true,
            (Expect::Revision(wanted), Some(record)) => record.revision == wanted,
            _ => false,
        }
    }
}

/// Value bytes with the place where the committer writes the decimal revision it assigns (the object's
/// `metadata.resourceVersion`), so that stored bytes are served as they are.
#[derive(Debug, Clone)]
pub struct Value {
    /// The bytes, without the revision.
    pub bytes: Vec<u8>,
    /// Offset in `bytes` at which the digits are inserted (an offset past the end means the end);
    /// None when the value does not carry its revision.
    pub revision_slot: Option<usize>,
}

/// One write of a commit.
#[derive(Debug, Clone)]
pub enum Op {
    /// Create or replace.
    Put {
        /// The key.
        key: Arc<str>,
        /// The new value.
        value: Value,
        /// The condition.
        expect: Expect,
    },
    /// Remove. Removing what is absent, where `expect` allows it, changes nothing and tells nobody.
    Delete {
        /// The key.
        key: Arc<str>,
        /// The condition.
        expect: Expect,
        /// The object's final state, which watchers get; None: the value as it was stored.
        last: Option<Value>,
    },
}

impl Op {
    /// The key it writes.
    pub fn key(&self) -> &Arc<str> {
        match self {
            Op::Put { key, .. } | Op::Delete { key, .. } => key,
        }
    }

    pub(crate) fn expect(&self) -> Expect {
        match self {
            Op::Put { expect, .. } | Op::Delete { expect, .. } => *expect,
        }
    }

    /// Bytes of the value it brings along.
    pub(crate) fn value_bytes(&self) -> usize {
        match self {
            Op::Put { value, .. }
            | Op::Delete {
                last: Some(value), ..
            } => value.bytes.len(),
            Op::Delete { last: None, .. } => 0,
        }
    }
}

/// What an acknowledgement promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It is on disk and survives a power cut.
    Synced,
    /// It is in memory only (Events, Lease updates that change nothing but `renewTime`); still numbered
    /// and watched. After a restart the key is as it was last synced. A key that was ever synced must
    /// be deleted with `Synced`.
    Memory,
}

/// A commit that was done.
#[derive(Debug, Clone)]
pub struct Committed {
    /// Its number; the store's newest revision when nothing had to be changed.
    pub revision: Revision,
    /// One per operation, in order; None for a delete.
    pub records: Vec<Option<Arc<Record>>>,
}
