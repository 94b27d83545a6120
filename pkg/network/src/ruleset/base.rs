//! The part of the table that does not depend on what runs: its chains, sets and rules.

use std::net::Ipv4Addr;

use crate::nft::{Batch, ChainKind, Hook, SetKind, Verdict};
use crate::{Cidr, NodeNetworkConfig, Protocol};

pub(super) const SERVICE_IPS: &str = "service-ips";
pub(super) const NODE_PORTS: &str = "node-ports";
pub(super) const HOST_PORTS: &str = "host-ports";
pub(super) const HOST_PORTS_BY_ADDRESS: &str = "host-ports-by-address";
pub(super) const NO_ENDPOINTS: &str = "no-endpoints";
pub(super) const NO_ENDPOINT_NODE_PORTS: &str = "no-endpoint-node-ports";
pub(super) const HAIRPIN: &str = "hairpin";
const SERVICES: &str = "services";
const REJECT: &str = "reject-it";
/// Packets that came to a Service from outside carry it: their answers must come back through this
/// node. The same bit as kube-proxy's.
pub(super) const MASQUERADE_MARK: u32 = 0x4000;

/// Priorities, as others use them: conntrack at -200, address translation at -100, usual filters at 0.
const RAW: i32 = -300;
const TRANSLATION: i32 = -100;
const BEFORE_TRANSLATION: i32 = -110;
const AFTER_TRANSLATION: i32 = -90;
const LEAVING: i32 = 100;
const ICMP_REDIRECT: u8 = 5;

/// What the fixed rules depend on.
#[derive(Debug)]
pub(super) struct Base {
    pub table: String,
    pub bridge: String,
    pub pod_cidr: Cidr,
    pub cluster_cidr: Cidr,
    pub service_cidr: Cidr,
    /// Those that ServiceCIDR objects add to it.
    pub further_service_cidrs: Vec<Cidr>,
}

impl Base {
    pub(super) fn new(config: &NodeNetworkConfig) -> Self {
        Self {
            table: config.table(),
            bridge: config.bridge.clone(),
            pod_cidr: config.pod_cidr,
            cluster_cidr: config.cluster_cidr,
            service_cidr: config.service_cidr,
            further_service_cidrs: Vec::new(),
        }
    }

    /// Writes sets, chains and rules into an empty table.
    pub(super) fn write(&self, batch: &mut Batch) {
        sets(batch);
        reject(batch);
        self.services(batch);
        self.arriving(batch);
        self.unserved(batch);
        self.leaving(batch);
    }

    fn services(&self, batch: &mut Batch) {
        batch.add_chain(SERVICES);
        batch.add_chain(NODE_PORTS);
        batch.add_rule(SERVICES, |rule| {
            rule.verdict_by_address_protocol_port(SERVICE_IPS);
        });
        batch.add_rule(SERVICES, |rule| {
            rule.destination_is_local().verdict(Verdict::Goto(NODE_PORTS));
        });
        // The cluster DNS address is local but a Service's: it has no other ports.
        batch.add_rule(NODE_PORTS, |rule| {
            rule.destination_in(self.service_cidr).verdict(Verdict::Return);
        });
        batch.add_rule(NODE_PORTS, |rule| {
            rule.verdict_by_protocol_port(NODE_PORTS);
        });
        batch.add_rule(NODE_PORTS, |rule| {
            rule.translate_by_address_protocol_port(HOST_PORTS_BY_ADDRESS);
        });
        batch.add_rule(NODE_PORTS, |rule| {
            rule.translate_by_protocol_port(HOST_PORTS);
        });
    }

    fn arriving(&self, batch: &mut Batch) {
        // route_localnet lets the node reach node ports at 127.0.0.1; pods must not get at the node's
        // own loopback by it.
        batch.add_base_chain("from-pods", ChainKind::Filter, Hook::Prerouting, RAW);
        batch.add_rule("from-pods", |rule| {
            rule.comes_in_by(&self.bridge)
                .destination_in(loopback())
                .verdict(Verdict::Drop);
        });
        for (chain, hook) in [("prerouting", Hook::Prerouting), ("output", Hook::Output)] {
            batch.add_base_chain(chain, ChainKind::Nat, hook, TRANSLATION);
            batch.add_rule(chain, |rule| {
                rule.verdict(Verdict::Jump(SERVICES));
            });
        }
    }

