//! This node's packets: pod links, addresses, and what becomes of packets to Services, host ports and
//! the world. Netlink only: no external program, no iptables, never another's table.
//!
//! ```text
//! attach/detach ── address (records on disk) ── link (rtnetlink) ──┐
//! Services, EndpointSlices ── service::plan ── ruleset ── nft ─────┴─ netlink
//! ```
//!
//! To learn how a pod gets its link, open `link/pod.rs`; what a packet meets, `ruleset/mod.rs`; how a
//! Service becomes rules, `service/plan.rs`.
//!
//! **Invariant**: nothing here changes a table, link or route it did not make.

mod address;
mod cidr;
mod config;
mod conntrack;
mod error;
mod host_port;
mod link;
mod namespace;
mod netlink;
pub mod nft;
mod node;
mod ruleset;
pub mod service;
mod sysctl;

pub use cidr::{Cidr, CidrError};
pub use config::NodeNetworkConfig;
pub use error::NetworkError;
pub use host_port::{HostPort, Protocol};
pub use node::{NodeNetwork, PodAddress};
