//! `kubectl apply`'s annotation, so that its users can move to `kubectl apply --server-side` and back.
//!
//! What the annotation says was applied, and is still so in the live object, may be taken over by kubectl's
//! server-side apply without a conflict; and that apply keeps the annotation up to date.

use serde_json::Value;

use super::compare::compare;
use super::relation::{Relation, Relations};
use super::set::Set;

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
const ANNOTATIONS: &str = "/metadata/annotations";
/// The manager this is for.
pub(super) const MANAGER: &str = "kubectl";
/// Bytes all annotations of an object may have together.
const MOST_BYTES: usize = 256 * 1024;

fn annotation(object: &Value) -> Option<&str> {
    object["metadata"]["annotations"][ANNOTATION]
        .as_str()
        .filter(|text| !text.is_empty())
}

/// The paths that the annotation accounts for.
pub(super) fn allowed<'t>(relations: Relations<'t>, relation: Relation<'t>, live: &Value) -> Set {
    let Some(last) = annotation(live).and_then(|text| serde_json::from_str::<Value>(text).ok()) else {
        return Set::default();
    };
    let mut allowed = relations.field_set(relation, &last);
    let difference = compare(relations, relation, &last, live);
    allowed.subtract(&difference.changed);
    allowed.subtract(&difference.removed);
    allowed
}

/// Writes what was applied into the annotation of an object that has it.
pub(super) fn update(live: &Value, applied: &Value, object: &mut Value) {
    if annotation(live).is_none() {
        return;
    }
    let mut applied = applied.clone();
    if let Some(Value::Object(annotations)) = applied.pointer_mut(ANNOTATIONS) {
        annotations.remove(ANNOTATION);
    }
    let text = format!("{applied}\n");
    let Some(Value::Object(annotations)) = object.pointer_mut(ANNOTATIONS) else {
        return;
    };
    let others = annotations.iter().filter(|(name, _)| *name != ANNOTATION);
    let bytes: usize = others
        .map(|(name, value)| name.len() + value.as_str().map_or(0, str::len))
        .sum();
    if bytes + ANNOTATION.len() + text.len() > MOST_BYTES {
        annotations.remove(ANNOTATION);
    } else {
        annotations.insert(ANNOTATION.to_owned(), text.into());
    }
}
