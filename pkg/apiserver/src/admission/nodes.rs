//! Node restriction: a kubelet writes its own Node and the pods bound to it, and nothing into them
//! that would let it reach further.

use kobune_api::meta;
use kobune_api::status::Status;
use serde_json::Value;

use crate::object::{at, text};
use crate::registry::call::Call;

/// The caller's node, if it is one.
fn node<'c>(call: &'c Call<'_>) -> Option<&'c str> {
    let name = call.who.user.strip_prefix("system:node:")?;
    call.who.is_in("system:nodes").then_some(name)
}

fn refuse(call: &Call<'_>, object: &Value, why: String) -> Status {
    Status::forbidden(call.row.resource(), meta::name(object), why)
}

/// A node registers itself and makes mirror pods on itself.
pub fn create(call: &Call<'_>, object: &Value) -> Result<(), Status> {
    let Some(node) = node(call) else {
        return Ok(());
    };
    match (&*call.row.kind.group, &*call.row.kind.plural) {
        ("", "nodes") | ("storage.k8s.io", "csinodes") if meta::name(object) != node => {
            let name = meta::name(object);
            Err(refuse(
                call,
                object,
                format!("node {node:?} is not allowed to modify node {name:?}"),
            ))
        }
        ("coordination.k8s.io", "leases") if meta::name(object) != node => Err(refuse(
            call,
            object,
            "can only access node lease with the same name as the requesting node".to_owned(),
        )),
        ("", "pods") => {
            if meta::annotation(object, "kubernetes.io/config.mirror").is_none() {
                let why = "pod does not have \"kubernetes.io/config.mirror\" annotation, node can only create mirror pods";
                return Err(refuse(call, object, format!("{why} (node {node:?})")));
            }
            own_pod(call, node, object)
        }
        _ => Ok(()),
    }
}

/// A node changes only itself and its pods.
pub fn update(call: &Call<'_>, _part: &str, old: &Value, new: &Value) -> Result<(), Status> {
    let Some(node) = node(call) else {
        return Ok(());
    };
    match (&*call.row.kind.group, &*call.row.kind.plural) {
        ("", "nodes") => {
            if meta::name(old) != node {
                let name = meta::name(old);
                return Err(refuse(
                    call,
                    old,
                    format!("node {node:?} is not allowed to modify node {name:?}"),
                ));
            }
            if at(old, &["spec", "taints"]) != at(new, &["spec", "taints"]) {
                return Err(refuse(
                    call,
                    old,
                    format!("node {node:?} is not allowed to modify taints"),
                ));
            }
            Ok(())
        }
        ("", "pods") => own_pod(call, node, old),
        _ => Ok(()),
    }
}

/// A node deletes its own pods.
pub fn delete(call: &Call<'_>, object: &Value) -> Result<(), Status> {
    match node(call) {
        Some(node) if call.row.is("", "pods") => own_pod(call, node, object),
        _ => Ok(()),
    }
}

fn own_pod(call: &Call<'_>, node: &str, pod: &Value) -> Result<(), Status> {
    let at = text(pod, &["spec", "nodeName"]);
    if at == node {
        return Ok(());
    }
    let why = format!("node {node:?} can only change pods with spec.nodeName set to itself");
    Err(refuse(call, pod, why))
}
