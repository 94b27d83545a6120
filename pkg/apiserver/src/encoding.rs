//! Writing trees in the encodings that clients accept.

use bytes::{BufMut, Bytes, BytesMut};
use kobune_api::protobuf;
use kobune_api::schema::{TypeId, find_kind};
use serde_json::Value;

use crate::http::negotiate::Encoding;

/// Writes an object. Where protobuf has no schema for it, JSON is written; the encoding that was used
/// comes back with the bytes.
pub fn write(encoding: Encoding, object: &Value, schema: Option<TypeId>) -> (Encoding, Bytes) {
    match encoding {
        Encoding::Protobuf => match schema.or_else(|| schema_of(object)) {
            Some(root) => (encoding, protobuf::encode_envelope(object, root).into()),
            None => (Encoding::Json, json(object)),
        },
        Encoding::Json => (encoding, json(object)),
        Encoding::Yaml => match serde_yaml_ng::to_string(object) {
            Ok(text) => (encoding, text.into()),
            Err(_) => (Encoding::Json, json(object)),
        },
    }
}

fn json(object: &Value) -> Bytes {
    // Writing a tree to memory cannot fail.
    let mut bytes = serde_json::to_vec(object).unwrap_or_default();
    bytes.push(b'\n');
    bytes.into()
}

/// The type of an object that says what it is.
fn schema_of(object: &Value) -> Option<TypeId> {
    let kind = object.get("kind")?.as_str()?;
    let version = object.get("apiVersion")?.as_str()?;
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    find_kind(group, version, kind)
}

/// Appends one event of a watch in protobuf.
pub fn protobuf_event(out: &mut BytesMut, event: &str, object: &Value, schema: Option<TypeId>) {
    let envelope = match schema.or_else(|| schema_of(object)) {
        Some(root) => protobuf::encode_envelope(object, root),
        None => json(object).into(),
    };
    out.put_slice(&protobuf::watch_frame(event, &envelope));
}
