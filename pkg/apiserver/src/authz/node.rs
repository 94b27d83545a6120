//! What a kubelet may do: its own Node, its own Lease, the pods bound to it, and of Secrets,
//! ConfigMaps, claims and service accounts those that its pods use. What it may write into them is
//! admission's to check.

use kobune_api::meta;
use kobune_store::Store;
use serde_json::Value;

use super::{Attributes, Authorizer};
use crate::object::{at, elements, text};

/// See the module.
pub struct Nodes {
    store: Store,
}

impl Nodes {
    /// Answers from this store's pods.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Whether a pod of this node needs an object of its namespace.
    fn is_used(&self, node: &str, resource: &str, namespace: &str, name: &str) -> bool {
        if namespace.is_empty() || name.is_empty() {
            return false;
        }
        let snapshot = self.store.snapshot();
        let prefix = format!("/registry/core/pods/{namespace}/");
        // Most pods of a big namespace run elsewhere: they are put aside without being read as trees.
        let mine = format!("\"nodeName\":\"{node}\"");
        snapshot
            .range(&prefix, None)
            .filter(|record| {
                contains(&record.value, mine.as_bytes()) && contains(&record.value, name.as_bytes())
            })
            .filter_map(|record| serde_json::from_slice::<Value>(&record.value).ok())
            .any(|pod| text(&pod, &["spec", "nodeName"]) == node && names(&pod, resource, name))
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// Whether a pod names an object of this resource.
fn names(pod: &Value, resource: &str, name: &str) -> bool {
    let spec = &pod["spec"];
    match resource {
        "serviceaccounts" => text(spec, &["serviceAccountName"]) == name,
        "persistentvolumeclaims" => {
            let generic = |volume: &Value| {
                volume.get("ephemeral").is_some()
                    && format!("{}-{}", meta::name(pod), text(volume, &["name"])) == name
            };
            elements(spec, &["volumes"]).iter().any(|volume| {
                text(volume, &["persistentVolumeClaim", "claimName"]) == name || generic(volume)
            })
        }
        "secrets" => refers(
            spec,
            &[
                "secret",
                "secretRef",
                "secretKeyRef",
                "imagePullSecrets",
                "nodePublishSecretRef",
            ],
            name,
        ),
        "configmaps" => refers(spec, &["configMap", "configMapRef", "configMapKeyRef"], name),
        _ => false,
    }
}

/// Whether anywhere below one of these fields stands a reference to the name.
fn refers(value: &Value, fields: &[&str], name: &str) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|item| refers(item, fields, name)),
        Value::Object(map) => map.iter().any(|(field, value)| {
            let is_reference = fields.contains(&field.as_str()) && is_named(value, name);
            is_reference || refers(value, fields, name)
        }),
        _ => false,
    }
}

fn is_named(reference: &Value, name: &str) -> bool {
    match reference {
        Value::Array(items) => items.iter().any(|item| is_named(item, name)),
        _ => ["name", "secretName"]
            .iter()
            .any(|field| at(reference, &[field]).and_then(Value::as_str) == Some(name)),
    }
}

impl Authorizer for Nodes {
    fn allows(&self, wanted: &Attributes<'_>) -> bool {
        let Some(node) = wanted.who.user.strip_prefix("system:node:") else {
            return false;
        };
        if !wanted.who.is_in("system:nodes") || !wanted.is_resource {
            return false;
        }
        let reads = matches!(wanted.verb, "get" | "list" | "watch");
        match (wanted.group, wanted.resource, wanted.subresource) {
            ("", "secrets" | "configmaps", "") if reads => {
                self.is_used(node, wanted.resource, wanted.namespace, wanted.name)
            }
            ("", "persistentvolumeclaims", "" | "status") if wanted.verb != "delete" => {
                self.is_used(node, wanted.resource, wanted.namespace, wanted.name)
            }
            ("", "serviceaccounts", "token") if wanted.verb == "create" => {
                self.is_used(node, wanted.resource, wanted.namespace, wanted.name)
            }
            ("", "serviceaccounts", "") => wanted.verb == "get",
            ("", "nodes", "" | "status") => {
                wanted.verb == "create" || reads || wanted.name == node && wanted.verb != "delete"
            }
            ("", "pods", "") => reads || matches!(wanted.verb, "create" | "delete"),
            ("", "pods", "status") => matches!(wanted.verb, "get" | "update" | "patch"),
            ("", "pods", "eviction") => wanted.verb == "create",
            ("" | "events.k8s.io", "events", "") => matches!(wanted.verb, "create" | "update" | "patch"),
            ("coordination.k8s.io", "leases", "") => {
                wanted.namespace == "kube-node-lease" && (wanted.verb == "create" || wanted.name == node)
            }
            ("", "services" | "persistentvolumes" | "namespaces" | "endpoints", "")
            | ("discovery.k8s.io", "endpointslices", "")
            | ("node.k8s.io", "runtimeclasses", "")
            | ("storage.k8s.io", "csidrivers" | "volumeattachments", "") => reads,
            ("storage.k8s.io", "csinodes", "") => wanted.verb == "create" || wanted.name == node,
            ("certificates.k8s.io", "certificatesigningrequests", "") => reads || wanted.verb == "create",
            ("authentication.k8s.io", "tokenreviews", "")
            | ("authorization.k8s.io", "subjectaccessreviews" | "localsubjectaccessreviews", "") => {
                wanted.verb == "create"
            }
            _ => false,
        }
    }
}
