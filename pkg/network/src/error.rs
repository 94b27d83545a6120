//! What can go wrong with a node's packets.

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use crate::Cidr;
use crate::nft::NftError;

/// An operation on the node's network failed.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A change of links, addresses or routes was refused.
    #[error("{doing}")]
    Link {
        /// What was being done.
        doing: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The kernel refused packet rules.
    #[error("changing the packet rules of table {table}")]
    Rules {
        /// The nf_tables table.
        table: String,
        /// Which change failed.
        #[source]
        source: NftError,
    },
    /// The address records could not be read or written.
    #[error("keeping the address records in {path}")]
    Records {
        /// The file or folder.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Every address of the node's pod range is taken.
    #[error("no free address left in {range} for pod {pod_uid}")]
    NoAddress {
        /// The node's pod range.
        range: Cidr,
        /// The pod that asked.
        pod_uid: String,
    },
    /// Settings that cannot work.
    #[error("the network's settings do not fit together: {0}")]
    Config(String),
    /// Two pods want the same port of the node.
    #[error("host port {host_ip}:{port}/{protocol} is taken by pod {owner}")]
    HostPortTaken {
        /// The node's address, 0.0.0.0 for all.
        host_ip: Ipv4Addr,
        /// The port.
        port: u16,
        /// TCP, UDP or SCTP.
        protocol: &'static str,
        /// The uid of the pod that has it.
        owner: String,
    },
    /// The task doing the work was cancelled or panicked.
    #[error("{0} did not finish")]
    Aborted(&'static str),
}

impl NetworkError {
    pub(crate) fn link(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Link { doing, source }
    }

    pub(crate) fn records(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Records { path, source }
    }
}
