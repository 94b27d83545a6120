//! The whole key space as it was at one revision.

use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;

use crate::record::{Record, Revision};

/// Records by key. Cloning is O(1), a changed clone shares what did not change.
pub(crate) type Records = OrdMap<Arc<str>, Arc<Record>>;

/// Every record as it was at `revision`. Taking and cloning it is O(1); it stays as it is.
#[derive(Clone)]
pub struct Snapshot {
    /// The newest commit it includes.
    pub revision: Revision,
    pub(crate) records: Records,
}

impl Snapshot {
    /// The record with this key.
    pub fn get(&self, key: &str) -> Option<&Arc<Record>> {
        self.records.get(key)
    }

    /// The records whose keys begin with `prefix`, in the order of their keys (bytewise), beginning after
    /// the key `start_after`. Seeking is O(log n).
    pub fn range(
        &self,
        prefix: &str,
        start_after: Option<&str>,
    ) -> impl Iterator<Item = &Arc<Record>> + use<'_> {
        let from = match start_after {
            Some(key) if key >= prefix => Bound::Excluded(key),
            _ => Bound::Included(prefix),
        };
        let prefix: Box<str> = prefix.into();
        self.records
            .range::<_, str>((from, Bound::Unbounded))
            .map(|(_, record)| record)
            .take_while(move |record| record.key.starts_with(&*prefix))
    }

    /// How many keys begin with `prefix`. Walks them: O(matches).
    pub fn count(&self, prefix: &str) -> usize {
        self.range(prefix, None).count()
    }

    /// How many records there are in all. O(1).
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is nothing at all.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}
