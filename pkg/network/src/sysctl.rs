//! Kernel switches under /proc/sys/net. They are those of the calling thread's network namespace.

use std::fs;
use std::io;

/// Sets a switch (`ipv4/ip_forward`) unless it has the value already: writing some of them resets
/// others.
pub(crate) fn set(name: &str, value: &str) -> io::Result<()> {
    let path = format!("/proc/sys/net/{name}");
    if fs::read_to_string(&path)?.trim() == value {
        return Ok(());
    }
    fs::write(&path, value)
}

/// Sets a switch that an older or smaller kernel may lack and that we can live without.
pub(crate) fn set_if_there(name: &str, value: &str) {
    if let Err(error) = set(name, value) {
        tracing::debug!(switch = name, value, %error, "kernel switch left as it is");
    }
}