    /// What is still addressed to a Service after translation has no endpoint.
    fn unserved(&self, batch: &mut Batch) {
        batch.add_base_chain("input", ChainKind::Filter, Hook::Input, BEFORE_TRANSLATION);
        batch.add_rule("input", |rule| {
            rule.destination_in(self.service_cidr).verdict(Verdict::Accept);
        });
        batch.add_rule("input", |rule| {
            rule.new_connection()
                .address_protocol_port_in(NO_ENDPOINTS)
                .verdict(Verdict::Goto(REJECT));
        });
        batch.add_rule("input", |rule| {
            rule.new_connection()
                .destination_is_local()
                .protocol_port_in(NO_ENDPOINT_NODE_PORTS)
                .verdict(Verdict::Goto(REJECT));
        });

        batch.add_base_chain("forward", ChainKind::Filter, Hook::Forward, BEFORE_TRANSLATION);
        // A late packet that conntrack does not know any more would reach the other side with the
        // endpoint's address, and be answered with a reset of a living connection.
        batch.add_rule("forward", |rule| {
            rule.comes_in_by(&self.bridge).invalid().verdict(Verdict::Drop);
        });
        batch.add_base_chain("out", ChainKind::Filter, Hook::Output, AFTER_TRANSLATION);
        for chain in ["forward", "out"] {
            for range in std::iter::once(&self.service_cidr).chain(&self.further_service_cidrs) {
                batch.add_rule(chain, |rule| {
                    if chain == "out" {
                        rule.does_not_leave_by("lo");
                    }
                    rule.destination_in(*range).verdict(Verdict::Goto(REJECT));
                });
            }
            batch.add_rule(chain, |rule| {
                rule.new_connection()
                    .address_protocol_port_in(NO_ENDPOINTS)
                    .verdict(Verdict::Goto(REJECT));
            });
        }
        // Pods of this node reach each other through their gateway, on purpose.
        batch.add_rule("out", |rule| {
            rule.leaves_by(&self.bridge)
                .icmp_type(ICMP_REDIRECT)
                .verdict(Verdict::Drop);
        });
    }

    fn leaving(&self, batch: &mut Batch) {
        batch.add_base_chain("postrouting", ChainKind::Nat, Hook::Postrouting, LEAVING);
        batch.add_rule("postrouting", |rule| {
            rule.leaves_by(&self.bridge)
                .source_destination_in(HAIRPIN)
                .masquerade(false);
        });
        batch.add_rule("postrouting", |rule| {
            rule.leaves_by(&self.bridge)
                .source_in(loopback())
                .masquerade(false);
        });
        // To an endpoint on this node the answer passes here anyway, and the endpoint may see who asks.
        batch.add_rule("postrouting", |rule| {
            rule.does_not_leave_by(&self.bridge)
                .marked(MASQUERADE_MARK)
                .masquerade(true);
        });
        batch.add_rule("postrouting", |rule| {
            rule.source_in(self.pod_cidr)
                .destination_not_in(self.cluster_cidr)
                .destination_not_in(multicast())
                .does_not_leave_by(&self.bridge)
                .masquerade(true);
        });
    }
}

fn sets(batch: &mut Batch) {
    for (name, kind) in [
        (SERVICE_IPS, SetKind::AddressProtocolPortVerdicts),
        (NODE_PORTS, SetKind::ProtocolPortVerdicts),
        (HOST_PORTS, SetKind::ProtocolPortTargets),
        (HOST_PORTS_BY_ADDRESS, SetKind::AddressProtocolPortTargets),
        (NO_ENDPOINTS, SetKind::AddressProtocolPorts),
        (NO_ENDPOINT_NODE_PORTS, SetKind::ProtocolPorts),
        (HAIRPIN, SetKind::AddressPairs),
    ] {
        batch.add_set(name, kind);
    }
}

fn reject(batch: &mut Batch) {
    batch.add_chain(REJECT);
    batch.add_rule(REJECT, |rule| {
        rule.protocol(Protocol::Tcp).reset();
    });
    batch.add_rule(REJECT, |rule| {
        rule.reject();
    });
}

fn loopback() -> Cidr {
    Cidr::new(Ipv4Addr::LOCALHOST, 8)
}

fn multicast() -> Cidr {
    Cidr::new(Ipv4Addr::new(224, 0, 0, 0), 4)
}
