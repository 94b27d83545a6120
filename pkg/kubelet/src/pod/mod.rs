//! One pod: what it should be (`desired`), what to do (`plan`, `stopping`), what to report
//! (`status`), and the task that does it (`worker`).

pub mod amount;
pub mod backoff;
pub mod conditions;
pub mod desired;
pub mod env;
pub mod etc;
pub mod expand;
pub mod fields;
pub mod history;
pub mod hooks;
pub mod kill;
pub mod mounts;
pub mod patch;
pub mod phase;
pub mod plan;
pub mod report;
pub mod resources;
pub mod security;
pub mod setup;
pub mod start;
pub mod status;
pub mod stopping;
pub mod termination;
pub mod worker;
