//! The walk: a serde visitor that follows the schema and builds the object.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::any::{Any, Key};
use super::leaf;
use super::path::{Findings, Path};
use crate::schema::{Shape, Type, TypeId, Types, json_schema};

/// Reads a whole object.
pub(super) struct Root<'w> {
    pub(super) root: TypeId,
    pub(super) types: &'w Types,
    pub(super) findings: &'w mut Findings,
}

impl<'de> DeserializeSeed<'de> for Root<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        let shape = Shape::Object(self.root);
        Walk {
            shape: &shape,
            types: self.types,
            findings: self.findings,
            at: &Path::ROOT,
        }
        .deserialize(reader)
    }
}

/// Reads one value of a known shape.
struct Walk<'w> {
    shape: &'w Shape,
    types: &'w Types,
    findings: &'w mut Findings,
    at: &'w Path<'w>,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        match self.shape {
            // What an embedded object holds is its own business.
            Shape::RawExtension | Shape::Json | Shape::FieldsV1 => Any {
                findings: None,
                at: self.at,
            }
            .deserialize(reader),
            _ => reader.deserialize_any(self),
        }
    }
}

impl Walk<'_> {
    fn wrong_type<E>(self, found: &str) -> Result<Value, E> {
        let wanted = leaf::go_type(self.shape, self.types);
        self.findings.wrong_type(self.at, found, &wanted);
        Ok(Value::Null)
    }

    fn number<E>(self, number: Number) -> Result<Value, E> {
        match leaf::number(self.shape, &number) {
            Some(value) => Ok(value),
            None if leaf::whole(self.shape) => self.wrong_type(&format!("number {number}")),
            None => self.wrong_type("number"),
        }
    }

    fn text<E>(self, text: String) -> Result<Value, E> {
        match self.shape {
            Shape::String | Shape::IntOrString => Ok(Value::String(text)),
            Shape::Bytes | Shape::Quantity | Shape::Time | Shape::MicroTime => leaf::text(self.shape, text)
                .map_or_else(
                    |problem| {
                        self.findings.unreadable(problem);
                        Ok(Value::Null)
                    },
                    |text| Ok(Value::String(text)),
                ),
            _ => self.wrong_type("string"),
        }
    }

    fn object<'de, A: MapAccess<'de>>(self, id: TypeId, mut map: A) -> Result<Value, A::Error> {
        let ty = self.types.get(id);
        let mut object = Map::new();
        let mut seen = Seen::default();
        while let Some(key) = map.next_key_seed(FieldKey {
            ty,
            findings: self.findings,
            at: self.at,
        })? {
            let Some(index) = key else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let field = &ty.fields[index];
            if !seen.first(index) {
                self.findings.duplicate(self.at, &field.name);
                object.remove(&*field.name);
            }
            let at = self.at.field(ty.go_name(), &field.name);
            let value = map.next_value_seed(Walk {
                shape: &field.shape,
                types: self.types,
                findings: self.findings,
                at: &at,
            })?;
            if !field.omits(&value) {
                object.insert((*field.name).to_owned(), value);
            }
        }
        Ok(Value::Object(object))
    }

    fn map<'de, A: MapAccess<'de>>(self, shape: &Shape, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = map.next_key_seed(Key)? {
            let at = self.at.key(&key);
            let mut value = map.next_value_seed(Walk {
                shape,
                types: self.types,
                findings: self.findings,
                at: &at,
            })?;
            if value.is_null() {
                value = shape.zero();
            }
            if object.contains_key(&key) {
                self.findings.duplicate(self.at, &key);
            }
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }

    fn list<'de, A: SeqAccess<'de>>(self, shape: &Shape, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::with_capacity(seq.size_hint().unwrap_or(0).min(1024));
        loop {
            let at = self.at.index(list.len());
            let walk = Walk {
                shape,
                types: self.types,
                findings: self.findings,
                at: &at,
            };
            match seq.next_element_seed(walk)? {
                None => return Ok(Value::Array(list)),
                Some(Value::Null) => list.push(shape.zero()),
                Some(value) => list.push(value),
            }
        }
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, on: bool) -> Result<Value, E> {
        match self.shape {
            Shape::Bool | Shape::SchemaOrBool => Ok(Value::Bool(on)),
            Shape::Quantity => self.text(on.to_string()),
            _ => self.wrong_type("bool"),
        }
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        self.number(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        self.number(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        match Number::from_f64(number) {
            Some(number) => self.number(number),
            None => self.wrong_type("number"),
        }
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        self.text(text.to_owned())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        self.text(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Value, A::Error> {
        match self.shape {
            Shape::List(element) => {
                let element = &**element;
                self.list(element, seq)
            }
            Shape::Strings | Shape::SchemaOrStrings => self.list(&Shape::String, seq),
            Shape::SchemaOrArray => self.list(json_schema(), seq),
            _ => {
                IgnoredAny.visit_seq(seq)?;
                self.wrong_type("array")
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
        match self.shape {
            Shape::Object(id) => self.object(*id, map),
            Shape::Map(value) => {
                let value = &**value;
                self.map(value, map)
            }
            Shape::SchemaOrArray | Shape::SchemaOrBool | Shape::SchemaOrStrings => match json_schema() {
                Shape::Object(id) => self.object(*id, map),
                _ => Any {
                    findings: None,
                    at: self.at,
                }
                .visit_map(map),
            },
            _ => {
                IgnoredAny.visit_map(map)?;
                self.wrong_type("object")
            }
        }
    }
}

/// Which fields of an object were met.
#[derive(Default)]
struct Seen {
    low: u128,
    high: Vec<usize>,
}

impl Seen {
    fn first(&mut self, index: usize) -> bool {
        if index < 128 {
            let bit = 1 << index;
            let first = self.low & bit == 0;
            self.low |= bit;
            return first;
        }
        let first = !self.high.contains(&index);
        if first {
            self.high.push(index);
        }
        first
    }
}

/// Reads a key as the place of a field, without a copy of the text.
struct FieldKey<'w> {
    ty: &'w Type,
    findings: &'w mut Findings,
    at: &'w Path<'w>,
}

impl<'de> DeserializeSeed<'de> for FieldKey<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Option<usize>, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for FieldKey<'_> {
    type Value = Option<usize>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a field name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Option<usize>, E> {
        let index = self.ty.position(name);
        if index.is_none() {
            self.findings.unknown(self.at, name);
        }
        Ok(index)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Option<usize>, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Option<usize>, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Option<usize>, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_bool<E: Error>(self, on: bool) -> Result<Option<usize>, E> {
        self.visit_str(if on { "true" } else { "false" })
    }
}
