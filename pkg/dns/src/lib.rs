//! Names to answers: the cluster's resolver, in the process.
//!
//! ```text
//! caches of Services, EndpointSlices, Namespaces ── follow ──> Zone ──┐
//! query ── server ── answer(question, zone) ── ours: at once ─────────┴─> reply
//!                          └── not ours: cache, or forward to the node's own nameservers
//! ```
//!
//! How pods reach it: the cluster DNS address (10.43.0.10) is an address of every node's bridge
//! (`NodeNetworkConfig::cluster_dns`) and this resolver listens on it; each node answers its own pods
//! and no Service rule is involved. The Service `kube-dns` in kube-system exists for people and programs
//! that look for it; the packet rules leave its address alone.
//!
//! To learn which names there are, open `answer.rs`; what a Service contributes, `names.rs`.
//!
//! **Invariant**: a query never makes an API call, and never waits for anything but the network.

mod answer;
mod cache;
mod follow;
mod forward;
mod names;
mod resolv_conf;
mod server;
mod wire;
mod zone;

use std::net::SocketAddr;
use std::path::PathBuf;

use kobune_client::Caches;
use tokio_util::sync::CancellationToken;

pub use server::Dns;

/// Settings of the resolver.
#[derive(Debug, Clone)]
pub struct DnsConfig {
    /// Addresses to listen on, UDP and TCP: the cluster DNS address, port 53.
    pub listen: Vec<SocketAddr>,
    /// The cluster's domain (`--cluster-domain`), usually `cluster.local`.
    pub cluster_domain: String,
    /// The file that names the nameservers for all other names, usually `/etc/resolv.conf`. Read again
    /// when it changes; nameservers at our own addresses are skipped.
    pub resolv_conf: PathBuf,
}

/// The resolver could not start.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// An address is not there, or taken.
    #[error("listening for DNS on {protocol} {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// UDP or TCP.
        protocol: &'static str,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The cluster's domain is not a domain name.
    #[error("{0:?} is not a domain name")]
    Domain(String),
}

/// Listens and answers until `cancel`. Cluster names get SERVFAIL ("ask again") until the caches are
/// complete.
pub async fn run(config: DnsConfig, caches: Caches, cancel: CancellationToken) -> Result<(), DnsError> {
    Dns::bind(config).await?.run(caches, cancel).await;
    Ok(())
}
