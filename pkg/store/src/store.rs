//! The store as its users see it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::backend::{Backend, Loaded};
use crate::committer::{Committer, Message, Request};
use crate::error::{CommitError, OpenError, RevisionError, SnapshotFileError};
use crate::history::Bounds;
use crate::hub::Hub;
use crate::logical::{self, Saver, SnapshotFile};
use crate::op::{Committed, Durability, Op};
use crate::record::{Record, Revision};
use crate::snapshot::{Records, Snapshot};
use crate::watch::Watch;

/// How a store behaves. The defaults suit a cluster on one small machine.
#[derive(Debug, Clone)]
pub struct Options {
    /// Changes remembered for watches and [`Store::snapshot_at`], at most this many,
    pub history_events: usize,
    /// at most this many bytes that nothing else keeps,
    pub history_bytes: usize,
    /// and at most this old. (etcd as Kubernetes runs it: 5 minutes.)
    pub history_age: Duration,
    /// The largest value, bytes. (etcd: 1.5 MiB for a whole request.)
    pub max_value_bytes: usize,
    /// The most operations of one commit. (etcd: 128.)
    pub max_ops: usize,
    /// Revisions reserved at a time; so many may be skipped by a crash.
    pub revision_block: u64,
    /// Regular logical snapshots; None: none.
    pub snapshots: Option<RegularSnapshots>,
}

/// Logical snapshots that are written when something changed.
#[derive(Debug, Clone)]
pub struct RegularSnapshots {
    /// The folder; made if need be.
    pub folder: PathBuf,
    /// How long after the first change since the last snapshot.
    pub every: Duration,
    /// How many are kept.
    pub keep: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            history_events: 100_000,
            history_bytes: 8 << 20,
            history_age: Duration::from_secs(300),
            max_value_bytes: 8 << 20,
            max_ops: 1024,
            revision_block: 1_000_000,
            snapshots: None,
        }
    }
}

/// Revisioned, watchable, snapshotable bytes. Cloning it is cheap; all clones are the same store.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    hub: Arc<Hub>,
    /// Dropping it, with the last clone, ends the committer.
    messages: mpsc::Sender<Message>,
    max_value_bytes: usize,
    max_ops: usize,
}

