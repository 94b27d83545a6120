//! What packets to one Service meet. Pure.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::Protocol;

/// Where packets to a Service arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Front {
    /// An address of the Service's (cluster, external, load balancer) and a port.
    Address(Ipv4Addr, Protocol, u16),
    /// A port of every address of the node.
    NodePort(Protocol, u16),
}

/// What becomes of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A chain of the Service's.
    Chain(String),
    /// They vanish (a `Local` policy without an endpoint on this node).
    Drop,
    /// The sender is told that nobody is there.
    Reject,
}

/// A pod's address and port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The pod's address.
    pub address: Ipv4Addr,
    /// The pod's port.
    pub port: u16,
}

/// A chain of a Service's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chain {
    /// Every connection to one of these, by chance.
    Balance {
        /// At least one.
        endpoints: Vec<Endpoint>,
    },
    /// From outside the cluster: the answers must come back through this node.
    External {
        /// The chain that chooses the endpoint.
        to: String,
    },
}

impl Chain {
    /// The chain's endpoints.
    pub fn endpoints(&self) -> &[Endpoint] {
        match self {
            Self::Balance { endpoints } => endpoints,
            Self::External { .. } => &[],
        }
    }
}

/// What packets to one Service meet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServicePlan {
    /// Where they arrive, and what becomes of them.
    pub fronts: BTreeMap<Front, Target>,
    /// The Service's chains, by name.
    pub chains: BTreeMap<String, Chain>,
}
