//! From stored bytes to the answer: as they are where the client takes JSON, reshaped where it asks
//! for a table, for metadata only, or for another encoding.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use kobune_api::meta;
use kobune_api::status::Status;
use serde_json::{Map, Value, json};

use super::call::Call;
use super::list::Found;
use super::partial::{self, partial};
use super::table;
use crate::http::body::Body;
use crate::http::negotiate::{Encoding, Shape};
use crate::http::respond::response;

/// Answers with one stored object.
pub fn object(call: &Call<'_>, code: StatusCode, bytes: &Bytes) -> Result<Response<Body>, Status> {
    if call.answer.encoding == Encoding::Json && call.row.convert.is_none() {
        let media = Encoding::Json.media_type();
        match call.answer.shape {
            Shape::Object => return Ok(response(code, media, bytes.clone())),
            Shape::Partial => {
                let pieces = partial::metadata(bytes).map(|metadata| {
                    vec![
                        Bytes::from_static(partial::HEAD),
                        metadata,
                        Bytes::from_static(partial::TAIL),
                    ]
                });
                if let Some(pieces) = pieces {
                    return Ok(response(code, media, Body::joined(pieces)));
                }
            }
            Shape::Table => {}
        }
    }
    let object = call.read(bytes)?;
    match call.answer.shape {
        Shape::Object => Ok(write(call, code, &object, call.row.kind.schema)),
        Shape::Partial => Ok(write(call, code, &partial(object), None)),
        Shape::Table => {
            let head = json!({"resourceVersion": meta::resource_version(&object)});
            let include = table::include(call.query)?;
            let table = table::table(call.row, include, head, vec![object], true, call.now);
            Ok(write(call, code, &table, None))
        }
    }
}

/// Answers with a Scale.
pub fn scale(call: &Call<'_>, code: StatusCode, scale: Value) -> Result<Response<Body>, Status> {
    Ok(match call.answer.shape {
        Shape::Object => value(call, code, &scale),
        Shape::Partial => write(call, code, &partial(scale), None),
        Shape::Table => {
            let columns = kobune_api::table::columns_of("autoscaling", "Scale");
            let table = table::alone(columns, table::include(call.query)?, scale, call.now);
            write(call, code, &table, None)
        }
    })
}

/// Answers with an object that is not of the call's kind.
pub fn value(call: &Call<'_>, code: StatusCode, object: &Value) -> Response<Body> {
    let schema = call
        .row
        .kind
        .subresource(call.info.subresource)
        .and_then(|sub| sub.schema);
    write(call, code, object, schema)
}

/// Answers with a Status.
pub fn status(call: &Call<'_>, code: StatusCode, object: &Value) -> Response<Body> {
    write(call, code, object, None)
}

/// Writes a tree in the encoding that was asked for.
fn write(
    call: &Call<'_>,
    code: StatusCode,
    object: &Value,
    schema: Option<kobune_api::schema::TypeId>,
) -> Response<Body> {
    let (encoding, bytes) = crate::encoding::write(call.answer.encoding, object, schema);
    response(code, encoding.media_type(), bytes)
}

/// Answers with a list.
pub fn list(call: &Call<'_>, found: Found) -> Result<Response<Body>, Status> {
    if call.answer.encoding == Encoding::Json && call.row.convert.is_none() {
        match call.answer.shape {
            Shape::Object => return Ok(joined(call, found)),
            Shape::Partial => return Ok(joined_metadata(found)),
            Shape::Table => {}
        }
    }
    let head = list_meta(&found);
    let read = found.records.iter().map(|record| call.read(&record.value));
    let items: Vec<Value> = read.collect::<Result<_, _>>()?;
    let row = call.row;
    let (object, schema) = match call.answer.shape {
        Shape::Table => {
            let include = table::include(call.query)?;
            (table::table(row, include, head, items, true, call.now), None)
        }
        Shape::Partial => {
            let items: Vec<_> = items.into_iter().map(partial).collect();
            let list = json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                "metadata": head, "items": items});
            (list, None)
        }
        Shape::Object => {
            let list = json!({"kind": &*row.kind.list_kind, "apiVersion": row.kind.api_version(),
                "metadata": head, "items": items});
            (list, row.kind.list_schema)
        }
    };
    Ok(write(call, StatusCode::OK, &object, schema))
}

/// The list as a head, the stored bytes of each item, and a tail.
fn joined(call: &Call<'_>, found: Found) -> Response<Body> {
    let kind = &call.row.kind;
    let head = format!(
        "{{\"kind\":\"{}\",\"apiVersion\":\"{}\",\"metadata\":{},\"items\":[",
        kind.list_kind,
        kind.api_version(),
        list_meta(&found)
    );
    let mut pieces = Vec::with_capacity(found.records.len() * 2 + 2);
    pieces.push(Bytes::from(head));
    for (at, record) in found.records.iter().enumerate() {
        if at > 0 {
            pieces.push(Bytes::from_static(b","));
        }
        pieces.push(record.value.clone());
    }
    pieces.push(Bytes::from_static(b"]}\n"));
    response(StatusCode::OK, Encoding::Json.media_type(), Body::joined(pieces))
}

/// The same with the bytes of each item's metadata.
fn joined_metadata(found: Found) -> Response<Body> {
    let head = format!(
        "{{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{},\"items\":[",
        list_meta(&found)
    );
    let mut pieces = Vec::with_capacity(found.records.len() * 4 + 2);
    pieces.push(Bytes::from(head));
    for record in &found.records {
        let Some(metadata) = partial::metadata(&record.value) else {
            continue;
        };
        if pieces.len() > 1 {
            pieces.push(Bytes::from_static(b","));
        }
        pieces.push(Bytes::from_static(partial::HEAD));
        pieces.push(metadata);
        pieces.push(Bytes::from_static(partial::TAIL));
    }
    pieces.push(Bytes::from_static(b"]}\n"));
    response(StatusCode::OK, Encoding::Json.media_type(), Body::joined(pieces))
}

fn list_meta(found: &Found) -> Value {
    let mut head = Map::new();
    head.insert("resourceVersion".into(), found.revision.to_string().into());
    if let Some(token) = &found.continues {
        head.insert("continue".into(), token.as_str().into());
    }
    if let Some(left) = found.remaining {
        head.insert("remainingItemCount".into(), left.into());
    }
    Value::Object(head)
}

/// A failure as an answer.
pub fn failure(status: &Status, encoding: Encoding) -> Response<Body> {
    failure_object(status, encoding, &status.to_json())
}

/// The failure of a page that came too late, with the token (in `metadata.continue`) by which the list
/// goes on at the newest revision.
pub fn expired_page(status: &Status, encoding: Encoding, token: &str) -> Response<Body> {
    let mut object = status.to_json();
    meta::set(&mut object, "continue", token);
    failure_object(status, encoding, &object)
}

fn failure_object(status: &Status, encoding: Encoding, object: &Value) -> Response<Body> {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let (encoding, bytes) = crate::encoding::write(encoding, object, None);
    let mut response = response(code, encoding.media_type(), bytes);
    let retry = status
        .details
        .as_ref()
        .map_or(0, |details| details.retry_after_seconds);
    if retry > 0 && matches!(status.code, 429 | 500 | 503 | 504) {
        response
            .headers_mut()
            .insert(http::header::RETRY_AFTER, HeaderValue::from(retry));
    }
    response
}
