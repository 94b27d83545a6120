//! The smallest strategic merge patch from one status to the next.

use kobune_client::k8s_openapi::api::core::v1::PodStatus;
use serde_json::{Map, Value, json};

/// Lists that the API merges by key, but that are ours as a whole.
const REPLACED: [&str; 2] = ["podIPs", "hostIPs"];

/// `None` when nothing differs. The uid keeps the patch from a pod of the same name that came later.
pub fn status_patch(uid: &str, old: &PodStatus, new: &PodStatus) -> Option<Value> {
    let (Ok(Value::Object(old)), Ok(Value::Object(new))) =
        (serde_json::to_value(old), serde_json::to_value(new))
    else {
        return None;
    };
    let mut patch = Map::new();
    for (key, value) in &new {
        let before = old.get(key);
        if before == Some(value) {
            continue;
        }
        patch.insert(key.clone(), field_patch(key, before, value));
    }
    for key in old.keys().filter(|k| !new.contains_key(*k)) {
        patch.insert(key.clone(), Value::Null);
    }
    (!patch.is_empty()).then(|| json!({"metadata": {"uid": uid}, "status": patch}))
}

fn field_patch(key: &str, before: Option<&Value>, value: &Value) -> Value {
    let Value::Array(items) = value else {
        return value.clone();
    };
    if key == "conditions" {
        // Merged by type: others' conditions stay untouched.
        let same = |c: &&Value| !before.and_then(Value::as_array).is_some_and(|b| b.contains(c));
        let before = |type_: &Value| {
            let list = before.and_then(Value::as_array);
            list.and_then(|b| b.iter().find(|c| c.get("type") == Some(type_)))
        };
        let changed = items
            .iter()
            .filter(same)
            .map(|c| with_removals(before(&c["type"]), c));
        return Value::Array(changed.collect());
    }
    if REPLACED.contains(&key) && before.is_some() {
        let mut list = vec![json!({"$patch": "replace"})];
        list.extend(items.iter().cloned());
        return Value::Array(list);
    }
    value.clone()
}

/// Fields a condition no longer has are set to null.
fn with_removals(before: Option<&Value>, condition: &Value) -> Value {
    let mut patched = condition.clone();
    if let (Some(Value::Object(before)), Value::Object(now)) = (before, &mut patched) {
        for key in before.keys() {
            now.entry(key.clone()).or_insert(Value::Null);
        }
    }
    patched
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(value: Value) -> PodStatus {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn only_what_differs_is_sent() {
        let old = status(
            json!({"phase": "Pending", "podIPs": [{"ip": "1"}], "reason": "x", "conditions": [
            {"type": "A", "status": "False", "message": "m"}, {"type": "B", "status": "True"}]}),
        );
        let new = status(
            json!({"phase": "Running", "podIPs": [{"ip": "2"}], "conditions": [
            {"type": "A", "status": "True"}, {"type": "B", "status": "True"}]}),
        );
        assert_eq!(
            status_patch("u", &old, &new).unwrap(),
            json!({"metadata": {"uid": "u"}, "status": {"phase": "Running", "reason": null,
                "podIPs": [{"$patch": "replace"}, {"ip": "2"}],
                "conditions": [{"type": "A", "status": "True", "message": null}]}})
        );
        assert_eq!(status_patch("u", &new, &new), None);
    }
}
