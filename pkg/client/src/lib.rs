//! The only way to reach the API: typed access, shared caches, work queues, events.
//!
//! Everything outside `apiserver` uses this crate, in the API server's process or not, and passes
//! authentication, authorization and admission with an identity of its own.
//!
//! State and channels: a [`Cache`] owns the newest known state of one kind, fed by one watch; each
//! subscriber has an unbounded channel of changes (pointers only) and loses none of them.
//!
//! **Invariant**: within one process there is at most one watch per kind (and field selector).

pub mod cache;
pub mod events;
mod in_process;
pub mod queue;
mod retry;
pub mod tolerations;

pub use cache::{Cache, Caches, Change, Changes, Key};
pub use events::{EventType, Recorder};
pub use in_process::in_process;
pub use queue::WorkQueue;

pub use k8s_openapi;
pub use kube;
