//! The default backend: sled 0.34.7, used with care.
//!
//! What sled does not do by itself, found by measuring, is done here:
//! - a commit costs it seven threads woken, pages written anew and two waits for the disk: batches become
//!   durable in a journal, in one write and one `fdatasync`, and it gets them by thousands ([`journalled`]);
//! - its `flush` writes but does not sync: it is followed by `fdatasync` of its file, and so often that no part of
//!   its log is written over before what replaces it is on the disk ([`applied`]);
//! - messages above half a MiB go to files in `blobs/` that it never syncs: values are cut into chunks and
//!   batches kept small ([`layout`]), and should a blob appear all the same, it is synced;
//! - it keeps in memory what it has read and written: it is open only while it is used, and works on a
//!   thread, that is in a corner of the memory, of its own ([`aside`]);
//! - it may panic: panics are caught. While running, the database is then built anew from memory
//!   ([`Backend::rebuild`]); at start it is set aside and the last logical snapshot is restored;
//! - killed while it opens, it may leave an index cut off, and then takes that for a damaged database: such a
//!   file is removed before it opens;
//! - it bears a full disk badly: space is looked at before each batch.
//!
//! Files: `{folder}/journal.0` and `.1` are the journal, `sled` is the database, `sled.new` one that is being
//! built (with `COMPLETE` in it once it is whole), `sled.damaged` the last one that was set aside.

mod applied;
mod aside;
mod database;
mod disk;
mod frame;
mod journal;
mod journalled;
mod layout;
mod open;
mod read;

use std::path::PathBuf;
use std::sync::Arc;

use crate::backend::{Backend, BackendError, Batch, Loaded};
use crate::record::{Record, Revision};
use journalled::Journalled;

/// How the database lies on the disk.
#[derive(Debug, Clone)]
pub struct SledOptions {
    /// The folder that holds the database; made if need be.
    pub folder: PathBuf,
    /// Where regular logical snapshots are, to restore from when the database is beyond repair.
    pub snapshots: Option<PathBuf>,
    /// Writes are refused when fewer bytes than this are free (deletes: half of it). 0: never looked at.
    pub spare_bytes: u64,
}

impl SledOptions {
    /// The usual ones for a folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            snapshots: None,
            spare_bytes: 16 << 20,
        }
    }
}

/// Records in sled, behind a journal.
pub struct SledBackend {
    options: SledOptions,
    loaded: Option<Journalled>,
}

impl SledBackend {
    /// A backend that opens its folder when it is loaded.
    pub fn new(options: SledOptions) -> Self {
        Self {
            options,
            loaded: None,
        }
    }

    fn journalled(&mut self) -> Result<&mut Journalled, BackendError> {
        self.loaded.as_mut().ok_or_else(|| BackendError::Damaged {
            what: "it was not loaded".to_owned(),
        })
    }
}

impl Backend for SledBackend {
    fn load(&mut self) -> Result<Loaded, BackendError> {
        // Two at a time would meet at the files.
        self.loaded = None;
        let (journalled, loaded) = Journalled::load(&self.options)?;
        self.loaded = Some(journalled);
        open::give_back();
        Ok(loaded)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), BackendError> {
        self.journalled()?.commit(batch)
    }

    fn rest(&mut self) -> Result<(), BackendError> {
        self.journalled()?.rest()
    }

    fn rebuild(
        &mut self,
        records: &mut dyn Iterator<Item = &Arc<Record>>,
        reserved: Revision,
    ) -> Result<(), BackendError> {
        self.journalled()?.rebuild(records, reserved)
    }
}
