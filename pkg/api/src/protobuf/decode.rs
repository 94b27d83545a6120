//! A message to its object.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Number, Value};

use super::wire::{Payload, Reader};
use super::{MAGIC, ProtobufError, decode_envelope};
use crate::decode::normal_text;
use crate::schema::{Field, Shape, Type, TypeId, Types, json_schema};

/// Messages nested deeper than this are refused; real objects have a tenth of it.
const DEEPEST: u32 = 200;
/// Seconds of Go's zero time.
const GO_ZERO: i64 = -62_135_596_800;

/// Reads the message of an object, without an envelope. Unknown fields are skipped, as upstream does.
pub fn decode_protobuf(body: &[u8], root: TypeId) -> Result<Value, ProtobufError> {
    Decode {
        types: &Types::of(root),
        depth: 0,
    }
    .object(body, root)
}

#[derive(Clone, Copy)]
struct Decode<'d> {
    types: &'d Types,
    depth: u32,
}

impl Decode<'_> {
    fn object(self, body: &[u8], id: TypeId) -> Result<Value, ProtobufError> {
        if self.depth > DEEPEST {
            return Err(ProtobufError::TooDeep);
        }
        let ty = self.types.get(id);
        let mut map = Map::new();
        let inner = Decode {
            types: self.types,
            depth: self.depth + 1,
        };
        inner.fields(body, ty, &ty.by_place, 0, &mut map)?;
        Ok(Value::Object(map))
    }

    /// Reads the fields at these indexes; `inlined` is how many inlined messages they are in.
    fn fields(
        self,
        body: &[u8],
        ty: &Type,
        indexes: &[u16],
        inlined: usize,
        map: &mut Map<String, Value>,
    ) -> Result<(), ProtobufError> {
        let mut reader = Reader::new(body);
        while let Some((number, payload)) = reader.next_field()? {
            let place = |index: &u16| u32::from(ty.fields[*index as usize].place[inlined]);
            let start = indexes.partition_point(|index| place(index) < number);
            let run = indexes[start..].partition_point(|index| place(index) == number);
            let Some(first) = indexes.get(start).filter(|_| run > 0) else {
                continue;
            };
            let field = &ty.fields[*first as usize];
            if field.place.get(inlined + 1).is_some_and(|inner| *inner != 0) {
                let body = payload.bytes().ok_or_else(|| wrong_type(&field.name, payload))?;
                self.fields(body, ty, &indexes[start..start + run], inlined + 1, map)?;
            } else {
                self.field(field, payload, map)?;
            }
        }
        Ok(())
    }

    fn field(
        self,
        field: &Field,
        payload: Payload<'_>,
        map: &mut Map<String, Value>,
    ) -> Result<(), ProtobufError> {
        match &field.shape {
            Shape::List(element) => {
                let list = map
                    .entry(&*field.name)
                    .or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(list) = list {
                    self.elements(element, payload, &field.name, list)?;
                }
            }
            Shape::Map(element) => {
                let (key, value) = self.entry(element, payload, &field.name)?;
                let entries = map
                    .entry(&*field.name)
                    .or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(entries) = entries {
                    entries.insert(key, value);
                }
            }
            shape => {
                let value = self.value(shape, payload, &field.name)?;
                if !field.omits(&value) {
                    map.insert(field.name.to_string(), value);
                }
            }
        }
        Ok(())
    }

    /// One element of a list, or several packed numbers.
    fn elements(
        self,
        element: &Shape,
        payload: Payload<'_>,
        name: &str,
        list: &mut Vec<Value>,
    ) -> Result<(), ProtobufError> {
        match (element, payload) {
            (Shape::Bool | Shape::Int32 | Shape::Int64, Payload::Bytes(packed)) => {
                let mut reader = Reader::new(packed);
                while !reader.is_empty() {
                    let number = Payload::Varint(reader.varint()?);
                    list.push(self.value(element, number, name)?);
                }
            }
            _ => list.push(self.value(element, payload, name)?),
        }
        Ok(())
    }

    fn entry(
        self,
        element: &Shape,
        payload: Payload<'_>,
        name: &str,
    ) -> Result<(String, Value), ProtobufError> {
        let body = payload.bytes().ok_or_else(|| wrong_type(name, payload))?;
        let (mut key, mut value) = (String::new(), element.zero());
        let mut reader = Reader::new(body);
        while let Some((number, payload)) = reader.next_field()? {
            match number {
                1 => key = text(payload, name)?,
                2 => value = self.value(element, payload, name)?,
                _ => {}
            }
        }
        Ok((key, value))
    }

    fn value(self, shape: &Shape, payload: Payload<'_>, name: &str) -> Result<Value, ProtobufError> {
        Ok(match (shape, payload) {
            (Shape::Bool, Payload::Varint(number)) => Value::Bool(number != 0),
            (Shape::Int32, Payload::Varint(number)) => Value::from(number as i32),
            (Shape::Int64, Payload::Varint(number)) => Value::from(number as i64),
            (Shape::Double, Payload::Fixed64(bytes)) => {
                Number::from_f64(f64::from_le_bytes(bytes)).map_or(Value::Null, Value::Number)
            }
            (Shape::String, _) => Value::String(text(payload, name)?),
            (Shape::Bytes, Payload::Bytes(bytes)) => Value::String(STANDARD.encode(bytes)),
            (Shape::Object(id), Payload::Bytes(body)) => self.object(body, *id)?,
            (_, Payload::Bytes(body)) => self.wrapped(shape, body, name)?,
            _ => return Err(wrong_type(name, payload)),
        })
    }

    /// Reads the message that a value without fields of its own is wrapped in.
    fn wrapped(self, shape: &Shape, body: &[u8], name: &str) -> Result<Value, ProtobufError> {
        let parts = Parts::read(body)?;
        Ok(match shape {
            Shape::Quantity => {
                let text = parts
                    .first
                    .map_or(Ok(String::new()), |payload| text(payload, name))?;
                let text = if text.is_empty() { "0".to_owned() } else { text };
                normal_text(shape, text)
                    .map(Value::String)
                    .map_err(ProtobufError::Unreadable)?
            }
            Shape::IntOrString if parts.first_number() == 1 => match parts.third {
                Some(payload) => Value::String(text(payload, name)?),
                None => Value::String(String::new()),
            },
            Shape::IntOrString => Value::from(parts.second_number() as i32),
            Shape::Time | Shape::MicroTime => instant(shape, body, &parts)?,
            Shape::RawExtension | Shape::Json | Shape::FieldsV1 => {
                match parts.first.and_then(Payload::bytes) {
                    None | Some([]) => Value::Null,
                    Some(raw) if raw.starts_with(MAGIC) => self.embedded(raw)?,
                    Some(raw) => serde_json::from_slice(raw).map_err(ProtobufError::Embedded)?,
                }
            }
            Shape::Strings => self.repeated(&Shape::String, body, 1, name)?,
            _ => self.schema_or(shape, body, &parts, name)?,
        })
    }

    fn embedded(self, raw: &[u8]) -> Result<Value, ProtobufError> {
        // An envelope within an envelope would start counting anew: one level is all upstream writes.
        if self.depth > DEEPEST / 2 {
            return Err(ProtobufError::TooDeep);
        }
        decode_envelope(raw, None)
    }

    fn repeated(self, shape: &Shape, body: &[u8], wanted: u32, name: &str) -> Result<Value, ProtobufError> {
        let mut list = Vec::new();
        let mut reader = Reader::new(body);
        while let Some((number, payload)) = reader.next_field()? {
            if number == wanted {
                list.push(self.value(shape, payload, name)?);
            }
        }
        Ok(Value::Array(list))
    }

    fn schema_or(
        self,
        shape: &Shape,
        body: &[u8],
        parts: &Parts<'_>,
        name: &str,
    ) -> Result<Value, ProtobufError> {
        let schema = json_schema();
        match (shape, parts.first, parts.second) {
            (Shape::SchemaOrBool, _, Some(payload)) => self.value(schema, payload, name),
            (Shape::SchemaOrBool, _, None) => Ok(Value::Bool(parts.first_number() != 0)),
            (_, Some(payload), _) => self.value(schema, payload, name),
            (Shape::SchemaOrArray, None, _) => self.repeated(schema, body, 2, name),
            _ => self.repeated(&Shape::String, body, 2, name),
        }
    }
}

