//! What packets to one Service meet: from the Service and its EndpointSlices to addresses, ports and
//! the endpoints behind them. Pure.
//!
//! The rules are kube-proxy's: ready endpoints, or, when there is none, those that still serve while
//! they end; `Local` policies see this node's endpoints only and drop when there are others elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use kobune_client::k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use kobune_client::k8s_openapi::api::discovery::v1::{Endpoint as SliceEndpoint, EndpointSlice};

use crate::{Cidr, Protocol};

/// Where packets to a Service arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Front {
    /// An address of the Service's (cluster, external, load balancer) and a port.
    Address(Ipv4Addr, Protocol, u16),
    /// A port of every address of the node.
    NodePort(Protocol, u16),
}

impl Front {
    /// The front's protocol.
    pub fn protocol(&self) -> Protocol {
        match self {
            Self::Address(_, protocol, _) | Self::NodePort(protocol, _) => *protocol,
        }
    }
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
        /// `sessionAffinity: ClientIP`: for so many seconds after its last connection, a client comes to
        /// the same endpoint again, as long as that is there.
        affinity: Option<u32>,
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
            Self::Balance { endpoints, .. } => endpoints,
            Self::External { .. } => &[],
        }
    }

    /// For how many seconds clients are remembered.
    pub fn affinity(&self) -> Option<u32> {
        match self {
            Self::Balance { affinity, .. } => *affinity,
            Self::External { .. } => None,
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

impl ServicePlan {
    /// The endpoints a front leads to.
    pub fn endpoints(&self, front: &Front) -> &[Endpoint] {
        let Some(Target::Chain(chain)) = self.fronts.get(front) else {
            return &[];
        };
        match self.chains.get(chain) {
            Some(Chain::External { to }) => self.chains.get(to).map_or(&[], Chain::endpoints),
            Some(balance) => balance.endpoints(),
            None => &[],
        }
    }
}

/// What of this node matters.
#[derive(Debug, Clone, Copy)]
pub struct NodeView {
    /// The addresses of the node's pods.
    pub pod_cidr: Cidr,
    /// The node's own address: that of its pods with `hostNetwork`.
    pub node_ip: Ipv4Addr,
    /// An address of the Services' range that the node itself answers (cluster DNS).
    pub answered_here: Option<Ipv4Addr>,
}

impl NodeView {
    fn has(&self, address: Ipv4Addr) -> bool {
        self.pod_cidr.contains(address) || address == self.node_ip
    }
}

/// Plans a Service. Headless Services and `ExternalName` are names only: nothing.
pub fn plan(service: &Service, slices: &[&EndpointSlice], node: &NodeView) -> ServicePlan {
    let mut plan = ServicePlan::default();
    let Some(spec) = &service.spec else { return plan };
    if spec.type_.as_deref() == Some("ExternalName") {
        return plan;
    }
    let cluster_ips = cluster_ips(spec);
    if cluster_ips.is_empty() {
        return plan;
    }
    let external = external_addresses(service, spec);
    let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
    let name = service.metadata.name.as_deref().unwrap_or_default();
    for port in spec.ports.iter().flatten() {
        let (Some(protocol), Ok(number)) = (
            Protocol::parse(port.protocol.as_deref()),
            u16::try_from(port.port),
        ) else {
            continue;
        };
        let suffix = format!(
            "{namespace}/{name}/{}/{number}",
            protocol.name().to_ascii_lowercase()
        );
        let endpoints = Endpoints::of(port, protocol, slices, node);
        let mut ways = Ways {
            plan: &mut plan,
            endpoints,
            affinity: affinity(spec),
            suffix,
        };
        let inside = ways.inside(spec);
        for address in cluster_ips
            .iter()
            .filter(|address| node.answered_here != Some(**address))
        {
            ways.front(Front::Address(*address, protocol, number), inside.clone());
        }
        let node_port = port
            .node_port
            .and_then(|port| u16::try_from(port).ok())
            .filter(|port| *port != 0);
        if node_port.is_some() || !external.is_empty() {
            let outside = ways.outside(spec);
            for address in &external {
                ways.front(Front::Address(*address, protocol, number), outside.clone());
            }
            if let Some(node_port) = node_port {
                ways.front(Front::NodePort(protocol, node_port), outside);
            }
        }
    }
    plan
}

/// The IPv4 ones; of a headless Service none.
fn cluster_ips(spec: &ServiceSpec) -> Vec<Ipv4Addr> {
    let listed = spec.cluster_ips.as_deref().unwrap_or_default();
    let all = listed.iter().chain(spec.cluster_ip.as_ref());
    let unique: BTreeSet<_> = all.filter_map(|address| address.parse().ok()).collect();
    unique.into_iter().collect()
}

/// `spec.externalIPs` and the load balancer's addresses (not those of a balancer that is a proxy).
fn external_addresses(service: &Service, spec: &ServiceSpec) -> BTreeSet<Ipv4Addr> {
    let status = service
        .status
        .as_ref()
        .and_then(|status| status.load_balancer.as_ref());
    let balancer = status
        .and_then(|balancer| balancer.ingress.as_ref())
        .into_iter()
        .flatten()
        .filter(|ingress| ingress.ip_mode.as_deref() != Some("Proxy"))
        .filter_map(|ingress| ingress.ip.as_ref());
    spec.external_ips
        .iter()
        .flatten()
        .chain(balancer)
        .filter_map(|address| address.parse().ok())
        .collect()
}

/// Seconds; three hours unless told otherwise.
fn affinity(spec: &ServiceSpec) -> Option<u32> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let config = spec
        .session_affinity_config
        .as_ref()
        .and_then(|config| config.client_ip.as_ref());
    let seconds = config
        .and_then(|config| config.timeout_seconds)
        .and_then(|seconds| u32::try_from(seconds).ok());
    Some(seconds.filter(|seconds| *seconds > 0).unwrap_or(10_800))
}

/// The endpoints of one port: of the cluster, and of this node.
struct Endpoints {
    cluster: Vec<Endpoint>,
    local: Vec<Endpoint>,
}

impl Endpoints {
    fn of(port: &ServicePort, protocol: Protocol, slices: &[&EndpointSlice], node: &NodeView) -> Self {
        let mut ready = BTreeSet::new();
        let mut ending = BTreeSet::new();
        for slice in slices.iter().filter(|slice| slice.address_type == "IPv4") {
            let Some(number) = target_port(port, protocol, slice) else {
                continue;
            };
            for endpoint in slice.endpoints.iter().flatten() {
                let list = match readiness(endpoint) {
                    Readiness::Ready => &mut ready,
                    Readiness::ServesWhileEnding => &mut ending,
                    Readiness::No => continue,
                };
                let addresses = endpoint
                    .addresses
                    .iter()
                    .filter_map(|address| address.parse().ok());
                list.extend(addresses.take(1).map(|address| Endpoint {
                    address,
                    port: number,
                }));
            }
        }
        let pick = |keep: &dyn Fn(&&Endpoint) -> bool| {
            let chosen: Vec<_> = ready.iter().filter(keep).copied().collect();
            if chosen.is_empty() {
                ending.iter().filter(keep).copied().collect()
            } else {
                chosen
            }
        };
        Self {
            cluster: pick(&|_| true),
            local: pick(&|endpoint| node.has(endpoint.address)),
        }
    }
}

/// The slice's number for the Service's port: they have the same name.
fn target_port(port: &ServicePort, protocol: Protocol, slice: &EndpointSlice) -> Option<u16> {
    let name = port.name.as_deref().unwrap_or_default();
    let ports = slice.ports.as_deref().unwrap_or_default();
    let same = ports.iter().find(|candidate| {
        candidate.name.as_deref().unwrap_or_default() == name
            && Protocol::parse(candidate.protocol.as_deref()) == Some(protocol)
    })?;
    u16::try_from(same.port?).ok()
}

enum Readiness {
    Ready,
    ServesWhileEnding,
    No,
}

/// A condition that is not there counts as the API says: ready unless told otherwise.
fn readiness(endpoint: &SliceEndpoint) -> Readiness {
    let Some(conditions) = &endpoint.conditions else {
        return Readiness::Ready;
    };
    let ready = conditions.ready.unwrap_or(true);
    let serving = conditions.serving.unwrap_or(ready);
    let terminating = conditions.terminating.unwrap_or(false);
    match (ready, serving && terminating) {
        (true, _) => Readiness::Ready,
        (false, true) => Readiness::ServesWhileEnding,
        (false, false) => Readiness::No,
    }
}

/// The ways to one port's endpoints, made when first needed.
struct Ways<'a> {
    plan: &'a mut ServicePlan,
    endpoints: Endpoints,
    affinity: Option<u32>,
    suffix: String,
}

