//! CertificateSigningRequests: who asks is written down by the server, and approval and certificate
//! have doors of their own.

use kobune_api::meta;
use kobune_api::status::Status;
use serde_json::{Value, json};

use super::Strategy;
use crate::object::{at, elements, fields, put, restore};
use crate::registry::call::Call;

/// See the module.
pub struct Requests;

impl Strategy for Requests {
    fn prepare_create(&self, call: &Call<'_>, request: &mut Value) -> Result<(), Status> {
        let user = crate::reviews::user_info(call.who);
        let spec = fields(request, "spec");
        for field in ["username", "groups", "uid", "extra"] {
            put(spec, field, user.get(field).cloned());
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
            "" => restore(new, old, "spec"),
            "approval" => {
                let wanted = new["status"]["conditions"].take();
                restore(new, old, "spec");
                restore(new, old, "status");
                let conditions = (!wanted.is_null()).then_some(wanted);
                put(fields(new, "status"), "conditions", conditions);
                stamp(old, new, call.now);
            }
            _ => {
                keep_verdict(old, new);
                stamp(old, new, call.now);
            }
        }
        Ok(())
    }
}

fn is_verdict(condition: &Value) -> bool {
    matches!(condition["type"].as_str(), Some("Approved" | "Denied"))
}

/// The status door cannot change the verdict.
fn keep_verdict(old: &Value, new: &mut Value) {
    let verdict = elements(old, &["status", "conditions"])
        .iter()
        .filter(|condition| is_verdict(condition));
    let others = elements(new, &["status", "conditions"])
        .iter()
        .filter(|condition| !is_verdict(condition));
    let all: Vec<Value> = verdict.chain(others).cloned().collect();
    let all = (!all.is_empty()).then_some(Value::Array(all));
    put(fields(new, "status"), "conditions", all);
}

/// Conditions get their times.
fn stamp(old: &Value, new: &mut Value, now: jiff::Timestamp) {
    let before = elements(old, &["status", "conditions"]).to_vec();
    let Some(conditions) = new["status"].get_mut("conditions").and_then(Value::as_array_mut) else {
        return;
    };
    let time = meta::time(now);
    for condition in conditions {
        let same = before.iter().find(|known| known["type"] == condition["type"]);
        let map = crate::object::as_map(condition);
        map.entry("status").or_insert_with(|| json!("True"));
        map.entry("lastUpdateTime").or_insert_with(|| json!(time));
        let moved = same
            .filter(|known| known.get("status") == map.get("status"))
            .and_then(|known| at(known, &["lastTransitionTime"]).cloned());
        map.entry("lastTransitionTime")
            .or_insert_with(|| moved.unwrap_or_else(|| json!(time)));
    }
}
