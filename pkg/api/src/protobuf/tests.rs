use serde_json::json;

use super::*;
use crate::schema::{self, Field, Shape, Types};

/// An object of a type with a value in every field, down to a depth, that a round trip must keep.
fn full(types: &Types, id: TypeId, depth: u32, salt: &mut u64) -> Value {
    let ty = types.get(id);
    let mut map = serde_json::Map::new();
    for field in &ty.fields {
        if field.place[0] == 0 {
            continue;
        }
        let value = sample(types, &field.shape, depth, salt);
        if !field.omits(&value) && !empty_collection(field, &value) {
            map.insert(field.name.to_string(), value);
        }
    }
    Value::Object(map)
}

/// Protobuf cannot tell an empty list from none.
fn empty_collection(field: &Field, value: &Value) -> bool {
    match field.shape {
        Shape::List(_) => value.as_array().is_some_and(Vec::is_empty),
        Shape::Map(_) => value.as_object().is_some_and(serde_json::Map::is_empty),
        _ => false,
    }
}

fn sample(types: &Types, shape: &Shape, depth: u32, salt: &mut u64) -> Value {
    *salt += 1;
    let n = *salt;
    match shape {
        Shape::Bool => json!(true),
        Shape::Int32 => json!(if n.is_multiple_of(2) {
            n as i32
        } else {
            -(n as i32)
        }),
        Shape::Int64 => json!(i64::from(u32::MAX) * n as i64),
        Shape::Double => json!(n as f64 + 0.5),
        Shape::String => json!(format!("text-{n}")),
        Shape::Bytes => json!("aGVsbG8="),
        Shape::Quantity => json!(format!("{}m", n * 10 + 1)),
        Shape::IntOrString => {
            if n.is_multiple_of(2) {
                json!(n)
            } else {
                json!("http")
            }
        }
        Shape::Time => json!("2026-11-21T10:00:15Z"),
        Shape::MicroTime => json!("2026-11-21T10:00:15.123456Z"),
        Shape::RawExtension | Shape::Json | Shape::FieldsV1 => json!({"a": [n, null, {"b": "c"}]}),
        Shape::Strings => json!(["a", "b"]),
        Shape::SchemaOrBool => json!(false),
        Shape::SchemaOrStrings => json!(["x"]),
        Shape::SchemaOrArray => json!([{"type": "string"}]),
        Shape::List(inner) if depth > 0 => {
            json!([
                sample(types, inner, depth - 1, salt),
                sample(types, inner, depth - 1, salt)
            ])
        }
        Shape::Map(inner) if depth > 0 => json!({"k/1": sample(types, inner, depth - 1, salt)}),
        Shape::List(_) => json!([]),
        Shape::Map(_) => json!({}),
        Shape::Object(id) if depth > 0 => full(types, *id, depth - 1, salt),
        Shape::Object(_) => json!({}),
    }
}

#[test]
fn every_type_survives_a_round_trip() {
    let types = Types::builtin();
    let mut salt = 0;
    for (id, ty) in schema::builtin_types() {
        // The verbs of discovery's documents are JSON only.
        if ty.name.contains(".APIResource") {
            continue;
        }
        let value = full(&types, id, 6, &mut salt);
        let back = decode_protobuf(&encode_protobuf(&value, id), id).unwrap();
        assert!(back == value, "{}", ty.name);
    }
}

#[test]
fn every_kind_survives_its_envelope() {
    let mut salt = 0;
    for kind in crate::kinds::builtin() {
        for (root, name) in [(kind.schema, &kind.kind), (kind.list_schema, &kind.list_kind)] {
            let Some(root) = root else { continue };
            let mut value = full(&Types::of(root), root, 5, &mut salt);
            value["apiVersion"] = kind.api_version().into();
            value["kind"] = (**name).into();
            let envelope = encode_envelope(&value, root);
            assert!(envelope.starts_with(b"k8s\0"));
            assert!(decode_envelope(&envelope, None).unwrap() == value, "{name}");
        }
    }
}

#[test]
fn what_is_full_passes_the_json_walk_unchanged() {
    let mut salt = 0;
    for kind in crate::kinds::builtin() {
        let root = kind.schema.unwrap();
        let value = full(&Types::of(root), root, 5, &mut salt);
        let mut walked = value.clone();
        crate::decode::prune_and_check(root, &mut walked, crate::decode::FieldValidation::Strict).unwrap();
        assert!(walked == value, "{}", kind.group_resource());
    }
}

#[test]
fn bytes_are_those_of_gogo_protobuf() {
    let root = schema::find_kind("", "v1", "ConfigMap").unwrap();
    let value =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}});
    let envelope = encode_envelope(&value, root);
    let expected = b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x0d\x0a\x03\x0a\x01a\x12\x06\x0a\x01k\x12\x01v\x1a\x00\x22\x00";
    assert_eq!(envelope, expected);
}

#[test]
fn a_zero_that_go_wrote_for_nothing_is_not_kept() {
    let root = schema::find_kind("", "v1", "Pod").unwrap();
    // metadata { name: "a", generateName: "", creationTimestamp: {} }, spec { hostNetwork: false }
    let body = b"\x0a\x07\x0a\x01a\x12\x00\x42\x00\x12\x02\x58\x00";
    assert_eq!(
        decode_protobuf(body, root).unwrap(),
        json!({"metadata": {"name": "a"}, "spec": {}})
    );
}

#[test]
fn garbage_is_refused_without_panic() {
    let root = schema::find_kind("", "v1", "Pod").unwrap();
    assert!(matches!(
        decode_envelope(b"{}", Some(root)),
        Err(ProtobufError::Prefix)
    ));
    assert!(matches!(
        decode_protobuf(b"\x0a\x7f", root),
        Err(ProtobufError::Truncated)
    ));
    assert!(matches!(
        decode_protobuf(b"\x08\x01", root),
        Err(ProtobufError::WireType { .. })
    ));
    assert!(decode_protobuf(&[0xff; 40], root).is_err());
    let mut seed = 7u64;
    for length in 0..2000 {
        let bytes: Vec<u8> = (0..length % 64)
            .map(|_| {
                seed = seed
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                (seed >> 56) as u8
            })
            .collect();
        let _ = decode_protobuf(&bytes, root);
    }
}

#[test]
fn nesting_has_an_end() {
    let root = schema::find_type("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps")
        .unwrap();
    let not = Types::builtin().get(root).field("not").unwrap().place[0];
    let mut body = Vec::new();
    for _ in 0..5000 {
        let mut writer = wire::Writer::new(&[]);
        writer.bytes(not, &body);
        body = writer.into_bytes();
    }
    assert!(matches!(
        decode_protobuf(&body, root),
        Err(ProtobufError::TooDeep)
    ));
}

#[test]
fn a_watch_frame_has_its_length_first() {
    let frame = watch_frame("ADDED", b"k8s\0");
    assert_eq!(frame, b"\0\0\0\x0f\x0a\x05ADDED\x12\x06\x0a\x04k8s\0");
}

#[test]
fn delete_options_are_of_every_group() {
    let body = b"k8s\0\x0a\x13\x0a\x02v1\x12\x0dDeleteOptions\x12\x02\x08\x05\x1a\x00\x22\x00";
    let expected = json!({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 5});
    assert_eq!(decode_envelope(body, None).unwrap(), expected);
    assert!(schema::find_kind("apps", "v1", "DeleteOptions").is_some());
}
