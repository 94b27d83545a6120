//! JSON merge patch (RFC 7386) and JSON patch (RFC 6902).

use json_patch::{PatchErrorKind, PatchOperation};
use serde_json::{Map, Value};

use super::MergeError;

/// Operations one JSON patch may have.
pub const MOST_OPERATIONS: usize = 10_000;

/// Applies a JSON merge patch: maps are merged, everything else is replaced, nulls delete.
pub fn json_merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else if let Some(known) = target.get_mut(name) {
            json_merge(known, value);
        } else {
            let mut fresh = Value::Null;
            json_merge(&mut fresh, value);
            target.insert(name.clone(), fresh);
        }
    }
}

/// Applies a JSON patch. On an error the target is as it was.
pub fn json_patch(target: &mut Value, patch: &[u8]) -> Result<(), MergeError> {
    // By way of a tree: of a member that is written twice the last counts, as everywhere.
    let operations: Value = serde_json::from_slice(patch).map_err(MergeError::JsonPatchSyntax)?;
    let operations: Vec<PatchOperation> =
        serde_json::from_value(operations).map_err(MergeError::JsonPatchSyntax)?;
    if operations.len() > MOST_OPERATIONS {
        return Err(MergeError::TooManyOperations(operations.len()));
    }
    json_patch::patch(target, &operations).map_err(|error| {
        let name = operations.get(error.operation).map_or("", operation_name);
        MergeError::JsonPatch(match error.kind {
            PatchErrorKind::TestFailed => format!("testing value {} failed: test failed", error.path),
            _ => {
                format!(
                    "{name} operation does not apply: doc is missing path: {}: missing value",
                    error.path
                )
            }
        })
    })
}

fn operation_name(operation: &PatchOperation) -> &'static str {
    match operation {
        PatchOperation::Add(_) => "add",
        PatchOperation::Remove(_) => "remove",
        PatchOperation::Replace(_) => "replace",
        PatchOperation::Move(_) => "move",
        PatchOperation::Copy(_) => "copy",
        PatchOperation::Test(_) => "test",
    }
}