impl Store {
    /// Loads what the backend holds and starts the committer thread.
    pub async fn open(backend: Box<dyn Backend>, options: Options) -> Result<Store, OpenError> {
        let (max_value_bytes, max_ops) = (options.max_value_bytes, options.max_ops);
        let (messages, inbox) = mpsc::channel();
        let (opened, hub) = oneshot::channel();
        std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || match committer(backend, options) {
                Err(error) => drop(opened.send(Err(error))),
                Ok(committer) => {
                    // When the opener gave up, its sender is gone and the committer ends at once.
                    let _ = opened.send(Ok(committer.hub.clone()));
                    committer.run(&inbox);
                }
            })
            .map_err(OpenError::Thread)?;
        let hub = hub.await.map_err(|_| OpenError::Ended)??;
        Ok(Store {
            shared: Arc::new(Shared {
                hub,
                messages,
                max_value_bytes,
                max_ops,
            }),
        })
    }

    /// The newest revision. After a restart it is at least as high as any that was handed out.
    pub fn revision(&self) -> Revision {
        self.shared.hub.tip().revision
    }

    /// The record as of the newest commit (a `Synced` one only once it is on disk).
    pub fn get(&self, key: &str) -> Option<Arc<Record>> {
        self.shared.hub.tip().get(key).cloned()
    }

    /// The newest state. O(1).
    pub fn snapshot(&self) -> Snapshot {
        self.shared.hub.tip().clone()
    }

    /// The state as it was at `revision`, if the history reaches back to it. O(changes since), and O(1)
    /// when the same revision is asked for again, as the pages of a list do.
    pub fn snapshot_at(&self, revision: Revision) -> Result<Snapshot, RevisionError> {
        self.shared.hub.snapshot_at(revision)
    }

    /// Waits until the state is not older than `revision`; [`RevisionError::Future`] after `timeout`.
    pub async fn wait_for(&self, revision: Revision, timeout: Duration) -> Result<(), RevisionError> {
        let arrived = async {
            loop {
                let mut advanced = pin!(self.shared.hub.advanced().notified());
                advanced.as_mut().enable();
                if self.revision() >= revision || self.shared.hub.is_closed() {
                    return;
                }
                advanced.await;
            }
        };
        // Out of time or closed, what counts is where it is now.
        let _ = tokio::time::timeout(timeout, arrived).await;
        match self.revision() {
            current if current < revision => Err(RevisionError::Future { current }),
            _ => Ok(()),
        }
    }

    /// Does all of `ops` or nothing, as one revision. Returns when it is as durable as asked and every
    /// reader sees it. Once called, it is done even if the future is dropped.
    pub async fn commit(&self, ops: Vec<Op>, durability: Durability) -> Result<Committed, CommitError> {
        self.check_sizes(&ops)?;
        let (reply, outcome) = oneshot::channel();
        let request = Request {
            ops,
            durability,
            reply,
        };
        self.shared
            .messages
            .send(Message::Commit(request))
            .map_err(|_| CommitError::Closed)?;
        let (outcome, _ops) = outcome.await.map_err(|_| CommitError::Closed)?;
        outcome
    }

    fn check_sizes(&self, ops: &[Op]) -> Result<(), CommitError> {
        let largest = ops.iter().map(Op::value_bytes).max().unwrap_or(0);
        if largest > self.shared.max_value_bytes {
            let limit = self.shared.max_value_bytes;
            return Err(CommitError::TooLarge {
                what: "a value's size in bytes",
                actual: largest,
                limit,
            });
        }
        if ops.len() > self.shared.max_ops {
            let limit = self.shared.max_ops;
            return Err(CommitError::TooLarge {
                what: "the number of operations",
                actual: ops.len(),
                limit,
            });
        }
        Ok(())
    }

    /// Every change after `after` to keys that begin with `prefix`: in order, none lost, none twice.
    /// List at a revision and watch after it, and nothing is missed in between.
    pub fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, RevisionError> {
        Watch::begin(self.shared.hub.clone(), prefix, after)
    }

    /// Ends all watches, behind the changes they have yet to tell, and those that begin later at once.
    /// Reads and writes go on.
    pub fn end_watches(&self) {
        self.shared.hub.end_watches();
    }

    /// Writes the newest state to the file `to` (replacing it only when the new one is whole and on
    /// disk), for [`crate::verify`] and [`crate::restore`]. Commits go on meanwhile.
    pub async fn save(&self, to: &Path) -> Result<SnapshotFile, SnapshotFileError> {
        let (snapshot, path) = (self.snapshot(), to.to_owned());
        let saved = tokio::task::spawn_blocking(move || logical::save(&snapshot, &path)).await;
        saved.unwrap_or_else(|stopped| {
            let source = std::io::Error::other(stopped);
            Err(SnapshotFileError::Io {
                doing: "writing",
                path: to.to_owned(),
                source,
            })
        })
    }

    /// Finishes the commits that wait, ends all watches and lets go of the backend. Reads go on.
    pub async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        if self.shared.messages.send(Message::Close(reply)).is_ok() {
            // An error means that it had ended before: the same to the caller.
            let _ = closed.await;
        }
    }
}

/// Loads, and makes the committer of what was loaded.
fn committer(mut backend: Box<dyn Backend>, options: Options) -> Result<Committer, OpenError> {
    let Loaded { records, reserved } = backend.load().map_err(OpenError::Load)?;
    let newest = records.iter().map(|record| record.revision).max().unwrap_or(0);
    let revision = newest.max(reserved);
    let records: Records = records
        .into_iter()
        .map(|record| (record.key.clone(), record))
        .collect();
    let bounds = Bounds {
        events: options.history_events,
        bytes: options.history_bytes,
        age: options.history_age,
    };
    Ok(Committer {
        hub: Arc::new(Hub::new(Snapshot { revision, records }, bounds)),
        backend,
        assigned: revision,
        reserved,
        block: options.revision_block.max(1),
        saver: options.snapshots.map(Saver::new),
        doubtful: BTreeSet::new(),
        shed_at: None,
        rest_at: None,
        unrested: 0,
    })
}
