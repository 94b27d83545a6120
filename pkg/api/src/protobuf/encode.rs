//! An object to its message.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::wire::Writer;
use crate::schema::{Shape, Type, TypeId, Types, json_schema};

/// The message of an object, without an envelope. `kind` and `apiVersion` are not part of it.
pub fn encode_protobuf(value: &Value, root: TypeId) -> Vec<u8> {
    let mut writer = Writer::new(&[]);
    object(&mut writer, value, root);
    writer.into_bytes()
}

/// Writes the fields of an object.
pub(super) fn object(writer: &mut Writer, value: &Value, root: TypeId) {
    let types = Types::of(root);
    Encode {
        types: &types,
        writer,
    }
    .object(root, value);
}

struct Encode<'e> {
    types: &'e Types,
    writer: &'e mut Writer,
}

impl Encode<'_> {
    fn object(&mut self, id: TypeId, value: &Value) {
        if let Value::Object(map) = value {
            let types = self.types;
            let ty = types.get(id);
            self.fields(ty, &ty.by_place, 0, map);
        }
    }

    /// Writes the fields at these indexes; `depth` is how many inlined messages they are in.
    fn fields(&mut self, ty: &Type, indexes: &[u16], depth: usize, map: &Map<String, Value>) {
        let mut at = 0;
        while at < indexes.len() {
            let field = &ty.fields[indexes[at] as usize];
            let number = field.place[depth];
            if field.place.get(depth + 1).is_none_or(|inner| *inner == 0) {
                if let Some(value) = map.get(&*field.name).filter(|value| !value.is_null()) {
                    self.field(number, &field.shape, value);
                }
                at += 1;
                continue;
            }
            let run = indexes[at..].partition_point(|i| ty.fields[*i as usize].place[depth] == number);
            let inner = &indexes[at..at + run];
            if inner
                .iter()
                .any(|i| map.contains_key(&*ty.fields[*i as usize].name))
            {
                self.message(number, |encode| encode.fields(ty, inner, depth + 1, map));
            }
            at += run;
        }
    }

    fn message(&mut self, number: u16, write: impl FnOnce(&mut Encode<'_>)) {
        let types = self.types;
        self.writer
            .message(number, |writer| write(&mut Encode { types, writer }));
    }

    fn field(&mut self, number: u16, shape: &Shape, value: &Value) {
        match (shape, value) {
            (Shape::List(element), Value::Array(list)) => {
                for value in list {
                    self.value(number, element, value);
                }
            }
            (Shape::Map(element), Value::Object(map)) => {
                for (key, value) in map {
                    self.message(number, |entry| {
                        entry.writer.text(1, key);
                        if !value.is_null() {
                            entry.value(2, element, value);
                        }
                    });
                }
            }
            _ => self.value(number, shape, value),
        }
    }

    fn value(&mut self, number: u16, shape: &Shape, value: &Value) {
        match shape {
            Shape::Bool => self
                .writer
                .varint(number, value.as_bool().unwrap_or_default().into()),
            Shape::Int32 | Shape::Int64 => {
                self.writer
                    .varint(number, value.as_i64().unwrap_or_default() as u64);
            }
            Shape::Double => self.writer.double(number, value.as_f64().unwrap_or_default()),
            Shape::String => self.writer.text(number, value.as_str().unwrap_or_default()),
            Shape::Bytes => {
                let bytes = STANDARD
                    .decode(value.as_str().unwrap_or_default())
                    .unwrap_or_default();
                self.writer.bytes(number, &bytes);
            }
            Shape::Object(id) => self.message(number, |encode| encode.object(*id, value)),
            // A list or map within a list or map has no protobuf form.
            Shape::List(_) | Shape::Map(_) => {}
            _ => self.message(number, |encode| encode.wrapped(shape, value)),
        }
    }

    /// Writes the inside of the message that a value without fields of its own is wrapped in.
    fn wrapped(&mut self, shape: &Shape, value: &Value) {
        let writer = &mut *self.writer;
        match shape {
            Shape::Quantity => writer.text(1, value.as_str().unwrap_or_default()),
            Shape::IntOrString => match value {
                Value::String(text) => {
                    writer.varint(1, 1);
                    writer.varint(2, 0);
                    writer.text(3, text);
                }
                _ => {
                    writer.varint(1, 0);
                    writer.varint(2, value.as_i64().unwrap_or_default() as u64);
                    writer.text(3, "");
                }
            },
            Shape::Time | Shape::MicroTime => {
                if let Some(instant) = value.as_str().and_then(|text| text.parse::<Timestamp>().ok()) {
                    writer.varint(1, instant.as_second() as u64);
                    writer.varint(2, instant.subsec_nanosecond() as u64);
                }
            }
            Shape::RawExtension | Shape::Json | Shape::FieldsV1 => {
                writer.bytes(1, value.to_string().as_bytes());
            }
            Shape::Strings => {
                for text in value.as_array().into_iter().flatten() {
                    writer.text(1, text.as_str().unwrap_or_default());
                }
            }
            _ => self.schema_or(shape, value),
        }
    }

    fn schema_or(&mut self, shape: &Shape, value: &Value) {
        let schema = json_schema();
        match (shape, value) {
            (Shape::SchemaOrBool, Value::Bool(on)) => self.writer.varint(1, (*on).into()),
            // A schema allows what it describes.
            (Shape::SchemaOrBool, _) => {
                self.writer.varint(1, 1);
                self.value(2, schema, value);
            }
            (Shape::SchemaOrArray, Value::Array(list)) => {
                list.iter().for_each(|value| self.value(2, schema, value));
            }
            (_, Value::Array(list)) => list.iter().for_each(|value| self.value(2, &Shape::String, value)),
            _ => self.value(1, schema, value),
        }
    }
}
