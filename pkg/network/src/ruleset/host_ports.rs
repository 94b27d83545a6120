//! Ports of the node that lead to pods.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::base::{HOST_PORTS, HOST_PORTS_BY_ADDRESS};
use super::hairpin::Hairpins;
use crate::conntrack::Stale;
use crate::nft::{Batch, Element, concat};
use crate::service::plan::{Endpoint, Front};
use crate::{HostPort, NetworkError, Protocol};

/// Which of the node's ports: its address (0.0.0.0 for all), protocol and number.
type Port = (Ipv4Addr, Protocol, u16);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    pod: String,
    address: Ipv4Addr,
    port: u16,
}

impl Target {
    fn endpoint(&self) -> Endpoint {
        Endpoint {
            address: self.address,
            port: self.port,
        }
    }
}

/// The same port as Services' fronts are written.
fn front((address, protocol, port): &Port) -> Front {
    match address.is_unspecified() {
        true => Front::NodePort(*protocol, *port),
        false => Front::Address(*address, *protocol, *port),
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct HostPorts {
    ports: BTreeMap<Port, Target>,
}

impl HostPorts {
    /// Is none of these another pod's?
    pub(super) fn check(&self, pod: &str, ports: &[HostPort]) -> Result<(), NetworkError> {
        for port in ports {
            if let Some(target) = self.ports.get(&key(port))
                && target.pod != pod
            {
                return Err(NetworkError::HostPortTaken {
                    host_ip: port.address(),
                    port: port.host_port,
                    protocol: port.protocol.name(),
                    owner: target.pod.clone(),
                });
            }
        }
        Ok(())
    }

    /// Notes a pod's ports without telling the kernel. Was that a change?
    pub(super) fn seed(&mut self, pod: &str, address: Ipv4Addr, ports: &[HostPort]) -> bool {
        let wanted = wanted(pod, address, ports);
        let old = self.of(pod);
        let changed = old != wanted;
        self.ports.retain(|_, target| target.pod != pod);
        self.ports.extend(wanted);
        changed
    }

    fn of(&self, pod: &str) -> BTreeMap<Port, Target> {
        let own = self.ports.iter().filter(|(_, target)| target.pod == pod);
        own.map(|(port, target)| (*port, target.clone())).collect()
    }

    /// Replaces a pod's ports. Returns which flows are stale afterwards.
    pub(super) fn replace(
        &mut self,
        pod: &str,
        address: Ipv4Addr,
        ports: &[HostPort],
        batch: &mut Batch,
        hairpins: &mut Hairpins,
    ) -> Vec<Stale> {
        let mut stale = Vec::new();
        let old = self.of(pod);
        let wanted = wanted(pod, address, ports);
        for (port, target) in old
            .iter()
            .filter(|(port, target)| wanted.get(port) != Some(target))
        {
            delete(batch, port);
            hairpins.remove(target.address);
            self.ports.remove(port);
            stale.extend(Stale::between(front(port), &[target.endpoint()], &[]));
        }
        for (port, target) in wanted {
            if old.get(&port) != Some(&target) {
                add(batch, &port, &target);
                hairpins.add(target.address);
                stale.extend(Stale::between(front(&port), &[], &[target.endpoint()]));
                self.ports.insert(port, target);
            }
        }
        stale
    }

    /// Empties the kernel's maps.
    pub(super) fn flush(&self, batch: &mut Batch) {
        batch.flush_set(HOST_PORTS);
        batch.flush_set(HOST_PORTS_BY_ADDRESS);
    }

    /// Writes all ports into empty maps.
    pub(super) fn write_all(&self, batch: &mut Batch, hairpins: &mut Hairpins) {
        for (port, target) in &self.ports {
            add(batch, port, target);
            hairpins.add(target.address);
        }
    }
}

fn wanted(pod: &str, address: Ipv4Addr, ports: &[HostPort]) -> BTreeMap<Port, Target> {
    let target = |port: &HostPort| Target {
        pod: pod.to_owned(),
        address,
        port: port.container_port,
    };
    ports.iter().map(|port| (key(port), target(port))).collect()
}

fn key(port: &HostPort) -> Port {
    (port.address(), port.protocol, port.host_port)
}

fn add(batch: &mut Batch, (address, protocol, port): &Port, target: &Target) {
    let value = concat::address_port(target.address, target.port);
    if address.is_unspecified() {
        let key = concat::protocol_port(*protocol, *port);
        batch.add_new_elements(HOST_PORTS, [Element::Value(&key, &value)]);
    } else {
        let key = concat::address_protocol_port(*address, *protocol, *port);
        batch.add_new_elements(HOST_PORTS_BY_ADDRESS, [Element::Value(&key, &value)]);
    }
}

fn delete(batch: &mut Batch, (address, protocol, port): &Port) {
    if address.is_unspecified() {
        let key = concat::protocol_port(*protocol, *port);
        batch.delete_elements(HOST_PORTS, [Element::Key(&key)]);
    } else {
        let key = concat::address_protocol_port(*address, *protocol, *port);
        batch.delete_elements(HOST_PORTS_BY_ADDRESS, [Element::Key(&key)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: Ipv4Addr = Ipv4Addr::new(10, 42, 0, 2);

    fn port(host_port: u16) -> HostPort {
        HostPort {
            protocol: Protocol::Tcp,
            host_ip: None,
            host_port,
            container_port: 80,
        }
    }

    #[test]
    fn a_port_of_another_pod_is_refused() {
        let mut ports = HostPorts::default();
        ports.seed("a", POD, &[port(8080)]);
        ports.check("a", &[port(8080)]).unwrap();
        ports.check("b", &[port(8081)]).unwrap();
        assert!(matches!(
            ports.check("b", &[port(8080)]),
            Err(NetworkError::HostPortTaken { port: 8080, .. })
        ));
    }

    #[test]
    fn nothing_is_sent_when_nothing_changes() {
        let mut ports = HostPorts::default();
        let mut hairpins = Hairpins::default();
        let mut change = |wanted: &[HostPort]| {
            let mut batch = Batch::new("t");
            ports.replace("a", POD, wanted, &mut batch, &mut hairpins);
            !batch.is_empty()
        };
        assert!(change(&[port(8080)]));
        assert!(!change(&[port(8080)]));
        assert!(change(&[port(8081)]));
        assert!(change(&[]));
        assert!(!change(&[]));
    }
}
