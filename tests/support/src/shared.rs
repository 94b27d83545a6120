//! The server that all tests of a suite share.

use std::sync::OnceLock;

use crate::cluster::{Cluster, Options};

static CLUSTER: OnceLock<Cluster> = OnceLock::new();

extern "C" fn remove() {
    if let Some(cluster) = CLUSTER.get() {
        cluster.remove();
    }
}

/// The test program's shared server, started by the first who asks; removed when the program ends.
pub fn shared(options: impl FnOnce() -> Options) -> &'static Cluster {
    CLUSTER.get_or_init(|| {
        // Statics are not dropped; the C library calls this at the end, also after a failed test.
        // SAFETY: `remove` is a plain function that lives as long as the program.
        unsafe { libc::atexit(remove) };
        Cluster::start(&options())
    })
}
