//! The slices that mirror an Endpoints object: one for each set of ports and family of addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use kobune_client::k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset, Endpoints, Service};
use kobune_client::k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointSlice};
use kobune_client::kube::api::ObjectMeta;

use super::super::plan::{MANAGED_BY, SERVICE_NAME, Writes, port_list, ports_of};
use crate::owner;
use crate::service_pods::PodPort;

/// Says which slices are this controller's.
pub const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
/// More addresses of a subset than this are not mirrored (upstream's
/// `--mirroring-max-endpoints-per-subset`).
const PER_SUBSET: usize = 1000;
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Endpoints were locks once; such are nobody's addresses.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
/// Annotations that say something of the Endpoints object only.
const OWN_ANNOTATIONS: [&str; 2] = [
    "endpoints.kubernetes.io/last-change-trigger-time",
    "kubectl.kubernetes.io/last-applied-configuration",
];

/// What to write, and what to tell the user.
#[derive(Debug, Default)]
pub struct Mirrored {
    /// The slices.
    pub writes: Writes,
    /// About what was left out.
    pub warnings: Vec<Warning>,
}

/// Something was not mirrored.
#[derive(Debug, PartialEq, Eq)]
pub enum Warning {
    /// This many are no IP addresses.
    Invalid(usize),
    /// This many were too many.
    TooMany(usize),
}

impl Warning {
    /// The event's reason and message, as upstream says it.
    pub fn said(&self) -> (&'static str, String) {
        match self {
            Warning::Invalid(count) => (
                "InvalidIPAddress",
                format!("Skipped {count} invalid IP addresses when mirroring to EndpointSlices"),
            ),
            Warning::TooMany(count) => (
                "TooManyAddressesToMirror",
                format!(
                    "A max of {PER_SUBSET} addresses can be mirrored to EndpointSlices per Endpoints subset. \
                     {count} addresses were skipped"
                ),
            ),
        }
    }
}

/// Whether these Endpoints are a user's, for a Service that selects nothing itself.
pub fn is_mirrored(endpoints: &Endpoints, service: &Service) -> bool {
    let labels = endpoints.metadata.labels.as_ref();
    let annotations = endpoints.metadata.annotations.as_ref();
    let skipped = labels
        .and_then(|labels| labels.get(SKIP))
        .is_some_and(|skip| skip == "true");
    let locked = annotations.is_some_and(|annotations| annotations.contains_key(LEADER));
    let selects = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    !skipped && !locked && selects.is_none_or(BTreeMap::is_empty)
}

/// Address type and ports, and for each address its endpoint.
type Wanted = BTreeMap<(&'static str, Vec<PodPort>), BTreeMap<String, Endpoint>>;

/// Compares what is (`present`: the mirrors of these Endpoints) with what ought to be.
pub fn writes(endpoints: &Endpoints, present: &[Arc<EndpointSlice>]) -> Mirrored {
    let mut mirrored = Mirrored::default();
    let (mut wanted, mut invalid, mut skipped) = (Wanted::new(), 0, 0);
    for subset in endpoints.subsets.as_deref().unwrap_or_default() {
        let (bad, over) = collect(subset, &mut wanted);
        invalid += bad;
        skipped += over;
    }
    if invalid > 0 {
        mirrored.warnings.push(Warning::Invalid(invalid));
    }
    if skipped > 0 {
        mirrored.warnings.push(Warning::TooMany(skipped));
    }
    let mut free: Vec<&Arc<EndpointSlice>> = present.iter().collect();
    let mut new = Vec::new();
    for ((family, ports), endpoints_of) in wanted {
        let slice = slice(endpoints, family, &ports, endpoints_of.into_values().collect());
        let same = |old: &&Arc<EndpointSlice>| old.address_type == family && ports_of(old) == ports;
        match free.iter().position(same).map(|at| free.remove(at)) {
            Some(old) if is_same(old, &slice) => {}
            Some(old) => mirrored.writes.update.push(over(old, slice)),
            None => new.push(slice),
        }
    }
    for slice in new {
        // A slice that would go is used again, unless its family is another: that cannot change.
        let fits = |old: &&Arc<EndpointSlice>| old.address_type == slice.address_type;
        match free.iter().position(fits).map(|at| free.remove(at)) {
            Some(old) => mirrored.writes.update.push(over(old, slice)),
            None if endpoints.metadata.deletion_timestamp.is_none() => mirrored.writes.create.push(slice),
            None => {}
        }
    }
    let gone = free.into_iter().filter_map(|slice| slice.metadata.name.clone());
    mirrored.writes.delete.extend(gone);
    mirrored
}

/// Adds a subset's endpoints; answers how many are no addresses, and how many were too many.
fn collect(subset: &EndpointSubset, wanted: &mut Wanted) -> (usize, usize) {
    let ports: Vec<PodPort> = subset
        .ports
        .as_deref()
        .unwrap_or_default()
        .iter()
        .map(|port| PodPort {
            name: port.name.clone().unwrap_or_default(),
            number: port.port,
            protocol: port.protocol.clone(),
            app_protocol: port.app_protocol.clone(),
        })
        .collect();
    let of = |list: &Option<Vec<EndpointAddress>>, ready: bool| {
        let list = list.clone().unwrap_or_default();
        list.into_iter()
            .map(move |address| (address, ready))
            .collect::<Vec<_>>()
    };
    let all = [
        of(&subset.addresses, true),
        of(&subset.not_ready_addresses, false),
    ]
    .concat();
    let (mut taken, mut invalid, mut over) = (0, 0, 0);
    for (address, ready) in all {
        if taken == PER_SUBSET {
            over += 1;
            continue;
        }
        let Ok(ip) = address.ip.parse::<IpAddr>() else {
            invalid += 1;
            continue;
        };
        taken += 1;
        let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
        let endpoints = wanted.entry((family, ports.clone())).or_default();
        let fresh = endpoint(address, ip, ready);
        // Ready wins where an address is listed twice.
        let known = endpoints.entry(ip.to_string()).or_insert_with(|| fresh.clone());
        if ready {
            *known = fresh;
        }
    }
    (invalid, over)
}

fn endpoint(address: EndpointAddress, ip: IpAddr, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![ip.to_string()],
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            ..EndpointConditions::default()
        }),
        hostname: address.hostname.filter(|hostname| !hostname.is_empty()),
        node_name: address.node_name,
        target_ref: address.target_ref,
        ..Endpoint::default()
    }
}

