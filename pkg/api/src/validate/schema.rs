//! What the schema tables say of any kind: required fields and enumerations. Status is the
//! controllers' and not checked.

use super::Errors;
use super::at::At;
use crate::fields::FieldError;
use crate::kinds::Kind;
use crate::schema::{Field, Shape, TypeId, Types};
use serde_json::Value;

/// Checks the whole object but its metadata and status.
pub(super) fn check(kind: &Kind, root: &At<'_, '_>, errors: &mut Errors) {
    let Some(id) = kind.schema else { return };
    let types = Types::of(id);
    for field in types
        .get(id)
        .fields
        .iter()
        .filter(|f| !matches!(&*f.name, "metadata" | "status"))
    {
        check_field(&types, field, &root.child(&field.name), errors);
    }
}

fn check_object(types: &Types, id: TypeId, at: &At<'_, '_>, errors: &mut Errors) {
    for field in &types.get(id).fields {
        check_field(types, field, &at.child(&field.name), errors);
    }
}

fn check_field(types: &Types, field: &Field, at: &At<'_, '_>, errors: &mut Errors) {
    // The decoder writes the zero value of a required text; upstream takes it for missing.
    let Some(value) = at.value.filter(|v| **v != "" || !field.required()) else {
        let told = errors.iter().any(|e| e.field == at.path.to_string());
        if field.required() && !told {
            errors.push(FieldError::required(at.path, ""));
        }
        return;
    };
    check_shape(types, &field.shape, at, errors);
    let supported = field.enum_values();
    if supported.is_empty() {
        return;
    }
    let supported: Vec<&str> = supported.iter().map(|v| &**v).collect();
    match value {
        Value::String(text) if text.is_empty() => {}
        Value::String(_) => enumerated(at, &supported, errors),
        Value::Array(_) => at.items().for_each(|item| enumerated(&item, &supported, errors)),
        _ => {}
    }
}

fn enumerated(at: &At<'_, '_>, supported: &[&str], errors: &mut Errors) {
    let told = errors.iter().any(|e| e.field == at.path.to_string());
    if !told {
        at.one_of(errors, supported);
    }
}

fn check_shape(types: &Types, shape: &Shape, at: &At<'_, '_>, errors: &mut Errors) {
    match shape {
        Shape::Object(id) => check_object(types, *id, at, errors),
        Shape::List(element) if is_object(element) => {
            at.items()
                .for_each(|item| check_shape(types, element, &item, errors));
        }
        Shape::Map(element) if is_object(element) => {
            at.entries()
                .for_each(|(_, entry)| check_shape(types, element, &entry, errors));
        }
        _ => {}
    }
}

fn is_object(shape: &Shape) -> bool {
    matches!(shape, Shape::Object(_) | Shape::List(_) | Shape::Map(_))
}