/// The first three fields of a small message.
#[derive(Default)]
struct Parts<'b> {
    first: Option<Payload<'b>>,
    second: Option<Payload<'b>>,
    third: Option<Payload<'b>>,
}

impl<'b> Parts<'b> {
    fn read(body: &'b [u8]) -> Result<Parts<'b>, ProtobufError> {
        let mut parts = Parts::default();
        let mut reader = Reader::new(body);
        while let Some((number, payload)) = reader.next_field()? {
            match number {
                1 => parts.first = Some(payload),
                2 => parts.second = Some(payload),
                3 => parts.third = Some(payload),
                _ => {}
            }
        }
        Ok(parts)
    }

    fn first_number(&self) -> u64 {
        number(self.first)
    }

    fn second_number(&self) -> u64 {
        number(self.second)
    }
}

fn number(payload: Option<Payload<'_>>) -> u64 {
    match payload {
        Some(Payload::Varint(number)) => number,
        _ => 0,
    }
}

fn text(payload: Payload<'_>, name: &str) -> Result<String, ProtobufError> {
    let bytes = payload.bytes().ok_or_else(|| wrong_type(name, payload))?;
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

fn instant(shape: &Shape, body: &[u8], parts: &Parts<'_>) -> Result<Value, ProtobufError> {
    let (seconds, nanos) = (parts.first_number() as i64, parts.second_number() as i32);
    if body.is_empty() || seconds == GO_ZERO {
        return Ok(Value::Null);
    }
    let instant =
        Timestamp::new(seconds, nanos).map_err(|error| ProtobufError::Unreadable(error.to_string()))?;
    let format = if *shape == Shape::Time {
        "%Y-%m-%dT%H:%M:%SZ"
    } else {
        "%Y-%m-%dT%H:%M:%S.%6fZ"
    };
    Ok(Value::String(instant.strftime(format).to_string()))
}

#[cold]
fn wrong_type(field: &str, payload: Payload<'_>) -> ProtobufError {
    ProtobufError::WireType {
        field: field.to_owned(),
        wire: payload.wire(),
    }
}
