//! Pods: graceful deletion, QoS, the parts that kubelet and scheduler write.

pub mod binding;
pub mod eviction;
mod qos;

pub use qos::class as quality;

use kobune_api::meta;
use kobune_api::status::Status;
use serde_json::{Value, json};

use super::Strategy;
use crate::object::{elements, fields, integer, restore, restore_meta, text};
use crate::registry::call::Call;
use crate::registry::update::keep_metadata;

/// See the module.
pub struct Pods;

impl Strategy for Pods {
    fn prepare_create(&self, _call: &Call<'_>, pod: &mut Value) -> Result<(), Status> {
        let class = qos::class(pod);
        let status = fields(pod, "status");
        status.insert("phase".to_owned(), json!("Pending"));
        status.insert("qosClass".to_owned(), json!(class));
        if !elements(pod, &["spec", "schedulingGates"]).is_empty() {
            gate(pod);
        }
        Ok(())
    }

    fn prepare_update(
        &self,
        call: &Call<'_>,
        part: &str,
        old: &Value,
        new: &mut Value,
    ) -> Result<(), Status> {
        match part {
            "status" => {
                restore_meta(new, old, "ownerReferences");
                if text(new, &["status", "qosClass"]).is_empty() {
                    let class = text(old, &["status", "qosClass"]).to_owned();
                    fields(new, "status").insert("qosClass".to_owned(), class.into());
                }
            }
            "ephemeralcontainers" => {
                let wanted = new["spec"]["ephemeralContainers"].take();
                restore(new, old, "spec");
                restore(new, old, "status");
                keep_metadata(old, new);
                if wanted.is_null() {
                    fields(new, "spec").remove("ephemeralContainers");
                } else {
                    fields(new, "spec").insert("ephemeralContainers".to_owned(), wanted);
                }
            }
            "resize" => resize(old, new),
            _ => {}
        }
        let _ = call;
        Ok(())
    }

    fn grace(&self, pod: &Value, asked: Option<i64>) -> Option<i64> {
        let over = matches!(text(pod, &["status", "phase"]), "Failed" | "Succeeded");
        if over || text(pod, &["spec", "nodeName"]).is_empty() {
            return Some(0);
        }
        let own = || integer(pod, &["spec", "terminationGracePeriodSeconds"]).unwrap_or(0);
        let seconds = asked.unwrap_or_else(own);
        Some(if seconds < 0 { 1 } else { seconds })
    }
}

/// A pod behind gates says that it is not to be scheduled yet.
fn gate(pod: &mut Value) {
    fields(pod, "status").insert(
        "conditions".to_owned(),
        json!([{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
            "lastProbeTime": null, "lastTransitionTime": null}]),
    );
}

/// Only the containers' resources and resize policies are taken from the new pod.
fn resize(old: &Value, new: &mut Value) {
    let wanted = new["spec"].take();
    restore(new, old, "spec");
    restore(new, old, "status");
    keep_metadata(old, new);
    for list in ["containers", "initContainers"] {
        let (Some(have), Some(want)) = (
            new["spec"].get_mut(list).and_then(Value::as_array_mut),
            wanted.get(list).and_then(Value::as_array),
        ) else {
            continue;
        };
        for container in have {
            let same = want.iter().find(|other| other["name"] == container["name"]);
            for field in ["resources", "resizePolicy"] {
                if let Some(same) = same {
                    restore(container, same, field);
                }
            }
        }
    }
}

/// Whether a condition of a pod is true.
pub fn has_condition(pod: &Value, kind: &str) -> bool {
    elements(pod, &["status", "conditions"])
        .iter()
        .any(|condition| condition["type"] == kind && condition["status"] == "True")
}

/// Sets a condition's status; its time of transition changes with its status only.
pub fn set_condition(pod: &mut Value, kind: &str, status: &str, now: jiff::Timestamp) {
    let conditions = fields(pod, "status")
        .entry("conditions")
        .or_insert_with(|| json!([]));
    let Some(list) = conditions.as_array_mut() else {
        return;
    };
    let fresh = json!({"type": kind, "status": status, "lastProbeTime": null,
        "lastTransitionTime": meta::time(now)});
    match list.iter_mut().find(|condition| condition["type"] == kind) {
        Some(condition) if condition["status"] == status => {}
        Some(condition) => *condition = fresh,
        None => list.push(fresh),
    }
}
