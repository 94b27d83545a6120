//! Containers: made, started, watched, stopped, removed, and found again after a restart.

pub(crate) mod attach;
pub(crate) mod create;
pub(crate) mod exec;
pub(crate) mod exit;
pub(crate) mod io;
pub(crate) mod lifecycle;
pub(crate) mod list;
pub(crate) mod orphans;
pub(crate) mod record;
pub(crate) mod session;
pub(crate) mod signal;
pub(crate) mod volumes;
