//! The OCI runtime specification of a container: what runc is told.
//!
//! [`plan`] decides from what it is given; [`host`] is what it is given about this machine.

pub(crate) mod capabilities;
pub(crate) mod devices;
pub(crate) mod host;
pub(crate) mod mounts;
pub(crate) mod plan;
pub(crate) mod resources;
pub(crate) mod seccomp;
pub(crate) mod users;
