//! A backend for tests: nothing touches a disk, and a clone is the same "disk" after a restart.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::backend::{Backend, BackendError, Batch, Change, Loaded};
use crate::record::{Record, Revision};

/// Records in memory. Clones share them.
#[derive(Clone, Default)]
pub struct MemoryBackend {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Default)]
struct Disk {
    records: BTreeMap<Arc<str>, Arc<Record>>,
    reserved: Revision,
    full: bool,
    broken: bool,
    commits: u64,
}

impl MemoryBackend {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes every commit fail for lack of space, or work again.
    pub fn set_full(&self, full: bool) {
        self.disk().full = full;
    }

    /// Makes every commit fail, half done, until the content is rebuilt.
    pub fn break_until_rebuilt(&self) {
        self.disk().broken = true;
    }

    /// How many batches were written.
    pub fn commits(&self) -> u64 {
        self.disk().commits
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend for MemoryBackend {
    fn load(&mut self) -> Result<Loaded, BackendError> {
        let disk = self.disk();
        Ok(Loaded {
            records: disk.records.values().cloned().collect(),
            reserved: disk.reserved,
        })
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), BackendError> {
        let mut disk = self.disk();
        if disk.full {
            return Err(BackendError::Full {
                path: "memory".into(),
                free: 0,
                needed: 1,
            });
        }
        disk.commits += 1;
        if disk.broken {
            disk.records.clear();
            return Err(BackendError::Damaged {
                what: "as the test asked".to_owned(),
            });
        }
        for change in batch.transactions.iter().flatten() {
            match change {
                Change::Put(record) => disk.records.insert(record.key.clone(), record.clone()),
                Change::Delete(key) => disk.records.remove(key),
            };
        }
        disk.reserved = batch.reserved.unwrap_or(disk.reserved);
        Ok(())
    }

    fn rebuild(
        &mut self,
        records: &mut dyn Iterator<Item = &Arc<Record>>,
        reserved: Revision,
    ) -> Result<(), BackendError> {
        let mut disk = self.disk();
        disk.records = records
            .map(|record| (record.key.clone(), record.clone()))
            .collect();
        disk.reserved = reserved;
        disk.broken = false;
        Ok(())
    }
}
