//! An object's stored form: its JSON, with the place of `metadata.resourceVersion` left open.

use bytes::Bytes;
use serde_json::Value;

use super::row::Row;

/// Writes an object once, for the store and for every reader. Whatever `resourceVersion` it carries
/// is dropped: the committer writes the one it assigns.
pub fn encode(object: &Value) -> kobune_store::Value {
    let mut out = Vec::with_capacity(1024);
    let mut slot = None;
    let Some(fields) = object.as_object() else {
        write(&mut out, object);
        return kobune_store::Value {
            bytes: out,
            revision_slot: None,
        };
    };
    out.push(b'{');
    for (at, (field, value)) in fields.iter().enumerate() {
        key(&mut out, at, field);
        match value {
            Value::Object(metadata) if field == "metadata" => {
                out.extend_from_slice(b"{\"resourceVersion\":\"");
                slot = Some(out.len());
                out.push(b'"');
                for (field, value) in metadata {
                    if field != "resourceVersion" {
                        key(&mut out, 1, field);
                        write(&mut out, value);
                    }
                }
                out.push(b'}');
            }
            value => write(&mut out, value),
        }
    }
    out.push(b'}');
    kobune_store::Value {
        bytes: out,
        revision_slot: slot,
    }
}

/// An object of a row in the version that is stored.
pub fn stored(row: &Row, object: &Value) -> kobune_store::Value {
    match row.convert {
        None => encode(object),
        Some(convert) => {
            let mut stored = object.clone();
            convert.store(&mut stored);
            encode(&stored)
        }
    }
}

fn key(out: &mut Vec<u8>, at: usize, field: &str) {
    if at > 0 {
        out.push(b',');
    }
    write(out, field);
    out.push(b':');
}

fn write<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    // Writing a tree of strings, numbers, lists and maps with text keys to memory cannot fail.
    let _ = serde_json::to_writer(out, value);
}

/// Whether `stored` is `value` with some revision written in: an update that changes nothing.
pub fn is_same(value: &kobune_store::Value, stored: &[u8]) -> bool {
    let Some(slot) = value.revision_slot else {
        return value.bytes == stored;
    };
    let (head, tail) = value.bytes.split_at(slot);
    stored.len() >= value.bytes.len()
        && stored.starts_with(head)
        && stored.ends_with(tail)
        && stored[slot..stored.len() - tail.len()]
            .iter()
            .all(u8::is_ascii_digit)
}

/// The bytes of an object that is answered but not stored, with the revision it had, if any.
pub fn unstored(object: &Value) -> Bytes {
    let mut out = Vec::with_capacity(1024);
    write(&mut out, object);
    out.into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_revision_has_its_place_and_equal_objects_are_recognised() {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"},
            "metadata": {"name": "x", "resourceVersion": "7"}});
        let value = encode(&object);
        let slot = value.revision_slot.expect("it has metadata");
        let mut stored = value.bytes.clone();
        stored.splice(slot..slot, *b"42");
        let back: Value = serde_json::from_slice(&stored).expect("JSON");
        assert_eq!(back["metadata"], json!({"name": "x", "resourceVersion": "42"}));
        assert!(is_same(&value, &stored));
        let other = encode(
            &json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "c"},
            "metadata": {"name": "x"}}),
        );
        assert!(!is_same(&other, &stored));
    }
}
