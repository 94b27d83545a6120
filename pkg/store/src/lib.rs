//! Revisioned, watchable, snapshotable bytes.
//!
//! The store is a log with snapshots. One counter numbers every commit; a commit is an
//! all-or-nothing set of compare-and-set writes; readers get the whole key space as it was at one
//! revision in O(1); watchers get every change after a revision, in order, none lost.
//!
//! ```text
//!  commit() ──queue──▶ committer thread ── plan (checks, pure) ── backend.commit (disk)
//!                            │ publish
//!                            ├──▶ tip: the snapshot that reads see
//!                            ├──▶ history ─▶ topics ─▶ watches (a cursor each, nothing copied)
//!                            └──▶ acknowledgement
//! ```
//!
//! **Channels.** Requests reach the committer over one unbounded queue (each waits for its answer, so it
//! is bounded by the callers). The committer alone owns the backend and writes the tip. Everyone else
//! reads the tip and the topics. Watches are woken by the committer; when a crowd of them is to be told
//! of several changes together (`pace.rs`), it leaves that to the herald, a thread with a timer.
//!
//! **Invariant.** What a reader or a watcher sees of a [`Durability::Synced`] write is on disk.
//! Revisions handed out never repeat, not even after a crash.

mod backend;
mod committer;
mod error;
mod herald;
mod history;
mod hub;
mod logical;
pub mod memory_backend;
mod op;
mod pace;
mod plan;
mod record;
pub mod sled_backend;
mod snapshot;
mod store;
mod topic;
mod waiting;
mod watch;

pub use backend::{Backend, BackendError, Batch, Change, Loaded};
pub use error::{CommitError, OpenError, RevisionError, SnapshotFileError, WatchError};
pub use logical::{SnapshotFile, restore, verify};
pub use op::{Committed, Durability, Expect, Op, Value};
pub use record::{Event, EventKind, Record, Revision};
pub use snapshot::Snapshot;
pub use store::{Options, RegularSnapshots, Store};
pub use watch::Watch;
