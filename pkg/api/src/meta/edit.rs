//! Reading and editing `metadata` of an object that is a tree.

use super::time;
use jiff::Timestamp;
use serde_json::{Map, Value};

/// `metadata` of `object`, if it has one.
pub fn metadata(object: &Value) -> Option<&Map<String, Value>> {
    object.get("metadata")?.as_object()
}

/// `metadata` of `object`, made if missing. An `object` that is no JSON object becomes one.
pub fn metadata_mut(object: &mut Value) -> &mut Map<String, Value> {
    as_map(
        as_map(object)
            .entry("metadata")
            .or_insert_with(|| Value::Object(Map::new())),
    )
}

fn as_map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("it was made an object just above"),
    }
}

/// The text field `key` of the metadata; empty if absent.
pub fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    metadata(object)
        .and_then(|m| m.get(key))
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// `metadata.name`.
pub fn name(object: &Value) -> &str {
    text(object, "name")
}

/// `metadata.namespace`.
pub fn namespace(object: &Value) -> &str {
    text(object, "namespace")
}

/// `metadata.uid`.
pub fn uid(object: &Value) -> &str {
    text(object, "uid")
}

/// `metadata.resourceVersion`.
pub fn resource_version(object: &Value) -> &str {
    text(object, "resourceVersion")
}

/// `metadata.deletionTimestamp`; empty unless the object is being deleted.
pub fn deletion_timestamp(object: &Value) -> &str {
    text(object, "deletionTimestamp")
}

/// `metadata.generation`, 0 if absent.
pub fn generation(object: &Value) -> i64 {
    metadata(object)
        .and_then(|m| m.get("generation"))
        .and_then(Value::as_i64)
        .unwrap_or_default()
}

/// `metadata.labels`.
pub fn labels(object: &Value) -> Option<&Map<String, Value>> {
    metadata(object)?.get("labels")?.as_object()
}

/// The value of one annotation.
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    metadata(object)?.get("annotations")?.get(key)?.as_str()
}

/// `metadata.finalizers`.
pub fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    list(object, "finalizers").iter().filter_map(Value::as_str)
}

/// `metadata.ownerReferences`.
pub fn owner_references(object: &Value) -> &[Value] {
    list(object, "ownerReferences")
}

fn list<'a>(object: &'a Value, key: &str) -> &'a [Value] {
    metadata(object)
        .and_then(|m| m.get(key))
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// Sets a field of the metadata.
pub fn set(object: &mut Value, key: &str, value: impl Into<Value>) {
    metadata_mut(object).insert(key.to_owned(), value.into());
}

/// Removes a field of the metadata; says what it was.
pub fn remove(object: &mut Value, key: &str) -> Option<Value> {
    object.get_mut("metadata")?.as_object_mut()?.remove(key)
}

/// Adds a finalizer, if it is not there yet.
pub fn add_finalizer(object: &mut Value, finalizer: &str) {
    if finalizers(object).any(|f| f == finalizer) {
        return;
    }
    let list = metadata_mut(object)
        .entry("finalizers")
        .or_insert_with(|| Value::Array(Vec::new()));
    match list {
        Value::Array(list) => list.push(finalizer.into()),
        other => *other = Value::Array(vec![finalizer.into()]),
    }
}

/// Removes a finalizer; the list goes with its last one. Says whether it was there.
pub fn remove_finalizer(object: &mut Value, finalizer: &str) -> bool {
    let metadata = metadata_mut(object);
    let Some(Value::Array(list)) = metadata.get_mut("finalizers") else {
        return false;
    };
    let before = list.len();
    list.retain(|f| f.as_str() != Some(finalizer));
    let removed = list.len() < before;
    if list.is_empty() {
        metadata.remove("finalizers");
    }
    removed
}

/// Sets what the server alone sets on a new object: uid and creationTimestamp, and no
/// resourceVersion, deletion or selfLink. Generation is the registry's to decide.
pub fn begin_life(object: &mut Value, uid: &str, now: Timestamp) {
    let metadata = metadata_mut(object);
    for key in [
        "resourceVersion",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
    ] {
        metadata.remove(key);
    }
    metadata.insert("uid".to_owned(), uid.into());
    metadata.insert("creationTimestamp".to_owned(), time(now).into());
}

/// Marks the object as being deleted, gone at the latest `grace_seconds` after `now`.
pub fn begin_deletion(object: &mut Value, grace_seconds: i64, now: Timestamp) {
    let at = now
        .checked_add(jiff::SignedDuration::from_secs(grace_seconds))
        .unwrap_or(now);
    let metadata = metadata_mut(object);
    metadata.insert("deletionTimestamp".to_owned(), time(at).into());
    metadata.insert("deletionGracePeriodSeconds".to_owned(), grace_seconds.into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_finalizer_is_added_once_and_the_list_goes_with_the_last() {
        let mut object = json!({});
        add_finalizer(&mut object, "a/b");
        add_finalizer(&mut object, "a/b");
        assert_eq!(object, json!({"metadata": {"finalizers": ["a/b"]}}));
        assert!(remove_finalizer(&mut object, "a/b"));
        assert!(!remove_finalizer(&mut object, "a/b"));
        assert_eq!(object, json!({"metadata": {}}));
    }

    #[test]
    fn a_new_object_gets_its_identity_from_the_server_alone() {
        let mut object = json!({"metadata": {"name": "a", "uid": "mine", "resourceVersion": "5"}});
        begin_life(&mut object, "u", "2026-01-02T03:04:05Z".parse().unwrap());
        let want =
            json!({"metadata": {"name": "a", "uid": "u", "creationTimestamp": "2026-01-02T03:04:05Z"}});
        assert_eq!(object, want);
    }

    #[test]
    fn a_deletion_says_when_and_with_which_grace() {
        let mut object = json!({"metadata": {}});
        begin_deletion(&mut object, 30, "2026-01-02T03:04:05Z".parse().unwrap());
        assert_eq!(deletion_timestamp(&object), "2026-01-02T03:04:35Z");
    }
}
