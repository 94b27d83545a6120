//! Bytes of a request to an object: JSON, YAML or protobuf, checked and normalised in one pass.
//!
//! The walk over the text is driven by the schema: it builds the object while it finds unknown and
//! duplicate fields and values of the wrong type. What upstream's Go structs cannot hold is not kept
//! (unknown fields, nulls, zero values of fields without presence), and values are brought to the form
//! upstream would store (times in UTC, quantities canonical, numbers for quantities as text).
//!
//! Upstream's texts are kept: they are what `kubectl` shows and what people search for.

mod any;
mod complete;
mod leaf;
mod path;
mod walk;

use serde::de::DeserializeSeed;
use serde_json::Value;

use crate::kinds::Kind;
use crate::schema::{TypeId, Types};

use any::Any;
pub use complete::{apply_defaults, complete};
pub(crate) use leaf::text as normal_text;
use path::{Findings, Path};
use walk::Root;

/// What to do about unknown and duplicate fields (`fieldValidation` in the query).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Refuse the object.
    Strict,
    /// Drop the fields and warn.
    #[default]
    Warn,
    /// Drop the fields silently.
    Ignore,
}

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentType {
    /// `application/json`
    Json,
    /// `application/yaml`
    Yaml,
    /// `application/vnd.kubernetes.protobuf`
    Protobuf,
}

impl ContentType {
    /// Reads a media type; parameters (`; charset=utf-8`) are ignored. `None` for what the API does not read.
    pub fn from_media_type(text: &str) -> Option<ContentType> {
        match text.split(';').next().unwrap_or_default().trim() {
            "application/json" => Some(ContentType::Json),
            "application/yaml" => Some(ContentType::Yaml),
            "application/vnd.kubernetes.protobuf" => Some(ContentType::Protobuf),
            _ => None,
        }
    }
}

/// A decoded object.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The object, pruned and normalised.
    pub value: Value,
    /// Texts for `Warning` headers, in the order the fields were met; at most 100.
    pub warnings: Vec<String>,
}

/// Why a body is not an object of the expected kind. The text is the message of upstream's BadRequest.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The body is not even an object with a kind.
    #[error("the object provided is unrecognized (must be of type {expected}): {detail} ({summary})")]
    Unrecognized {
        /// Kind the resource holds.
        expected: String,
        /// What went wrong.
        detail: String,
        /// Start of the body.
        summary: String,
    },
    /// The body names a kind but cannot be read as the expected one.
    #[error("{kind} in version \"{version}\" cannot be handled as a {expected}: {detail}")]
    CannotHandle {
        /// Kind in the body.
        kind: String,
        /// Version in the body, without the group.
        version: String,
        /// Kind the resource holds.
        expected: String,
        /// What went wrong.
        detail: String,
    },
    /// The body has another `apiVersion` than the URL.
    #[error("the API version in the data ({data}) does not match the expected API version ({expected})")]
    Version {
        /// `apiVersion` in the body.
        data: String,
        /// `apiVersion` in the URL.
        expected: String,
    },
    /// An object without a known kind (the result of a patch, a custom resource) cannot be read.
    #[error("{0}")]
    Invalid(String),
    /// Unknown or duplicate fields under [`FieldValidation::Strict`] in an object without a known kind.
    #[error("{}", strict_text(.0))]
    Strict(Vec<String>),
}

fn strict_text(findings: &[String]) -> String {
    format!("strict decoding error: {}", findings.join(", "))
}

/// Reads an object.
///
/// `kind` is the resource of the URL: a missing `kind` or `apiVersion` is filled in from it, another one is
/// an error. `root` is the type to read (the kind's own, or a subresource's body); without one only
/// duplicates are looked for and nothing is pruned.
pub fn decode(
    kind: Option<&Kind>,
    root: Option<TypeId>,
    content: ContentType,
    body: &[u8],
    mode: FieldValidation,
) -> Result<Decoded, DecodeError> {
    let mut findings = Findings::new(mode != FieldValidation::Ignore);
    let read = match content {
        ContentType::Json => json(root, body, &mut findings),
        ContentType::Yaml => yaml(root, body, &mut findings),
        ContentType::Protobuf => {
            crate::protobuf::decode_envelope(body, root).map_err(|error| error.to_string())
        }
    };
    let expected = || kind.map_or_else(|| "object".to_owned(), |kind| kind.kind.to_string());
    let mut value = match read {
        Ok(value @ Value::Object(_)) => value,
        Ok(_) => {
            return Err(unrecognized(
                expected(),
                "json: cannot unmarshal into an object",
                body,
            ));
        }
        Err(detail) => return Err(unrecognized(expected(), &detail, body)),
    };
    if let Some(kind) = kind {
        fill_kind(kind, &mut value, &findings)?;
    }
    let warnings = findings
        .judge(mode)
        .map_err(|detail| in_context(kind, &value, detail))?;
    Ok(Decoded { value, warnings })
}

