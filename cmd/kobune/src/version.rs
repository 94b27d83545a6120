//! `kobune version`.

/// The Kubernetes that kobune behaves as.
pub const KUBERNETES: &str = "v1.36.2";

/// One line with both versions.
pub const LINE: &str = concat!("v", env!("CARGO_PKG_VERSION"), " (Kubernetes v1.36.2)");

/// Prints the versions.
pub fn run() {
    println!("kobune {LINE}");
    println!("commit {}", option_env!("KOBUNE_COMMIT").unwrap_or("unknown"));
}
