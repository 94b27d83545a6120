//! Telling others that we are ready: systemd (sd_notify(3)) and a file for scripts.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

/// The file that says that the node is Ready.
pub const READY: &str = "ready";

/// Tells systemd that the service is up; nothing happens when systemd did not start us.
pub fn service_ready() {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(&path),
    };
    let sent = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(b"READY=1", &address));
    if let Err(error) = sent {
        tracing::warn!(%error, "systemd could not be told that the server is up");
    }
}

/// Leaves a file that says that the node is Ready.
pub fn node_ready(run: &Path) {
    if let Err(error) = std::fs::write(run.join(READY), b"") {
        tracing::warn!(%error, folder = %run.display(), "the file `ready` could not be written");
    }
}