fn slice(endpoints: &Endpoints, family: &str, ports: &[PodPort], list: Vec<Endpoint>) -> EndpointSlice {
    let name = endpoints.metadata.name.clone().unwrap_or_default();
    let mut labels = endpoints.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_NAME.to_owned(), name.clone());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    let mut annotations = endpoints.metadata.annotations.clone().unwrap_or_default();
    annotations.retain(|key, _| !OWN_ANNOTATIONS.contains(&key.as_str()));
    EndpointSlice {
        address_type: family.to_owned(),
        endpoints: Some(list),
        metadata: ObjectMeta {
            generate_name: Some(format!("{name}-")),
            namespace: endpoints.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: (!annotations.is_empty()).then_some(annotations),
            owner_references: Some(vec![owner::controller_reference(
                "v1",
                "Endpoints",
                &endpoints.metadata,
            )]),
            ..ObjectMeta::default()
        },
        ports: port_list(ports),
    }
}

fn is_same(old: &EndpointSlice, new: &EndpointSlice) -> bool {
    old.endpoints == new.endpoints
        && old.metadata.labels == new.metadata.labels
        && old.metadata.annotations == new.metadata.annotations
}

/// The new contents in the place of an old slice.
fn over(old: &EndpointSlice, new: EndpointSlice) -> EndpointSlice {
    EndpointSlice {
        metadata: ObjectMeta {
            labels: new.metadata.labels,
            annotations: new.metadata.annotations,
            owner_references: new.metadata.owner_references,
            ..old.metadata.clone()
        },
        ..new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn endpoints(subsets: serde_json::Value) -> Endpoints {
        serde_json::from_value(json!({"metadata": {"name": "db", "namespace": "default", "uid": "e",
            "labels": {"a": "b"}, "annotations": {OWN_ANNOTATIONS[1]: "x", "kept": "y"}}, "subsets": subsets}))
        .unwrap()
    }

    fn subset(ips: &[&str], port: i32) -> serde_json::Value {
        let addresses: Vec<_> = ips.iter().map(|ip| json!({ "ip": ip })).collect();
        json!({"addresses": addresses, "ports": [{"port": port, "protocol": "TCP"}]})
    }

    fn stored(mut slice: EndpointSlice, name: &str) -> Arc<EndpointSlice> {
        slice.metadata.name = Some(name.to_owned());
        Arc::new(slice)
    }

    #[test]
    fn each_family_and_set_of_ports_has_a_slice() {
        let mirrored = writes(
            &endpoints(json!([
                subset(&["10.0.0.1", "fd00::1"], 80),
                subset(&["10.0.0.2"], 81)
            ])),
            &[],
        );
        let mut kinds: Vec<_> = mirrored
            .writes
            .create
            .iter()
            .map(|slice| {
                (
                    slice.address_type.as_str(),
                    slice.ports.as_ref().unwrap()[0].port.unwrap(),
                )
            })
            .collect();
        kinds.sort();
        assert_eq!(kinds, [("IPv4", 80), ("IPv4", 81), ("IPv6", 80)]);
        let metadata = &mirrored.writes.create[0].metadata;
        assert_eq!(
            metadata.annotations,
            Some([("kept".to_owned(), "y".to_owned())].into())
        );
        assert_eq!(metadata.labels.as_ref().unwrap()[MANAGED_BY], MANAGER);
    }

    #[test]
    fn an_unchanged_mirror_is_left_and_a_changed_one_written_over() {
        let before = endpoints(json!([subset(&["10.0.0.1"], 80)]));
        let present = [stored(writes(&before, &[]).writes.create.remove(0), "db-x")];
        assert_eq!(writes(&before, &present).writes, Writes::default());
        let after = writes(&endpoints(json!([subset(&["10.0.0.2"], 81)])), &present).writes;
        assert_eq!((after.create.len(), after.delete.len()), (0, 0));
        assert_eq!(after.update[0].metadata.name.as_deref(), Some("db-x"));
        assert_eq!(writes(&endpoints(json!([])), &present).writes.delete, ["db-x"]);
    }

    #[test]
    fn what_is_no_address_is_told_and_left_out() {
        let mirrored = writes(&endpoints(json!([subset(&["10.0.0.1", "nonsense"], 80)])), &[]);
        assert_eq!(mirrored.warnings, [Warning::Invalid(1)]);
        assert_eq!(mirrored.writes.create[0].endpoints.as_ref().unwrap().len(), 1);
    }
}
