//! What Kubernetes fills in where an object is silent: upstream's `SetDefaults_*`, as tables of rules,
//! with code only where one field decides another.
//!
//! Applying defaults twice changes nothing.

mod cluster;
mod pod;
mod rule;
mod service;
mod workloads;

use crate::kinds::Kind;
use rule::{Rule, fill};
use serde_json::{Map, Value};

pub use service::keep_allocated;

/// Fills in the defaults of an object of this kind.
pub fn apply(kind: &Kind, object: &mut Value) {
    apply_to(&kind.group, &kind.version, &kind.kind, object);
}

/// The same by names, for bodies that are no resource of their own (`TokenRequest`, `Scale`).
pub fn apply_to(group: &str, version: &str, kind: &str, object: &mut Value) {
    let Value::Object(map) = object else { return };
    match group {
        "" => core(kind, map),
        "apps" | "batch" => workloads::apply(group, kind, map),
        "autoscaling" => workloads::autoscaler(version, kind, map),
        _ => cluster::apply(group, kind, map),
    }
}

/// What an update leaves out and the stored object has, where upstream keeps it: a Service's
/// allocated addresses and ports.
pub fn on_update(kind: &Kind, new: &mut Value, old: &Value) {
    if let ("", "Service") = (&*kind.group, &*kind.kind) {
        keep_allocated(new, old);
    }
}

fn core(kind: &str, object: &mut Map<String, Value>) {
    match kind {
        "Pod" => pod::pod(object),
        "PodTemplate" => pod::template(child(object, "template")),
        "ReplicationController" => workloads::replication_controller(object),
        "Service" => service::service(object),
        "Namespace" => namespace(object),
        "Node" => node(object),
        "LimitRange" => limit_range(object),
        _ => fill(object, core_rules(kind)),
    }
}

fn core_rules(kind: &str) -> &'static [Rule] {
    match kind {
        "Secret" => const { &[Rule::zero("type", "Opaque")] },
        "Endpoints" => const { &[Rule::nil("subsets[].ports[].protocol", "TCP")] },
        "PersistentVolumeClaim" => CLAIM,
        "PersistentVolume" => {
            const {
                &[
                    Rule::zero("status.phase", "Pending"),
                    Rule::zero("spec.persistentVolumeReclaimPolicy", "Retain"),
                    Rule::nil("spec.volumeMode", "Filesystem"),
                    Rule::nil("spec.hostPath?.type", ""),
                    Rule::zero("spec.iscsi?.iscsiInterface", "default"),
                    Rule::zero("spec.rbd?.pool", "rbd"),
                    Rule::zero("spec.rbd?.user", "admin"),
                    Rule::zero("spec.rbd?.keyring", "/etc/ceph/keyring"),
                    Rule::zero("spec.scaleIO?.storageMode", "ThinProvisioned"),
                    Rule::zero("spec.scaleIO?.fsType", "xfs"),
                    Rule::nil("spec.azureDisk?.cachingMode", "ReadWrite"),
                    Rule::nil("spec.azureDisk?.fsType", "ext4"),
                    Rule::nil_flag("spec.azureDisk?.readOnly", false),
                    Rule::nil("spec.azureDisk?.kind", "Shared"),
                    Rule::quantities("spec.capacity"),
                ]
            }
        }
        "ResourceQuota" => {
            const {
                &[
                    Rule::object("status"),
                    Rule::quantities("spec.hard"),
                    Rule::quantities("status.hard"),
                    Rule::quantities("status.used"),
                ]
            }
        }
        _ => &[],
    }
}

/// A claim's defaults; StatefulSets have claims inside.
const CLAIM: &[Rule] = &[
    Rule::zero("status.phase", "Pending"),
    Rule::object("spec.resources"),
    Rule::nil("spec.volumeMode", "Filesystem"),
    Rule::quantities("spec.resources.requests"),
    Rule::quantities("spec.resources.limits"),
    Rule::quantities("status.capacity"),
    Rule::quantities("status.allocatedResources"),
];

fn namespace(object: &mut Map<String, Value>) {
    fill(
        object,
        const { &[Rule::object("spec"), Rule::zero("status.phase", "Active")] },
    );
    let Some(Value::Object(metadata)) = object.get_mut("metadata") else {
        return;
    };
    let name = metadata
        .get("name")
        .cloned()
        .filter(|n| n.as_str().is_some_and(|n| !n.is_empty()));
    if let (Some(name), Some(labels)) = (name, child(metadata, "labels")) {
        labels.insert("kubernetes.io/metadata.name".to_owned(), name);
    }
}

fn node(object: &mut Map<String, Value>) {
    let Some(status) = child(object, "status") else {
        return;
    };
    let silent = status.get("allocatable").is_none_or(Value::is_null);
    if let (true, Some(capacity)) = (silent, status.get("capacity").cloned()) {
        status.insert("allocatable".to_owned(), capacity);
    }
    fill(
        status,
        const { &[Rule::quantities("capacity"), Rule::quantities("allocatable")] },
    );
    // `podCIDR` is the first of `podCIDRs`; either may be given alone.
    let Some(spec) = child(object, "spec") else { return };
    match (
        spec.get("podCIDR").cloned(),
        spec.get("podCIDRs").and_then(|c| c.get(0)).cloned(),
    ) {
        (Some(one), None) => drop(spec.insert("podCIDRs".to_owned(), Value::Array(vec![one]))),
        (None, Some(first)) => drop(spec.insert("podCIDR".to_owned(), first)),
        _ => {}
    }
}

/// A container's missing default limit is its max; its missing default request is the limit, or else
/// the min.
fn limit_range(object: &mut Map<String, Value>) {
    let limits = child(object, "spec").and_then(|spec| spec.get_mut("limits"));
    for item in limits.and_then(Value::as_array_mut).into_iter().flatten() {
        let Value::Object(item) = item else { continue };
        if item.get("type").and_then(Value::as_str) == Some("Container") {
            for (to, from) in [
                ("default", "max"),
                ("defaultRequest", "default"),
                ("defaultRequest", "min"),
            ] {
                let from = item
                    .get(from)
                    .and_then(Value::as_object)
                    .cloned()
                    .unwrap_or_default();
                fill_missing(item, to, from);
            }
        }
        fill(
            item,
            const {
                &[
                    Rule::quantities("default"),
                    Rule::quantities("defaultRequest"),
                    Rule::quantities("max"),
                    Rule::quantities("min"),
                    Rule::quantities("maxLimitRequestRatio"),
                ]
            },
        );
    }
}

/// Puts into the map `to` of `object` the entries of `from` that it does not have.
fn fill_missing(object: &mut Map<String, Value>, to: &str, from: Map<String, Value>) {
    if from.is_empty() {
        return;
    }
    let Some(target) = child(object, to) else { return };
    for (key, value) in from {
        target.entry(key).or_insert(value);
    }
}

/// The object `key` of `map`, made if it is absent or null; none if it is something else.
fn child<'a>(map: &'a mut Map<String, Value>, key: &str) -> Option<&'a mut Map<String, Value>> {
    // Look first: an entry needs an owned key.
    if map.get(key).is_none_or(Value::is_null) {
        map.insert(key.to_owned(), Value::Object(Map::new()));
    }
    map.get_mut(key)?.as_object_mut()
}

/// The text `key` of `map`; empty if absent.
fn text<'a>(map: &'a Map<String, Value>, key: &str) -> &'a str {
    map.get(key).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests;
