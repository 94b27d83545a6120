//! What the schema adds to an object: default values, and the fields Go always writes.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::schema::{Shape, Type, TypeId, Types, builtin_types};

/// Gives missing fields the default values of the schema. Only objects that are there get them: a missing
/// object is not made for its defaults' sake. Defaults that depend on other fields are the kinds' own.
pub fn apply_defaults(root: TypeId, value: &mut Value) {
    let types = Types::of(root);
    default_value(&Shape::Object(root), &types, value);
}

fn default_value(shape: &Shape, types: &Types, value: &mut Value) {
    match (shape, value) {
        (Shape::Object(id), Value::Object(map)) if has_defaults(*id) => {
            default_fields(types.get(*id), types, map);
        }
        (Shape::List(element), Value::Array(list)) if may_have_defaults(element) => {
            list.iter_mut()
                .for_each(|value| default_value(element, types, value));
        }
        (Shape::Map(element), Value::Object(map)) if may_have_defaults(element) => {
            map.values_mut()
                .for_each(|value| default_value(element, types, value));
        }
        _ => {}
    }
}

fn default_fields(ty: &Type, types: &Types, map: &mut Map<String, Value>) {
    for (name, value) in map.iter_mut().filter(|(_, value)| is_nested(value)) {
        if let Some(field) = ty.field(name) {
            default_value(&field.shape, types, value);
        }
    }
    for field in ty.defaulted.iter().map(|at| &ty.fields[*at as usize]) {
        if let Some(default) = field.default_value()
            && !map.contains_key(&*field.name)
        {
            map.insert(field.name.to_string(), default.clone());
        }
    }
}

fn is_nested(value: &Value) -> bool {
    matches!(value, Value::Object(_) | Value::Array(_))
}

fn may_have_defaults(shape: &Shape) -> bool {
    match shape {
        Shape::Object(id) => has_defaults(*id),
        Shape::List(inner) | Shape::Map(inner) => may_have_defaults(inner),
        _ => false,
    }
}

/// Whether a default is anywhere below a built-in type, so that most of an object is not walked at all.
static WITH_DEFAULTS: LazyLock<Vec<bool>> = LazyLock::new(|| {
    let types: Vec<&Type> = builtin_types().map(|(_, ty)| ty).collect();
    let mut with: Vec<bool> = types.iter().map(|ty| !ty.defaulted.is_empty()).collect();
    loop {
        let before = with.clone();
        for (at, ty) in types.iter().enumerate() {
            with[at] = before[at] || ty.fields.iter().any(|field| leads_to(&field.shape, &before));
        }
        if with == before {
            return with;
        }
    }
});

fn leads_to(shape: &Shape, with: &[bool]) -> bool {
    match shape {
        Shape::Object(id) => id.builtin_index().is_some_and(|index| with[index]),
        Shape::List(inner) | Shape::Map(inner) => leads_to(inner, with),
        _ => false,
    }
}

fn has_defaults(id: TypeId) -> bool {
    id.builtin_index().is_none_or(|index| WITH_DEFAULTS[index])
}

/// Adds the fields upstream always writes, such as `status: {}` or a container's `resources: {}`, so that a
/// stored object looks as it would there. Goes last: it makes "missing" and "zero" the same.
pub fn complete(root: TypeId, value: &mut Value) {
    let types = Types::of(root);
    complete_value(&Shape::Object(root), &types, value);
}

fn complete_value(shape: &Shape, types: &Types, value: &mut Value) {
    match (shape, value) {
        (Shape::Object(id), Value::Object(map)) => complete_fields(types.get(*id), types, map),
        (Shape::List(element), Value::Array(list)) if has_fields(element) => {
            list.iter_mut()
                .for_each(|value| complete_value(element, types, value));
        }
        (Shape::Map(element), Value::Object(map)) if has_fields(element) => {
            map.values_mut()
                .for_each(|value| complete_value(element, types, value));
        }
        _ => {}
    }
}

fn has_fields(shape: &Shape) -> bool {
    match shape {
        Shape::Object(_) => true,
        Shape::List(inner) | Shape::Map(inner) => has_fields(inner),
        _ => false,
    }
}

fn complete_fields(ty: &Type, types: &Types, map: &mut Map<String, Value>) {
    for (name, value) in map.iter_mut().filter(|(_, value)| is_nested(value)) {
        if let Some(field) = ty.field(name) {
            complete_value(&field.shape, types, value);
        }
    }
    for field in ty.always.iter().map(|at| &ty.fields[*at as usize]) {
        if !map.contains_key(&*field.name) {
            let mut value = field.zero();
            complete_value(&field.shape, types, &mut value);
            map.insert(field.name.to_string(), value);
        }
    }
}
