//! The EndpointSlices that a Service ought to have, and how to get there with few writes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kobune_client::k8s_openapi::api::core::v1::{Pod, Service};
use kobune_client::k8s_openapi::api::discovery::v1::{
    Endpoint, EndpointConditions, EndpointPort, EndpointSlice,
};
use kobune_client::kube::api::ObjectMeta;

use crate::service_pods::PodPort;
use crate::{owner, pod, service_pods};

/// Endpoints in one slice (upstream's `--max-endpoints-per-slice`).
const PER_SLICE: usize = 100;
/// Names the Service of a slice.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Names the writer of a slice.
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// Says which slices are this controller's.
pub const MANAGER: &str = "endpointslice-controller.k8s.io";

/// What to write.
#[derive(Debug, Default, PartialEq)]
pub struct Writes {
    /// New slices.
    pub create: Vec<EndpointSlice>,
    /// Slices with other contents than before.
    pub update: Vec<EndpointSlice>,
    /// Names of slices that are no longer wanted.
    pub delete: Vec<String>,
}

impl Writes {
    /// All that is present goes.
    pub fn nothing_left(present: &[Arc<EndpointSlice>]) -> Writes {
        let names = present.iter().filter_map(|slice| slice.metadata.name.clone());
        Writes {
            delete: names.collect(),
            ..Writes::default()
        }
    }
}

/// Compares what is (`present`: the slices of this Service that are ours) with what ought to be.
/// Endpoints stay in the slice where they are; new ones fill slices that have room.
pub fn writes(service: &Service, pods: &[Arc<Pod>], present: &[Arc<EndpointSlice>]) -> Writes {
    let mut groups = group(service, pods);
    if groups.is_empty() {
        // A Service without endpoints has one slice that says so.
        groups.insert(Vec::new(), BTreeMap::new());
    }
    let labels = labels(service);
    let mut writes = Writes::default();
    let mut taken: BTreeSet<&str> = BTreeSet::new();
    for (ports, mut endpoints) in groups {
        let own: Vec<&Arc<EndpointSlice>> = present.iter().filter(|slice| ports_of(slice) == ports).collect();
        taken.extend(own.iter().filter_map(|slice| slice.metadata.name.as_deref()));
        let mut slices: Vec<(Option<&Arc<EndpointSlice>>, Vec<Endpoint>)> = Vec::new();
        for slice in own {
            let kept = slice.endpoints.as_deref().unwrap_or_default().iter();
            let kept = kept
                .filter_map(|endpoint| endpoints.remove(&identity(endpoint)))
                .collect();
            slices.push((Some(slice), kept));
        }
        fill(&mut slices, endpoints.into_values().collect());
        finish(service, &ports, &labels, slices, &mut writes);
    }
    let gone = present.iter().filter_map(|slice| slice.metadata.name.as_deref());
    writes
        .delete
        .extend(gone.filter(|name| !taken.contains(name)).map(str::to_owned));
    writes
}

/// Puts what is left over into slices with room, then into new ones.
fn fill(slices: &mut Vec<(Option<&Arc<EndpointSlice>>, Vec<Endpoint>)>, rest: Vec<Endpoint>) {
    let mut rest = rest.into_iter().peekable();
    for (_, endpoints) in slices.iter_mut() {
        while endpoints.len() < PER_SLICE
            && let Some(endpoint) = rest.next()
        {
            endpoints.push(endpoint);
        }
    }
    while rest.peek().is_some() {
        slices.push((None, rest.by_ref().take(PER_SLICE).collect()));
    }
    if slices.is_empty() {
        slices.push((None, Vec::new()));
    }
}

