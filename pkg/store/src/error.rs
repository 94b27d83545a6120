//! What can go wrong, by what was being done.

use std::path::PathBuf;
use std::sync::Arc;

use crate::backend::BackendError;
use crate::record::{Record, Revision};

/// Why a store did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The stored state could not be read.
    #[error("loading the stored state")]
    Load(#[source] BackendError),
    /// The operating system refused the committer's thread.
    #[error("starting the committer thread")]
    Thread(#[source] std::io::Error),
    /// The committer ended before it had loaded.
    #[error("the committer thread ended while loading the stored state")]
    Ended,
}

/// Why a commit was not done. Nothing of it is visible, now or later.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// A condition did not hold.
    #[error("{key} is not as expected (it is {})", describe(.current))]
    Conflict {
        /// The key.
        key: Arc<str>,
        /// What is there instead.
        current: Option<Arc<Record>>,
    },
    /// No space on the disk: writes are refused until there is, reads go on.
    #[error("no space left for the write")]
    Full {
        /// What the backend said.
        #[source]
        source: Arc<BackendError>,
    },
    /// A value, or the number of operations, is over the limit of [`crate::Options`].
    #[error("{what} is {actual}, over the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large it is.
        actual: usize,
        /// How large it may be.
        limit: usize,
    },
    /// The backend failed.
    #[error("writing to the backend")]
    Backend {
        /// What the backend said.
        #[source]
        source: Arc<BackendError>,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

fn describe(current: &Option<Arc<Record>>) -> String {
    match current {
        Some(record) => format!("at revision {}", record.revision),
        None => "absent".to_owned(),
    }
}

/// Why a revision cannot be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RevisionError {
    /// Older than the history that is kept. Kubernetes answers 410 Gone, reason Expired.
    #[error("the revision has been compacted; the oldest is {oldest}")]
    Compacted {
        /// The oldest revision that can be served.
        oldest: Revision,
    },
    /// Not handed out yet. Kubernetes answers "Too large resource version".
    #[error("the revision is in the future; the newest is {current}")]
    Future {
        /// The newest revision.
        current: Revision,
    },
}

/// Why a watch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// Its reader was so slow that what comes next is no longer remembered. The client gets 410.
    #[error("the watch fell behind the history that is kept")]
    Lagged,
}

/// Why a logical snapshot was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotFileError {
    /// The file could not be written or read.
    #[error("{doing} {}", path.display())]
    Io {
        /// What we were doing.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The file is not a snapshot, is cut off, or was changed.
    #[error("{} is not a whole snapshot: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The backend to restore into already holds data.
    #[error("the database to restore into is not empty")]
    NotEmpty,
    /// The backend failed.
    #[error("writing the snapshot's content to the backend")]
    Backend(#[source] BackendError),
}
