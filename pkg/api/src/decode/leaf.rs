//! Values without parts: numbers, texts, times, quantities.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Number, Value};

use crate::quantity::{Quantity, QuantityError};
use crate::schema::{Shape, Types};

/// Layout of times in Go's error texts.
const GO_TIME: &str = "2006-01-02T15:04:05Z07:00";
const GO_MICRO_TIME: &str = "2006-01-02T15:04:05.000000Z07:00";

/// A number as a value of this shape; `None` when it is not one.
pub(super) fn number(shape: &Shape, number: &Number) -> Option<Value> {
    match shape {
        Shape::Int32 | Shape::IntOrString => i32::try_from(number.as_i64()?).ok().map(Value::from),
        Shape::Int64 => number.as_i64().map(Value::from),
        Shape::Double => Some(Value::Number(number.clone())),
        Shape::Quantity => quantity(number.to_string()).ok().map(Value::String),
        _ => None,
    }
}

/// Whether numbers that do not fit are named in the error.
pub(super) fn whole(shape: &Shape) -> bool {
    matches!(shape, Shape::Int32 | Shape::Int64 | Shape::IntOrString)
}

/// Text of a shape with rules of its own, in the form upstream stores.
pub(crate) fn text(shape: &Shape, text: String) -> Result<String, String> {
    match shape {
        Shape::Bytes => bytes(text),
        Shape::Quantity => quantity(text),
        Shape::Time => time(text, "%Y-%m-%dT%H:%M:%SZ", GO_TIME),
        Shape::MicroTime => time(text, "%Y-%m-%dT%H:%M:%S.%6fZ", GO_MICRO_TIME),
        _ => Ok(text),
    }
}

fn bytes(text: String) -> Result<String, String> {
    // As Go's decoder, which skips line ends.
    let text = if text.contains(['\r', '\n']) {
        text.replace(['\r', '\n'], "")
    } else {
        text
    };
    match STANDARD.decode(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(format!(
            "illegal base64 data at input byte {}",
            base64_offset(&error, &text)
        )),
    }
}

fn base64_offset(error: &base64::DecodeError, text: &str) -> usize {
    match error {
        base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => *at,
        base64::DecodeError::InvalidLength(_) | base64::DecodeError::InvalidPadding => text.len(),
    }
}

fn time(text: String, format: &str, layout: &str) -> Result<String, String> {
    match text.parse::<Timestamp>() {
        Ok(_) if layout == GO_TIME && is_whole_utc(&text) => Ok(text),
        Ok(instant) => {
            let canonical = instant.strftime(format).to_string();
            Ok(if canonical == text { text } else { canonical })
        }
        Err(_) => Err(format!(
            "parsing time {text:?} as {layout:?}: cannot parse {text:?} as \"2006\""
        )),
    }
}

/// Whether a valid time is `2026-11-21T10:00:15Z` to the letter, as nearly all are.
fn is_whole_utc(text: &str) -> bool {
    matches!(text.as_bytes(), [date @ .., b'Z'] if date.len() == 19 && date[4] == b'-' && date[10] == b'T' && date[13] == b':')
}

fn quantity(text: String) -> Result<String, String> {
    let canonical = Quantity::parse(text.trim())
        .map_err(|error: QuantityError| error.to_string())?
        .to_string();
    Ok(if canonical == text { text } else { canonical })
}

/// Name of Go's type, as its errors give it.
pub(super) fn go_type<'t>(shape: &Shape, types: &'t Types) -> Cow<'t, str> {
    let name = match shape {
        Shape::Bool => "bool",
        Shape::Int32 | Shape::IntOrString => "int32",
        Shape::Int64 => "int64",
        Shape::Double => "float64",
        Shape::String | Shape::Time | Shape::MicroTime | Shape::Quantity => "string",
        Shape::Bytes => "[]uint8",
        Shape::Strings => "v1.ExtraValue",
        Shape::SchemaOrArray => "v1.JSONSchemaPropsOrArray",
        Shape::SchemaOrBool => "v1.JSONSchemaPropsOrBool",
        Shape::SchemaOrStrings => "v1.JSONSchemaPropsOrStringArray",
        Shape::RawExtension | Shape::Json | Shape::FieldsV1 => "interface {}",
        Shape::Object(id) => return Cow::Borrowed(types.get(*id).go_type()),
        Shape::List(element) => return format!("[]{}", go_type(element, types)).into(),
        Shape::Map(value) => return format!("map[string]{}", go_type(value, types)).into(),
    };
    Cow::Borrowed(name)
}
