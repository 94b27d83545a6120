//! Which pods stand behind a Service, and where each of its ports leads in them. Pure.

use std::collections::BTreeMap;

use kobune_client::k8s_openapi::api::core::v1::{ObjectReference, Pod, Service, ServicePort};
use kobune_client::k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::pod;

/// The Service's selector; `None` where there is nothing to select (none given, or an ExternalName).
pub fn selector(service: &Service) -> Option<&BTreeMap<String, String>> {
    let spec = service.spec.as_ref()?;
    let selector = spec.selector.as_ref().filter(|selector| !selector.is_empty())?;
    (spec.type_.as_deref() != Some("ExternalName")).then_some(selector)
}

/// Whether the selector of `service` matches `pod` (of the same namespace).
pub fn selects(service: &Service, pod: &Pod) -> bool {
    let Some(selector) = selector(service) else {
        return false;
    };
    let labels = pod.metadata.labels.as_ref();
    selector
        .iter()
        .all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
}

/// `spec.publishNotReadyAddresses`
pub fn publishes_not_ready(service: &Service) -> bool {
    service
        .spec
        .as_ref()
        .and_then(|spec| spec.publish_not_ready_addresses)
        .unwrap_or(false)
}

/// `spec.clusterIP: None`
pub fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

/// The Service's ports.
pub fn ports(service: &Service) -> &[ServicePort] {
    service
        .spec
        .as_ref()
        .and_then(|spec| spec.ports.as_deref())
        .unwrap_or_default()
}

/// The pod's IPv4 address; none before it has a network.
pub fn address(pod: &Pod) -> Option<&str> {
    let status = pod.status.as_ref()?;
    let addresses = status
        .pod_ips
        .as_deref()
        .unwrap_or_default()
        .iter()
        .map(|address| address.ip.as_str());
    addresses
        .chain(status.pod_ip.as_deref())
        .find(|address| !address.is_empty() && !address.contains(':'))
}

/// A pod that can be an endpoint: it has an address and has not ended.
pub fn is_endpoint(pod: &Pod) -> bool {
    address(pod).is_some() && !pod::is_terminal(pod)
}

/// The port number in `pod` that a Service's port leads to; `None` if the pod has no port of that name.
pub fn target_port(port: &ServicePort, pod: &Pod) -> Option<i32> {
    let name = match &port.target_port {
        None => return Some(port.port),
        Some(IntOrString::Int(number)) => return Some(*number),
        Some(IntOrString::String(name)) => name,
    };
    let spec = pod.spec.as_ref()?;
    let sidecars = spec.init_containers.as_deref().unwrap_or_default().iter();
    let sidecars = sidecars.filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    spec.containers
        .iter()
        .chain(sidecars)
        .flat_map(|container| container.ports.as_deref().unwrap_or_default())
        .find(|own| own.name.as_ref() == Some(name) && own.protocol.as_deref().unwrap_or("TCP") == protocol)
        .map(|own| own.container_port)
}

/// A port behind a Service: where one of the Service's own leads in a pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodPort {
    /// The name of the Service's port; empty when it has none.
    pub name: String,
    /// The port's number in the pod.
    pub number: i32,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: Option<String>,
    /// For example `kubernetes.io/h2c`.
    pub app_protocol: Option<String>,
}

/// Where the Service's ports lead in this pod; those that the pod does not have are left out.
pub fn pod_ports(service: &Service, pod: &Pod) -> Vec<PodPort> {
    let found = ports(service).iter().filter_map(|port| {
        Some(PodPort {
            name: port.name.clone().unwrap_or_default(),
            number: target_port(port, pod)?,
            protocol: port.protocol.clone(),
            app_protocol: port.app_protocol.clone(),
        })
    });
    found.collect()
}

/// The name by which the pod is found under the Service's own (`hostname.subdomain`).
pub fn hostname<'a>(service: &Service, pod: &'a Pod) -> Option<&'a str> {
    let spec = pod.spec.as_ref()?;
    let hostname = spec.hostname.as_deref().filter(|hostname| !hostname.is_empty())?;
    (spec.subdomain.is_some() && spec.subdomain == service.metadata.name).then_some(hostname)
}

/// What an endpoint says of its pod.
pub fn target(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

/// The labels that endpoints inherit from their Service.
pub fn inherited_labels(service: &Service, managed_by: (&str, &str)) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(managed_by.0.to_owned(), managed_by.1.to_owned());
    if is_headless(service) {
        labels.insert("service.kubernetes.io/headless".to_owned(), String::new());
    } else {
        labels.remove("service.kubernetes.io/headless");
    }
    labels
}

#[cfg(test)]
pub mod fixtures {
    //! Services and pods for the tests of this folder's neighbours.

    use super::*;

    /// A Service `web` that selects `app: web` with these ports.
    pub fn service(spec: serde_json::Value) -> Service {
        let mut value = serde_json::json!({"metadata": {"name": "web", "namespace": "default", "uid": "s"},
            "spec": {"selector": {"app": "web"}}});
        value["spec"]
            .as_object_mut()
            .unwrap()
            .extend(spec.as_object().unwrap().clone());
        serde_json::from_value(value).unwrap()
    }

    /// A pod `name` labelled `app: web` with an address, ready or not, and a port called `http`.
    pub fn pod(name: &str, address: &str, ready: bool) -> Pod {
        let status = if ready { "True" } else { "False" };
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": name, "namespace": "default", "uid": name, "labels": {"app": "web"}},
            "spec": {"nodeName": "n", "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]},
            "status": {"podIP": address, "phase": "Running", "conditions": [{"type": "Ready", "status": status}]},
        }))
        .unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::fixtures::{pod, service};
    use super::*;
    use serde_json::json;

    #[test]
    fn a_service_without_a_selector_selects_nothing() {
        let mut web = service(json!({}));
        assert!(selects(&web, &pod("a", "10.0.0.1", true)));
        web.spec.as_mut().unwrap().selector = None;
        assert!(!selects(&web, &pod("a", "10.0.0.1", true)));
    }

    #[test]
    fn a_named_port_is_looked_up_in_the_pod() {
        let web = service(
            json!({"ports": [{"port": 80, "targetPort": "http"}, {"port": 81, "targetPort": "none"}]}),
        );
        let a = pod("a", "10.0.0.1", true);
        assert_eq!(target_port(&ports(&web)[0], &a), Some(8080));
        assert_eq!(target_port(&ports(&web)[1], &a), None);
        let found: Vec<i32> = pod_ports(&web, &a).iter().map(|port| port.number).collect();
        assert_eq!(found, [8080]);
    }

    #[test]
    fn a_pod_without_an_address_or_life_is_no_endpoint() {
        assert!(!is_endpoint(&pod("a", "", true)));
        let mut ended = pod("a", "10.0.0.1", false);
        ended.status.as_mut().unwrap().phase = Some("Succeeded".into());
        assert!(!is_endpoint(&ended));
    }
}
