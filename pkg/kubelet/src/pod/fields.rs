//! The downward API: a pod's own fields and resources as text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use kobune_client::k8s_openapi::api::core::v1::{ObjectFieldSelector, ResourceFieldSelector};
use kobune_client::k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::amount;
use super::desired::Desired;

/// What of a pod is not in its object, or not yet.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// The pod's addresses, the primary one first.
    pub pod_ips: Vec<String>,
    /// The node's addresses, the primary one first.
    pub host_ips: Vec<String>,
    /// The node's allocatable amounts, which stand in for limits a container does not have.
    pub allocatable: BTreeMap<String, Quantity>,
}

/// Why a field has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// The field path is none of the downward API's.
    #[error("unsupported fieldPath: {0}")]
    Path(String),
    /// The resource is none of the downward API's.
    #[error("unsupported container resource : {0}")]
    Resource(String),
    /// `resourceFieldRef.containerName` names no container of the pod.
    #[error("container {0} not found")]
    Container(String),
}

/// The value of a `fieldRef`.
pub fn field(
    selector: &ObjectFieldSelector,
    pod: &Desired,
    around: &Surroundings,
) -> Result<String, FieldError> {
    let meta = &pod.pod().metadata;
    let path = selector.field_path.as_str();
    Ok(match path {
        "metadata.name" => pod.name().to_owned(),
        "metadata.namespace" => pod.namespace().to_owned(),
        "metadata.uid" => pod.uid().to_owned(),
        "metadata.labels" => format_map(meta.labels.as_ref()),
        "metadata.annotations" => format_map(meta.annotations.as_ref()),
        "spec.nodeName" => pod.spec().node_name.clone().unwrap_or_default(),
        "spec.serviceAccountName" => pod.spec().service_account_name.clone().unwrap_or_default(),
        "status.hostIP" => around.host_ips.first().cloned().unwrap_or_default(),
        "status.hostIPs" => around.host_ips.join(","),
        "status.podIP" => around.pod_ips.first().cloned().unwrap_or_default(),
        "status.podIPs" => around.pod_ips.join(","),
        _ => {
            let (map, key) = if let Some(key) = subscript(path, "metadata.labels") {
                (meta.labels.as_ref(), key)
            } else if let Some(key) = subscript(path, "metadata.annotations") {
                (meta.annotations.as_ref(), key)
            } else {
                return Err(FieldError::Path(path.to_owned()));
            };
            map.and_then(|m| m.get(key)).cloned().unwrap_or_default()
        }
    })
}

// `metadata.labels['key']` -> `key`
fn subscript<'a>(path: &'a str, field: &str) -> Option<&'a str> {
    path.strip_prefix(field)?.strip_prefix("['")?.strip_suffix("']")
}

fn format_map(map: Option<&BTreeMap<String, String>>) -> String {
    let mut text = String::new();
    for (key, value) in map.into_iter().flatten() {
        if !text.is_empty() {
            text.push('\n');
        }
        let _ = write!(text, "{key}={value:?}");
    }
    text
}

/// The value of a `resourceFieldRef` of `container` (or of the container it names).
pub fn resource(
    selector: &ResourceFieldSelector,
    pod: &Desired,
    container: &str,
    around: &Surroundings,
) -> Result<String, FieldError> {
    let name = selector
        .container_name
        .as_deref()
        .filter(|n| !n.is_empty())
        .unwrap_or(container);
    let (_, container) = pod
        .container(name)
        .ok_or_else(|| FieldError::Container(name.to_owned()))?;
    let unsupported = || FieldError::Resource(selector.resource.clone());
    let (list, resource) = selector.resource.split_once('.').ok_or_else(unsupported)?;
    let resources = container.resources.as_ref();
    let known = match list {
        "limits" => resources
            .and_then(|r| r.limits.as_ref())
            .and_then(|l| l.get(resource))
            .or_else(|| around.allocatable.get(resource)),
        "requests" => resources
            .and_then(|r| r.requests.as_ref())
            .and_then(|l| l.get(resource)),
        _ => return Err(unsupported()),
    };
    let zero = Quantity("0".into());
    let one = Quantity("1".into());
    let quantity = known.unwrap_or(&zero);
    let divisor = selector
        .divisor
        .as_ref()
        .filter(|d| amount::milli(d) > 0)
        .unwrap_or(&one);
    let divided = match resource {
        "cpu" => divide_up(amount::milli(quantity), amount::milli(divisor)),
        "memory" | "ephemeral-storage" => divide_up(amount::value(quantity), amount::value(divisor)),
        other if other.starts_with("hugepages-") => {
            divide_up(amount::value(quantity), amount::value(divisor))
        }
        _ => return Err(unsupported()),
    };
    Ok(divided.to_string())
}

fn divide_up(a: i64, b: i64) -> i64 {
    let b = b.max(1);
    a / b + i64::from(a % b != 0)
}

#[cfg(test)]
mod tests {
    use super::super::desired::tests::pod;
    use super::*;
    use serde_json::json;

    fn path(p: &str) -> ObjectFieldSelector {
        ObjectFieldSelector {
            api_version: None,
            field_path: p.into(),
        }
    }

    #[test]
    fn fields_of_the_pod_are_found() {
        let p = pod(json!({"metadata": {"labels": {"a": "1", "b": "q\"x"}}, "spec": {"nodeName": "n"}}));
        let around = Surroundings {
            pod_ips: vec!["10.42.0.5".into()],
            ..Default::default()
        };
        let get = |s: &str| field(&path(s), &p, &around);
        assert_eq!(get("metadata.name").unwrap(), "web");
        assert_eq!(get("metadata.labels").unwrap(), "a=\"1\"\nb=\"q\\\"x\"");
        assert_eq!(get("metadata.labels['a']").unwrap(), "1");
        assert_eq!(get("metadata.annotations['none']").unwrap(), "");
        assert_eq!(get("spec.nodeName").unwrap(), "n");
        assert_eq!(get("status.podIP").unwrap(), "10.42.0.5");
        assert_eq!(get("spec.nope"), Err(FieldError::Path("spec.nope".into())));
    }

    #[test]
    fn resources_are_divided_and_rounded_up() {
        let p = pod(
            json!({"spec": {"containers": [{"name": "a", "image": "x", "resources": {
            "limits": {"cpu": "250m"}, "requests": {"cpu": "250m", "memory": "32Mi"}}}]}}),
        );
        let around = Surroundings {
            allocatable: BTreeMap::from([("memory".into(), Quantity("1Gi".into()))]),
            ..Default::default()
        };
        let get = |r: &str, d: Option<&str>| {
            let s = ResourceFieldSelector {
                resource: r.into(),
                divisor: d.map(|d| Quantity(d.into())),
                ..Default::default()
            };
            resource(&s, &p, "a", &around).unwrap()
        };
        assert_eq!(get("limits.cpu", None), "1");
        assert_eq!(get("limits.cpu", Some("1m")), "250");
        assert_eq!(get("requests.memory", Some("1Mi")), "32");
        assert_eq!(get("limits.memory", Some("1Mi")), "1024");
    }
}
