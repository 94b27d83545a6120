//! Reading and editing objects as trees, beside what `kobune_api::meta` has for their metadata.

use kobune_api::meta;
use serde_json::{Map, Value};

/// The value at a path of field names.
pub fn at<'v>(object: &'v Value, path: &[&str]) -> Option<&'v Value> {
    path.iter().try_fold(object, |value, field| value.get(field))
}

/// The text at a path; empty when it is not there.
pub fn text<'v>(object: &'v Value, path: &[&str]) -> &'v str {
    at(object, path).and_then(Value::as_str).unwrap_or("")
}

/// The number at a path.
pub fn integer(object: &Value, path: &[&str]) -> Option<i64> {
    at(object, path).and_then(Value::as_i64)
}

/// The elements of the list at a path; none when it is not there.
pub fn elements<'v>(object: &'v Value, path: &[&str]) -> &'v [Value] {
    at(object, path)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The fields of an object, made if need be. A value that is something else is replaced.
pub fn fields<'v>(object: &'v mut Value, field: &str) -> &'v mut Map<String, Value> {
    let outer = as_map(object);
    as_map(outer.entry(field).or_insert_with(|| Value::Object(Map::new())))
}

/// The value as a map, made one if it is not.
pub fn as_map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        // The line above has just made it an object.
        _ => unreachable!("an object was just made"),
    }
}

/// Sets or removes a field of a map.
pub fn put(map: &mut Map<String, Value>, field: &str, value: Option<Value>) {
    match value {
        Some(value) => {
            map.insert(field.to_owned(), value);
        }
        None => {
            map.remove(field);
        }
    }
}

/// Copies a top-level field from `from`, or removes it if it is not there.
pub fn restore(object: &mut Value, from: &Value, field: &str) {
    let value = from.get(field).cloned();
    put(as_map(object), field, value);
}

/// Copies a field of `metadata` from `from`, or removes it if it is not there.
pub fn restore_meta(object: &mut Value, from: &Value, field: &str) {
    let value = at(from, &["metadata", field]).cloned();
    put(meta::metadata_mut(object), field, value);
}
