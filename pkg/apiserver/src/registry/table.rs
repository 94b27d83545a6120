//! `meta.k8s.io/v1 Table`: what kubectl prints.

use jiff::Timestamp;
use kobune_api::status::Status;
use kobune_api::table as api;
use serde_json::{Value, json};

use super::partial::partial;
use super::row::Row;
use crate::http::query::{Query, quoted};

/// What a row carries of its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Include {
    /// Nothing.
    None,
    /// Its metadata.
    Metadata,
    /// All of it.
    Object,
}

/// Makes a table of objects; `head` is its `metadata`, `columns` are left out after the first of a
/// watch.
pub fn table(
    row: &Row,
    include: Include,
    head: Value,
    objects: Vec<Value>,
    columns: bool,
    now: Timestamp,
) -> Value {
    let rows: Vec<Value> = objects
        .into_iter()
        .map(|object| {
            let mut line = json!({"cells": api::cells(&row.kind, &object, now)});
            if let Some(conditions) = api::conditions(&row.kind, &object) {
                line["conditions"] = conditions;
            }
            line["object"] = included(include, object);
            line
        })
        .collect();
    let definitions = if columns {
        api::definitions(&row.kind)
    } else {
        Value::Null
    };
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": head,
        "columnDefinitions": definitions, "rows": rows})
}

/// Makes a table of one object that is not of the row's kind.
pub fn alone(columns: &[api::Column], include: Include, object: Value, now: Timestamp) -> Value {
    let definitions: Vec<Value> = columns.iter().map(api::Column::to_json).collect();
    let head = json!({"resourceVersion": kobune_api::meta::resource_version(&object)});
    let cells = api::cells_of(columns, &object, now);
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": head,
        "columnDefinitions": definitions, "rows": [{"cells": cells, "object": included(include, object)}]})
}

fn included(include: Include, object: Value) -> Value {
    match include {
        Include::None => Value::Null,
        Include::Metadata => partial(object),
        Include::Object => object,
    }
}

/// Reads `includeObject`.
pub fn include(query: &Query<'_>) -> Result<Include, Status> {
    match query.text("includeObject") {
        None | Some("Metadata") => Ok(Include::Metadata),
        Some("None") => Ok(Include::None),
        Some("Object") => Ok(Include::Object),
        Some(other) => Err(Status::bad_request(format!(
            "Invalid value: {}: must be 'Metadata', 'Object', 'None', or empty",
            quoted(other)
        ))),
    }
}
