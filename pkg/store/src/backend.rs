//! The one door to the disk: load all, commit a batch durably.

use std::path::PathBuf;
use std::sync::Arc;

use crate::record::{Record, Revision};

/// Where records outlive the process. Blocking; owned by the committer thread.
pub trait Backend: Send {
    /// Everything that is stored. Called once, before any commit.
    fn load(&mut self) -> Result<Loaded, BackendError>;

    /// Makes the batch durable. Each transaction of it is all or nothing, also after a power cut; when it
    /// returns Ok all of them survive one.
    ///
    /// After an error the state of the batch's keys is unknown; the committer writes them again with
    /// the next batch.
    fn commit(&mut self, batch: &Batch) -> Result<(), BackendError>;

    /// Gives back memory after a burst of writes. Called when no write came for a while.
    fn rest(&mut self) -> Result<(), BackendError> {
        Ok(())
    }

    /// Throws away what is stored and stores `records` instead: the way out of an error from which
    /// the backend does not recover by itself.
    fn rebuild(
        &mut self,
        records: &mut dyn Iterator<Item = &Arc<Record>>,
        reserved: Revision,
    ) -> Result<(), BackendError>;
}

/// What a backend holds.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The records, in any order.
    pub records: Vec<Arc<Record>>,
    /// The highest revision that may have been handed out (see [`Batch::reserved`]).
    pub reserved: Revision,
}

/// What must become durable together with one sync.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// In order of their revisions; each is all or nothing.
    pub transactions: Vec<Vec<Change>>,
    /// No revision above this is handed out before another reservation is durable. None: as before.
    pub reserved: Option<Revision>,
}

impl Batch {
    /// Whether there is anything to write.
    pub fn is_empty(&self) -> bool {
        self.transactions.is_empty() && self.reserved.is_none()
    }
}

/// One durable change.
#[derive(Debug, Clone)]
pub enum Change {
    /// The key now has this record.
    Put(Arc<Record>),
    /// The key is gone.
    Delete(Arc<str>),
}

/// Why a backend failed.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The filesystem is full, or so nearly that writing on would be dangerous.
    #[error("{}: {free} bytes free, {needed} needed", path.display())]
    Full {
        /// The folder.
        path: PathBuf,
        /// Bytes an unprivileged writer has left.
        free: u64,
        /// Bytes that must be free for this write.
        needed: u64,
    },
    /// The operating system refused.
    #[error("{doing} {}", path.display())]
    Io {
        /// What we were doing.
        doing: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// What is stored makes no sense.
    #[error("the stored data is damaged: {what}")]
    Damaged {
        /// What is wrong.
        what: String,
    },
    /// The database panicked; it was caught.
    #[error("the database panicked: {what}")]
    Panicked {
        /// The panic's message.
        what: String,
    },
    /// The database failed.
    #[error("{doing}")]
    Database {
        /// What we were doing.
        doing: &'static str,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl BackendError {
    /// Whether the cause is a lack of space, which time may cure.
    pub fn is_full(&self) -> bool {
        match self {
            BackendError::Full { .. } => true,
            BackendError::Io { source, .. } => is_out_of_space(source),
            _ => false,
        }
    }
}

/// ENOSPC and EDQUOT.
pub(crate) fn is_out_of_space(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
    )
}
