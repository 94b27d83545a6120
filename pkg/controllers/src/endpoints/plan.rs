//! The Endpoints object that a Service ought to have.

use std::collections::BTreeMap;
use std::sync::Arc;

use kobune_client::k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service,
};
use kobune_client::kube::api::ObjectMeta;

use crate::service_pods::PodPort;
use crate::{pod, service_pods};

/// More addresses than this are cut off (upstream's `maxCapacity`).
const CAPACITY: usize = 1000;
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
const MANAGED_BY: (&str, &str) = ("endpoints.kubernetes.io/managed-by", "endpoint-controller");

#[derive(Default)]
struct Addresses {
    ready: Vec<EndpointAddress>,
    not_ready: Vec<EndpointAddress>,
}

/// What the Endpoints of `service` should be, over `present`'s metadata. `pods` are those selected.
pub fn wanted(service: &Service, pods: &[Arc<Pod>], present: Option<&Endpoints>) -> Endpoints {
    let mut groups: BTreeMap<Vec<PodPort>, Addresses> = BTreeMap::new();
    let publish = service_pods::publishes_not_ready(service);
    let mut pods: Vec<&Pod> = pods
        .iter()
        .map(AsRef::as_ref)
        .filter(|pod| service_pods::is_endpoint(pod))
        .collect();
    pods.retain(|pod| publish || pod.metadata.deletion_timestamp.is_none());
    // As upstream's `LessEndpointAddress`: by the text of the address.
    pods.sort_by(|a, b| {
        let by_address = service_pods::address(a).cmp(&service_pods::address(b));
        by_address.then_with(|| a.metadata.uid.cmp(&b.metadata.uid))
    });
    let cut = pods.len() > CAPACITY;
    for pod in pods.into_iter().take(CAPACITY) {
        let Some(ports) = ports(service, pod) else {
            continue;
        };
        let group = groups.entry(ports).or_default();
        let list = if publish || pod::is_ready(pod) {
            &mut group.ready
        } else {
            &mut group.not_ready
        };
        list.push(address(service, pod));
    }
    let subsets: Vec<EndpointSubset> = groups.into_iter().map(subset).collect();
    Endpoints {
        metadata: metadata(service, present, cut),
        subsets: (!subsets.is_empty()).then_some(subsets),
    }
}

/// Whether `present` says what `wanted` says.
pub fn is_same(present: &Endpoints, wanted: &Endpoints) -> bool {
    present.subsets.as_deref().unwrap_or_default() == wanted.subsets.as_deref().unwrap_or_default()
        && present.metadata.labels == wanted.metadata.labels
        && present.metadata.annotations == wanted.metadata.annotations
}

/// The ports of the Service in this pod; `None` when it has some, but this pod none of them.
fn ports(service: &Service, pod: &Pod) -> Option<Vec<PodPort>> {
    let mut found = service_pods::pod_ports(service, pod);
    found.sort();
    (service_pods::ports(service).is_empty() || !found.is_empty()).then_some(found)
}

fn address(service: &Service, pod: &Pod) -> EndpointAddress {
    EndpointAddress {
        ip: service_pods::address(pod).unwrap_or_default().to_owned(),
        hostname: service_pods::hostname(service, pod).map(str::to_owned),
        node_name: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        target_ref: Some(service_pods::target(pod)),
    }
}

fn subset((ports, addresses): (Vec<PodPort>, Addresses)) -> EndpointSubset {
    let some = |list: Vec<EndpointAddress>| (!list.is_empty()).then_some(list);
    let ports: Vec<EndpointPort> = ports
        .into_iter()
        .map(|port| EndpointPort {
            app_protocol: port.app_protocol,
            name: (!port.name.is_empty()).then_some(port.name),
            port: port.number,
            protocol: port.protocol,
        })
        .collect();
    EndpointSubset {
        addresses: some(addresses.ready),
        not_ready_addresses: some(addresses.not_ready),
        ports: (!ports.is_empty()).then_some(ports),
    }
}

fn metadata(service: &Service, present: Option<&Endpoints>, cut: bool) -> ObjectMeta {
    let mut annotations = present
        .and_then(|present| present.metadata.annotations.clone())
        .unwrap_or_default();
    annotations.remove(OVER_CAPACITY);
    if cut {
        annotations.insert(OVER_CAPACITY.to_owned(), "truncated".to_owned());
    }
    let annotations = (!annotations.is_empty()).then_some(annotations);
    let labels = Some(service_pods::inherited_labels(service, MANAGED_BY));
    match present {
        Some(present) => ObjectMeta {
            labels,
            annotations,
            ..present.metadata.clone()
        },
        None => ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.metadata.namespace.clone(),
            labels,
            annotations,
            ..ObjectMeta::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service_pods::fixtures::{pod, service};
    use serde_json::json;

    fn pods(pods: impl IntoIterator<Item = Pod>) -> Vec<Arc<Pod>> {
        pods.into_iter().map(Arc::new).collect()
    }

    #[test]
    fn ready_and_other_pods_are_told_apart() {
        let web = service(json!({"ports": [{"port": 80, "targetPort": 8080, "protocol": "TCP"}]}));
        let pods = pods([pod("a", "10.0.0.1", true), pod("b", "10.0.0.2", false)]);
        let subsets = wanted(&web, &pods, None).subsets.unwrap();
        assert_eq!(subsets.len(), 1);
        assert_eq!(subsets[0].addresses.as_ref().unwrap()[0].ip, "10.0.0.1");
        assert_eq!(subsets[0].not_ready_addresses.as_ref().unwrap()[0].ip, "10.0.0.2");
        assert_eq!(subsets[0].ports.as_ref().unwrap()[0].port, 8080);
    }

    #[test]
    fn addresses_stand_in_the_order_of_their_text() {
        let web = service(json!({"ports": [{"port": 80}]}));
        let pods = pods([
            pod("a", "10.0.0.9", true),
            pod("b", "10.0.0.2", true),
            pod("c", "10.0.0.10", true),
        ]);
        let subsets = wanted(&web, &pods, None).subsets.unwrap();
        let found = subsets[0]
            .addresses
            .iter()
            .flatten()
            .map(|address| address.ip.as_str());
        assert_eq!(found.collect::<Vec<_>>(), ["10.0.0.10", "10.0.0.2", "10.0.0.9"]);
    }

    #[test]
    fn a_service_without_pods_has_endpoints_without_subsets() {
        assert_eq!(
            wanted(&service(json!({"ports": [{"port": 80}]})), &[], None).subsets,
            None
        );
    }

    #[test]
    fn a_pod_that_is_being_deleted_is_no_address() {
        let mut leaving = pod("a", "10.0.0.1", true);
        leaving.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        let leaving = pods([leaving]);
        assert_eq!(
            wanted(&service(json!({"ports": [{"port": 80}]})), &leaving, None).subsets,
            None
        );
        let published = service(json!({"ports": [{"port": 80}], "publishNotReadyAddresses": true}));
        assert!(wanted(&published, &leaving, None).subsets.is_some());
    }

    #[test]
    fn too_many_addresses_are_cut_and_marked() {
        let many = pods((0..1001).map(|n| pod(&format!("p{n:04}"), "10.0.0.1", true)));
        let endpoints = wanted(&service(json!({"ports": [{"port": 80}]})), &many, None);
        assert_eq!(
            endpoints.metadata.annotations.unwrap()[OVER_CAPACITY],
            "truncated"
        );
    }
}