/// Turns the slices of one group of ports into writes.
fn finish(
    service: &Service,
    ports: &[PodPort],
    labels: &BTreeMap<String, String>,
    slices: Vec<(Option<&Arc<EndpointSlice>>, Vec<Endpoint>)>,
    writes: &mut Writes,
) {
    let all_empty = slices.iter().all(|(_, endpoints)| endpoints.is_empty());
    for (index, (present, endpoints)) in slices.into_iter().enumerate() {
        match present {
            Some(slice) if endpoints.is_empty() && !(all_empty && index == 0) => {
                writes.delete.extend(slice.metadata.name.clone());
            }
            Some(slice) => {
                let same = slice.endpoints.as_deref().unwrap_or_default() == endpoints
                    && slice.metadata.labels.as_ref() == Some(labels);
                if !same {
                    let metadata = ObjectMeta {
                        labels: Some(labels.clone()),
                        ..slice.metadata.clone()
                    };
                    writes.update.push(EndpointSlice {
                        metadata,
                        endpoints: some(endpoints),
                        ..(**slice).clone()
                    });
                }
            }
            None => writes.create.push(new_slice(service, ports, labels, endpoints)),
        }
    }
}

fn some(endpoints: Vec<Endpoint>) -> Option<Vec<Endpoint>> {
    (!endpoints.is_empty()).then_some(endpoints)
}

fn new_slice(
    service: &Service,
    ports: &[PodPort],
    labels: &BTreeMap<String, String>,
    endpoints: Vec<Endpoint>,
) -> EndpointSlice {
    let name = service.metadata.name.clone().unwrap_or_default();
    EndpointSlice {
        address_type: "IPv4".to_owned(),
        endpoints: some(endpoints),
        metadata: ObjectMeta {
            generate_name: Some(format!("{name}-")),
            namespace: service.metadata.namespace.clone(),
            labels: Some(labels.clone()),
            owner_references: Some(vec![owner::controller_reference(
                "v1",
                "Service",
                &service.metadata,
            )]),
            ..ObjectMeta::default()
        },
        ports: port_list(ports),
    }
}

/// Ports as a slice has them.
pub fn port_list(ports: &[PodPort]) -> Option<Vec<EndpointPort>> {
    let ports: Vec<EndpointPort> = ports
        .iter()
        .cloned()
        .map(|port| EndpointPort {
            name: Some(port.name),
            port: Some(port.number),
            protocol: port.protocol,
            app_protocol: port.app_protocol,
        })
        .collect();
    (!ports.is_empty()).then_some(ports)
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service_pods::inherited_labels(service, (MANAGED_BY, MANAGER));
    labels.insert(
        SERVICE_NAME.to_owned(),
        service.metadata.name.clone().unwrap_or_default(),
    );
    labels
}

/// The ports of a slice.
pub fn ports_of(slice: &EndpointSlice) -> Vec<PodPort> {
    let ports = slice.ports.as_deref().unwrap_or_default().iter();
    ports
        .map(|port| PodPort {
            name: port.name.clone().unwrap_or_default(),
            number: port.port.unwrap_or_default(),
            protocol: port.protocol.clone(),
            app_protocol: port.app_protocol.clone(),
        })
        .collect()
}

/// What makes an endpoint the same one: its pod, or its address.
fn identity(endpoint: &Endpoint) -> String {
    let uid = endpoint.target_ref.as_ref().and_then(|target| target.uid.clone());
    uid.or_else(|| endpoint.addresses.first().cloned())
        .unwrap_or_default()
}

/// The endpoints by the ports that they have, each group by identity.
fn group(service: &Service, pods: &[Arc<Pod>]) -> BTreeMap<Vec<PodPort>, BTreeMap<String, Endpoint>> {
    let mut groups: BTreeMap<Vec<PodPort>, BTreeMap<String, Endpoint>> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| service_pods::is_endpoint(pod)) {
        let ports = service_pods::pod_ports(service, pod);
        let endpoint = endpoint(service, pod);
        groups
            .entry(ports)
            .or_default()
            .insert(identity(&endpoint), endpoint);
    }
    groups
}