impl Ways<'_> {
    fn front(&mut self, front: Front, target: Target) {
        self.plan.fronts.insert(front, target);
    }

    /// For packets to the cluster address.
    fn inside(&mut self, spec: &ServiceSpec) -> Target {
        if spec.internal_traffic_policy.as_deref() == Some("Local") {
            self.local()
        } else {
            self.cluster()
        }
    }

    /// For packets to the node's ports and external addresses.
    fn outside(&mut self, spec: &ServiceSpec) -> Target {
        if spec.external_traffic_policy.as_deref() == Some("Local") {
            return self.local();
        }
        match self.cluster() {
            Target::Chain(to) => self.chain("external", Chain::External { to }),
            other => other,
        }
    }

    fn cluster(&mut self) -> Target {
        if self.endpoints.cluster.is_empty() {
            return Target::Reject;
        }
        let endpoints = self.endpoints.cluster.clone();
        self.chain(
            "service",
            Chain::Balance {
                endpoints,
                affinity: self.affinity,
            },
        )
    }

    fn local(&mut self) -> Target {
        if self.endpoints.local.is_empty() {
            return if self.endpoints.cluster.is_empty() {
                Target::Reject
            } else {
                Target::Drop
            };
        }
        let endpoints = self.endpoints.local.clone();
        self.chain(
            "local",
            Chain::Balance {
                endpoints,
                affinity: self.affinity,
            },
        )
    }

    fn chain(&mut self, kind: &str, chain: Chain) -> Target {
        let name = format!("{kind}/{}", self.suffix);
        self.plan.chains.insert(name.clone(), chain);
        Target::Chain(name)
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
