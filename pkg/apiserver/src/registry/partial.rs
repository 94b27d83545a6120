//! `PartialObjectMetadata`: an object reduced to its metadata.

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// What stands before an object's metadata, and behind it.
pub const HEAD: &[u8] =
    b"{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":";
/// See [`HEAD`].
pub const TAIL: &[u8] = b"}";

/// The bytes of a stored object's metadata, shared with it: nothing is read but its outline.
pub fn metadata(stored: &Bytes) -> Option<Bytes> {
    #[derive(serde::Deserialize)]
    struct Outline<'a> {
        #[serde(borrow)]
        metadata: &'a RawValue,
    }
    let outline: Outline<'_> = serde_json::from_slice(stored).ok()?;
    Some(stored.slice_ref(outline.metadata.get().as_bytes()))
}

/// The same of a tree.
pub fn partial(mut object: Value) -> Value {
    let metadata = object.get_mut("metadata").map(Value::take).unwrap_or_default();
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_objects_metadata_is_a_part_of_its_bytes() {
        let text = r#"{"data":{"metadata":{"name":"not this"}},"metadata":{"name":"x","labels":{"a":"}"}},"spec":{}}"#;
        let stored = Bytes::from_static(text.as_bytes());
        let found = metadata(&stored).expect("metadata");
        assert_eq!(found.as_ref(), br#"{"name":"x","labels":{"a":"}"}}"#);
        let whole = [HEAD, &found, TAIL].concat();
        let tree: Value = serde_json::from_slice(&whole).expect("JSON");
        assert_eq!(tree, partial(serde_json::from_str(text).expect("JSON")));
        assert_eq!(metadata(&Bytes::from_static(b"[]")), None);
    }
}
