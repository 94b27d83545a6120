//! NodePorts: two pods cannot have the same port of the host.

use kobune_client::k8s_openapi::api::core::v1::Pod;

use super::{Candidate, ClusterEvent, Plugin, Rejection};
use crate::nodes::{HostPort, NodeInfo, host_ports};

/// The plugin.
pub struct NodePorts;

impl Plugin for NodePorts {
    fn name(&self) -> &'static str {
        "NodePorts"
    }

    fn filter(&self, candidate: &Candidate<'_>, node: &NodeInfo) -> Result<(), Rejection> {
        let taken = candidate
            .ports
            .iter()
            .any(|wanted| node.ports.iter().any(|taken| conflict(wanted, taken)));
        match taken {
            true => Err(Rejection::resolvable(
                "node(s) didn't have free ports for the requested pod ports",
            )),
            false => Ok(()),
        }
    }

    fn may_help(&self, pod: &Pod, event: &ClusterEvent) -> bool {
        match event {
            ClusterEvent::Node { before, .. } => before.is_none(),
            ClusterEvent::PodGone(gone) => {
                let (wanted, freed) = (host_ports(pod), host_ports(gone));
                wanted
                    .iter()
                    .any(|wanted| freed.iter().any(|freed| conflict(wanted, freed)))
            }
        }
    }
}

/// The wildcard address conflicts with every address.
fn conflict(a: &HostPort, b: &HostPort) -> bool {
    a.port == b.port && a.protocol == b.protocol && (a.ip == b.ip || a.ip == "0.0.0.0" || b.ip == "0.0.0.0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wildcard_address_takes_every_address_of_one_protocol() {
        let port = |ip: &str, protocol: &str| HostPort {
            ip: ip.into(),
            protocol: protocol.into(),
            port: 80,
        };
        assert!(conflict(&port("0.0.0.0", "TCP"), &port("10.0.0.1", "TCP")));
        assert!(!conflict(&port("0.0.0.0", "TCP"), &port("10.0.0.1", "UDP")));
        assert!(!conflict(&port("10.0.0.2", "TCP"), &port("10.0.0.1", "TCP")));
    }
}
