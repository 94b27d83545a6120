//! What the network of a node is made from.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use crate::Cidr;

/// Settings of [`crate::NodeNetwork`].
#[derive(Debug, Clone)]
pub struct NodeNetworkConfig {
    /// Addresses of all pods of the cluster (`--cluster-cidr`).
    pub cluster_cidr: Cidr,
    /// Addresses of all Services (`--service-cidr`).
    pub service_cidr: Cidr,
    /// Addresses of this node's pods (the Node's `spec.podCIDR`). The first one is the node's own on the
    /// bridge, the pods' gateway.
    pub pod_cidr: Cidr,
    /// The node's own address (`--node-ip`).
    pub node_ip: Ipv4Addr,
    /// The cluster DNS address (`--cluster-dns`) when this process answers it: the address is put on the
    /// bridge, so that the resolver can listen on it and every node answers its own pods. `None` when
    /// something else serves it (a Service with endpoints, `--disable dns`).
    pub cluster_dns: Option<Ipv4Addr>,
    /// The bridge's name, at most 15 bytes; see [`NodeNetworkConfig::bridge_for`].
    pub bridge: String,
    /// Folder for the address records, usually `/var/lib/kobune/agent/network`.
    pub state_dir: PathBuf,
    /// Distinguishes a second server on the same machine; empty for the first. The nf_tables table is
    /// `kobune`, or `kobune-INSTANCE`.
    pub instance: String,
    /// Largest packet of the pods' interfaces, in bytes; `None` takes that of the interface with the
    /// default route (1500 without one).
    pub mtu: Option<u32>,
}

impl NodeNetworkConfig {
    /// The usual bridge name of an instance: `kobune0`, or `kb-INSTANCE` (cut to 15 bytes).
    pub fn bridge_for(instance: &str) -> String {
        if instance.is_empty() {
            return "kobune0".to_owned();
        }
        format!("kb-{instance}")
            .chars()
            .filter(char::is_ascii_graphic)
            .take(15)
            .collect()
    }

    /// The node's own address on the bridge.
    pub fn gateway(&self) -> Ipv4Addr {
        self.pod_cidr.at(1).unwrap_or(self.pod_cidr.network())
    }

    pub(crate) fn table(&self) -> String {
        if self.instance.is_empty() {
            "kobune".to_owned()
        } else {
            format!("kobune-{}", self.instance)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_has_a_bridge_name_that_fits() {
        assert_eq!(NodeNetworkConfig::bridge_for(""), "kobune0");
        assert_eq!(NodeNetworkConfig::bridge_for("second"), "kb-second");
        assert_eq!(NodeNetworkConfig::bridge_for("a-rather-long-name").len(), 15);
    }
}