fn json(root: Option<TypeId>, body: &[u8], findings: &mut Findings) -> Result<Value, String> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = walk(root, &mut reader, findings).map_err(json_error)?;
    reader.end().map_err(json_error)?;
    Ok(value)
}

fn json_error(error: impl std::fmt::Display) -> String {
    format!("couldn't get version/kind; json parse error: {error}")
}

fn yaml(root: Option<TypeId>, body: &[u8], findings: &mut Findings) -> Result<Value, String> {
    let reader = serde_yaml_ng::Deserializer::from_slice(body);
    walk(root, reader, findings).map_err(|error| format!("error converting YAML to JSON: yaml: {error}"))
}

fn walk<'de, D>(root: Option<TypeId>, reader: D, findings: &mut Findings) -> Result<Value, D::Error>
where
    D: serde::Deserializer<'de>,
{
    match root {
        Some(root) => Root {
            root,
            types: &Types::of(root),
            findings,
        }
        .deserialize(reader),
        None => Any {
            findings: Some(findings),
            at: &Path::ROOT,
        }
        .deserialize(reader),
    }
}

fn unrecognized(expected: String, detail: &str, body: &[u8]) -> DecodeError {
    DecodeError::Unrecognized {
        expected,
        detail: detail.to_owned(),
        summary: summary(body),
    }
}

/// The first 30 bytes of a body, readable when it looks like JSON.
fn summary(body: &[u8]) -> String {
    const LIMIT: usize = 30;
    let start = &body[..body.len().min(LIMIT)];
    let text = match body.first() {
        None => return "<empty>".to_owned(),
        Some(b'{') => String::from_utf8_lossy(start).into_owned(),
        Some(_) => start.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    if body.len() > LIMIT { text + " ..." } else { text }
}

fn fill_kind(kind: &Kind, value: &mut Value, findings: &Findings) -> Result<(), DecodeError> {
    let Value::Object(map) = value else { return Ok(()) };
    let text = |name: &str| map.get(name).and_then(Value::as_str).unwrap_or_default();
    let (given, version) = (text("kind").to_owned(), text("apiVersion").to_owned());
    let expected = kind.api_version();
    if given.is_empty() || version.is_empty() {
        let entry = map.entry("kind").or_insert(Value::Null);
        if given.is_empty() {
            *entry = Value::from(&*kind.kind);
        }
        if version.is_empty() {
            map.insert("apiVersion".to_owned(), expected.into());
        }
        return Ok(());
    }
    if findings.failed() {
        return Ok(());
    }
    if version != expected {
        return Err(DecodeError::Version {
            data: version,
            expected,
        });
    }
    if given != *kind.kind {
        let detail = format!("no kind \"{given}\" is registered for version \"{version}\" in this resource");
        return Err(DecodeError::CannotHandle {
            kind: given,
            version: kind.version.to_string(),
            expected: kind.kind.to_string(),
            detail,
        });
    }
    Ok(())
}

fn in_context(kind: Option<&Kind>, value: &Value, detail: path::Verdict) -> DecodeError {
    let Some(expected) = kind else {
        return match detail {
            path::Verdict::Failure(text) => DecodeError::Invalid(text),
            path::Verdict::Strict(list) => DecodeError::Strict(list),
        };
    };
    let api_version = value["apiVersion"].as_str().unwrap_or_default();
    DecodeError::CannotHandle {
        kind: value["kind"].as_str().unwrap_or_default().to_owned(),
        version: api_version.rsplit('/').next().unwrap_or_default().to_owned(),
        expected: expected.kind.to_string(),
        detail: detail.to_string(),
    }
}

/// Brings an object that was made in memory (the result of a patch) to the same form as a decoded one.
/// Returns warnings for what was dropped.
pub fn prune_and_check(
    root: TypeId,
    value: &mut Value,
    mode: FieldValidation,
) -> Result<Vec<String>, DecodeError> {
    let mut findings = Findings::new(mode != FieldValidation::Ignore);
    let read = walk(Some(root), value.take(), &mut findings);
    *value = read.map_err(|error: serde_json::Error| DecodeError::Invalid(error.to_string()))?;
    findings
        .judge(mode)
        .map_err(|verdict| in_context(None, value, verdict))
}

#[cfg(test)]
mod tests;
