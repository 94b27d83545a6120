//! What the suites share: a server of their own, a namespace for each test, kubectl, images, deadlines.
//!
//! A [`Cluster`] is a real kobune process with its own folders, ports and address ranges, removed
//! completely when the test program ends. `tests/run` says where the binary and the tools are.

mod cluster;
mod command;
mod deadline;
mod ports;
mod shared;
mod space;

pub use cluster::{Cluster, Options};
pub use command::{Output, run};
pub use deadline::eventually;
pub use shared::shared;
pub use space::Space;

use std::path::PathBuf;

/// The folder with images and tools that `tests/run` prepared.
pub fn cache() -> PathBuf {
    std::env::var_os("KOBUNE_TEST_CACHE")
        .map(PathBuf::from)
        .expect("KOBUNE_TEST_CACHE is set: start this with tests/run")
}

/// The kobune program under test.
pub fn kobune() -> PathBuf {
    std::env::var_os("KOBUNE_BIN")
        .map(PathBuf::from)
        .expect("KOBUNE_BIN is set: start this with tests/run")
}

/// The tar of a test image, such as `nginx`.
pub fn image_tar(name: &str) -> PathBuf {
    cache().join("images").join(format!("{name}.tar"))
}
