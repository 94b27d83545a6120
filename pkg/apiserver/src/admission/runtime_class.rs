//! What a pod's RuntimeClass brings along: it must be there, costs something, and chooses nodes.

use kobune_api::meta;
use kobune_api::status::Status;
use serde_json::{Value, json};

use crate::object::{as_map, at, elements, fields, text};
use crate::registry::call::Call;

/// A new pod.
pub fn create(call: &Call<'_>, pod: &mut Value) -> Result<(), Status> {
    let name = text(pod, &["spec", "runtimeClassName"]).to_owned();
    if name.is_empty() {
        return Ok(());
    }
    let refuse = |pod: &Value, why: String| Status::forbidden(call.row.resource(), meta::name(pod), why);
    let record = call
        .server
        .store
        .get(&format!("/registry/node.k8s.io/runtimeclasses/{name}"));
    let class: Option<Value> = record.and_then(|record| serde_json::from_slice(&record.value).ok());
    let Some(class) = class else {
        return Err(refuse(
            pod,
            format!("pod rejected: RuntimeClass {name:?} not found"),
        ));
    };
    if let Some(cost) = at(&class, &["overhead", "podFixed"]) {
        if at(pod, &["spec", "overhead"]).is_some_and(|own| own != cost) {
            let why = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";
            return Err(refuse(pod, why.to_owned()));
        }
        fields(pod, "spec").insert("overhead".to_owned(), cost.clone());
    }
    choose_nodes(&class, pod).map_err(|why| refuse(pod, why))
}

/// The class's node selector and tolerations are added to the pod's.
fn choose_nodes(class: &Value, pod: &mut Value) -> Result<(), String> {
    let wanted = at(class, &["scheduling", "nodeSelector"]).and_then(Value::as_object);
    if let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) {
        let own = as_map(
            fields(pod, "spec")
                .entry("nodeSelector")
                .or_insert_with(|| json!({})),
        );
        for (key, value) in wanted {
            if let Some(other) = own.get(key).filter(|other| *other != value) {
                return Err(format!(
                    "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
                    value.as_str().unwrap_or(""),
                    other.as_str().unwrap_or("")
                ));
            }
            own.insert(key.clone(), value.clone());
        }
    }
    let tolerations = elements(class, &["scheduling", "tolerations"]);
    if tolerations.is_empty() {
        return Ok(());
    }
    let own = fields(pod, "spec")
        .entry("tolerations")
        .or_insert_with(|| json!([]));
    if let Some(own) = own.as_array_mut() {
        let new: Vec<Value> = tolerations
            .iter()
            .filter(|toleration| !own.contains(toleration))
            .cloned()
            .collect();
        own.extend(new);
    }
    Ok(())
}
