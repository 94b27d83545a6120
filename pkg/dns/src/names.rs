//! What names a Service has: from the Service and its EndpointSlices. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use kobune_client::k8s_openapi::api::core::v1::Service;
use kobune_client::k8s_openapi::api::discovery::v1::{Endpoint as SliceEndpoint, EndpointSlice};

/// A Service's names and addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    pub kind: Kind,
    /// Ready endpoints, each under a host name of its own.
    pub endpoints: Box<[Endpoint]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Has addresses and ports of its own.
    Cluster {
        addresses: Box<[IpAddr]>,
        ports: Box<[Port]>,
    },
    /// Has its endpoints' addresses and ports.
    Headless,
    /// Is another name.
    External(Box<str>),
}

/// A named port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Port {
    pub name: Box<str>,
    /// In small letters, as in `_tcp`.
    pub protocol: Box<str>,
    pub number: u16,
}

/// A host name and address of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Endpoint {
    /// The pod's `hostname`, or its address with dashes.
    pub host: Box<str>,
    pub address: IpAddr,
    pub ports: Box<[Port]>,
}

/// The names of a Service; none without a spec.
pub(crate) fn of(service: &Service, slices: &[&EndpointSlice]) -> Option<Names> {
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") {
        let target = spec
            .external_name
            .as_deref()?
            .trim_end_matches('.')
            .to_ascii_lowercase();
        return Some(Names {
            kind: Kind::External(target.into()),
            endpoints: Box::default(),
        });
    }
    let listed = spec.cluster_ips.as_deref().unwrap_or_default();
    let addresses: BTreeSet<IpAddr> = listed
        .iter()
        .chain(&spec.cluster_ip)
        .filter_map(|address| address.parse().ok())
        .collect();
    let ports = spec.ports.iter().flatten();
    let ports = ports.filter_map(|p| port(p.name.as_deref(), p.protocol.as_deref(), p.port));
    let kind = match addresses.is_empty() {
        true => Kind::Headless,
        false => Kind::Cluster {
            addresses: addresses.into_iter().collect(),
            ports: ports.collect::<BTreeSet<_>>().into_iter().collect(),
        },
    };
    let endpoints: BTreeSet<_> = slices.iter().flat_map(|slice| endpoints_of(slice)).collect();
    Some(Names {
        kind,
        endpoints: endpoints.into_iter().collect(),
    })
}

/// A port has a name of its own only if it is named.
fn port(name: Option<&str>, protocol: Option<&str>, number: i32) -> Option<Port> {
    Some(Port {
        name: name.unwrap_or_default().to_ascii_lowercase().into(),
        protocol: protocol.unwrap_or("TCP").to_ascii_lowercase().into(),
        number: u16::try_from(number).ok()?,
    })
}

fn endpoints_of(slice: &EndpointSlice) -> Vec<Endpoint> {
    let ports = slice.ports.iter().flatten();
    let ports: Box<[Port]> = ports
        .filter_map(|p| port(p.name.as_deref(), p.protocol.as_deref(), p.port?))
        .collect();
    let ready = slice
        .endpoints
        .iter()
        .flatten()
        .filter(|endpoint| is_ready(endpoint));
    ready
        .flat_map(|endpoint| endpoint.addresses.iter().map(move |address| (endpoint, address)))
        .filter_map(|(endpoint, address)| {
            let address: IpAddr = address.parse().ok()?;
            let host = match endpoint.hostname.as_deref() {
                Some(host) if !host.is_empty() => host.to_ascii_lowercase(),
                _ => dashed(address),
            };
            Some(Endpoint {
                host: host.into(),
                address,
                ports: ports.clone(),
            })
        })
        .collect()
}

/// The endpoints' controller says "ready" for `publishNotReadyAddresses`; nothing said means ready.
fn is_ready(endpoint: &SliceEndpoint) -> bool {
    endpoint
        .conditions
        .as_ref()
        .and_then(|conditions| conditions.ready)
        .unwrap_or(true)
}

/// `10-42-0-7`
pub(crate) fn dashed(address: IpAddr) -> String {
    address.to_string().replace(['.', ':'], "-")
}

/// Reads what [`dashed`] writes.
pub(crate) fn undashed(label: &str) -> Option<IpAddr> {
    let v4 = label
        .replace('-', ".")
        .parse::<std::net::Ipv4Addr>()
        .map(IpAddr::V4);
    v4.or_else(|_| {
        label
            .replace('-', ":")
            .parse::<std::net::Ipv6Addr>()
            .map(IpAddr::V6)
    })
    .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_stand_for_dots_and_colons() {
        for address in ["10.42.0.7", "fd00::7"] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(undashed(&dashed(address)), Some(address));
        }
        assert_eq!(undashed("web-0"), None);
    }
}