fn endpoint(service: &Service, pod: &Pod) -> Endpoint {
    let serving = pod::is_ready(pod);
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let ready = service_pods::publishes_not_ready(service) || (serving && !terminating);
    Endpoint {
        addresses: service_pods::address(pod)
            .map(str::to_owned)
            .into_iter()
            .collect(),
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: service_pods::hostname(service, pod).map(str::to_owned),
        node_name: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        target_ref: Some(service_pods::target(pod)),
        ..Endpoint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service_pods::fixtures::{pod, service};
    use serde_json::json;

    fn web() -> Service {
        service(json!({"ports": [{"port": 80, "targetPort": "http", "protocol": "TCP"}]}))
    }

    fn pods(pods: impl IntoIterator<Item = Pod>) -> Vec<Arc<Pod>> {
        pods.into_iter().map(Arc::new).collect()
    }

    /// The slices as they are after the API server has named them.
    fn written(writes: Writes) -> Vec<Arc<EndpointSlice>> {
        let named = writes.create.into_iter().enumerate().map(|(index, mut slice)| {
            slice.metadata.name = Some(format!("web-{index}"));
            Arc::new(slice)
        });
        named.collect()
    }

    #[test]
    fn a_service_without_endpoints_has_one_empty_slice() {
        let first = writes(&web(), &[], &[]);
        assert_eq!(first.create.len(), 1);
        assert_eq!(first.create[0].endpoints, None);
        assert_eq!(writes(&web(), &[], &written(first)), Writes::default());
    }

    #[test]
    fn what_is_as_it_should_be_is_not_written() {
        let pods = pods([pod("a", "10.0.0.1", true), pod("b", "10.0.0.2", false)]);
        let first = writes(&web(), &pods, &[]);
        let conditions: Vec<_> = first.create[0]
            .endpoints
            .iter()
            .flatten()
            .map(|e| e.conditions.clone().unwrap().ready)
            .collect();
        assert_eq!(conditions, [Some(true), Some(false)]);
        assert_eq!(writes(&web(), &pods, &written(first)), Writes::default());
    }

    #[test]
    fn a_hundred_endpoints_fill_a_slice() {
        let many = pods((0..250).map(|n| pod(&format!("p{n}"), &format!("10.0.1.{n}"), true)));
        let first = writes(&web(), &many, &[]);
        let sizes: Vec<_> = first
            .create
            .iter()
            .map(|slice| slice.endpoints.as_ref().unwrap().len())
            .collect();
        assert_eq!(sizes, [100, 100, 50]);
    }

    #[test]
    fn a_lost_pod_changes_one_slice_only() {
        let mut many = pods((0..150).map(|n| pod(&format!("p{n:03}"), &format!("10.0.1.{n}"), true)));
        let present = written(writes(&web(), &many, &[]));
        many.remove(120);
        let change = writes(&web(), &many, &present);
        assert_eq!(
            (change.create.len(), change.update.len(), change.delete.len()),
            (0, 1, 0)
        );
    }

    #[test]
    fn a_terminating_pod_serves_but_is_not_ready() {
        let mut leaving = pod("a", "10.0.0.1", true);
        leaving.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        let slices = writes(&web(), &pods([leaving]), &[]).create;
        let conditions = slices[0].endpoints.as_ref().unwrap()[0]
            .conditions
            .clone()
            .unwrap();
        assert_eq!(
            (conditions.ready, conditions.serving, conditions.terminating),
            (Some(false), Some(true), Some(true))
        );
    }

    #[test]
    fn slices_of_ports_that_are_no_more_are_deleted() {
        let pods = pods([pod("a", "10.0.0.1", true)]);
        let present = written(writes(&web(), &pods, &[]));
        let other = service(json!({"ports": [{"port": 80, "targetPort": 9090, "protocol": "TCP"}]}));
        let change = writes(&other, &pods, &present);
        assert_eq!(change.create.len(), 1);
        assert_eq!(change.delete, ["web-0"]);
    }
}
