//! `application/vnd.kubernetes.protobuf`: what client-go speaks by default.
//!
//! An object travels as the four bytes `k8s\0` and a `runtime.Unknown` message that names its kind and holds
//! its own message. Field numbers are the schema's places; the JSON forms of times, quantities and the like
//! have messages of their own. A watch is a stream of `meta.v1.WatchEvent` messages, each after its length
//! in four bytes, big endian; the object in them is in its envelope.

mod decode;
mod encode;
pub(crate) mod wire;

use serde_json::Value;

use crate::schema::{TypeId, find_kind};

pub use decode::decode_protobuf;
pub use encode::encode_protobuf;

/// Media type of one object.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
/// Media type of a watch.
pub const WATCH_MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf;stream=watch";

const MAGIC: &[u8] = b"k8s\0";

/// Why bytes are not an object.
#[derive(Debug, thiserror::Error)]
pub enum ProtobufError {
    /// The envelope's first bytes are missing.
    #[error("provided data does not appear to be a protobuf message, expected prefix {MAGIC:?}")]
    Prefix,
    /// The envelope names a kind nobody knows.
    #[error("no kind {kind:?} is registered for version {api_version:?}")]
    UnknownKind {
        /// `apiVersion` in the envelope.
        api_version: String,
        /// `kind` in the envelope.
        kind: String,
    },
    /// The bytes end within a field.
    #[error("unexpected EOF")]
    Truncated,
    /// A field is not written the way its type is.
    #[error("proto: wrong wireType = {wire} for field {field}")]
    WireType {
        /// Name of the field.
        field: String,
        /// Wire type found.
        wire: u8,
    },
    /// The bytes are no protobuf.
    #[error("proto: illegal tag or varint")]
    Malformed,
    /// Messages are nested deeper than any object is.
    #[error("proto: messages nested too deeply")]
    TooDeep,
    /// A text that must have a form has another one.
    #[error("{0}")]
    Unreadable(String),
    /// An embedded object is no JSON.
    #[error("reading an embedded object")]
    Embedded(#[source] serde_json::Error),
}

/// An object in its envelope. Its kind is taken from its own `apiVersion` and `kind`.
pub fn encode_envelope(value: &Value, root: TypeId) -> Vec<u8> {
    let mut writer = wire::Writer::new(MAGIC);
    writer.message(1, |meta| {
        meta.text(1, value["apiVersion"].as_str().unwrap_or_default());
        meta.text(2, value["kind"].as_str().unwrap_or_default());
    });
    writer.message(2, |raw| encode::object(raw, value, root));
    writer.text(3, "");
    writer.text(4, "");
    writer.into_bytes()
}

/// Reads an object in its envelope, as the given type or else as the built-in type it names.
pub fn decode_envelope(body: &[u8], root: Option<TypeId>) -> Result<Value, ProtobufError> {
    let unknown = Unknown::read(body.strip_prefix(MAGIC).ok_or(ProtobufError::Prefix)?)?;
    let mut value = if unknown.content_type.ends_with("json") {
        serde_json::from_slice(unknown.raw).map_err(ProtobufError::Embedded)?
    } else {
        let root = root.or_else(|| unknown.root());
        let root = root.ok_or_else(|| ProtobufError::UnknownKind {
            api_version: unknown.api_version.to_owned(),
            kind: unknown.kind.to_owned(),
        })?;
        decode_protobuf(unknown.raw, root)?
    };
    if let Value::Object(map) = &mut value {
        for (name, text) in [("apiVersion", unknown.api_version), ("kind", unknown.kind)] {
            if !text.is_empty() {
                map.insert(name.to_owned(), text.into());
            }
        }
    }
    Ok(value)
}

/// `runtime.Unknown`.
#[derive(Default)]
struct Unknown<'b> {
    api_version: &'b str,
    kind: &'b str,
    raw: &'b [u8],
    content_type: &'b str,
}

impl<'b> Unknown<'b> {
    fn read(body: &'b [u8]) -> Result<Unknown<'b>, ProtobufError> {
        let mut unknown = Unknown::default();
        let mut reader = wire::Reader::new(body);
        while let Some((number, payload)) = reader.next_field()? {
            match (number, payload.bytes()) {
                (1, Some(meta)) => unknown.type_meta(meta)?,
                (2, Some(raw)) => unknown.raw = raw,
                (4, Some(content_type)) => unknown.content_type = text(content_type)?,
                _ => {}
            }
        }
        Ok(unknown)
    }

    fn type_meta(&mut self, meta: &'b [u8]) -> Result<(), ProtobufError> {
        let mut reader = wire::Reader::new(meta);
        while let Some((number, payload)) = reader.next_field()? {
            match (number, payload.bytes()) {
                (1, Some(api_version)) => self.api_version = text(api_version)?,
                (2, Some(kind)) => self.kind = text(kind)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn root(&self) -> Option<TypeId> {
        let (group, version) = self
            .api_version
            .rsplit_once('/')
            .unwrap_or(("", self.api_version));
        find_kind(group, version, self.kind)
    }
}

fn text(bytes: &[u8]) -> Result<&str, ProtobufError> {
    std::str::from_utf8(bytes).map_err(|_| ProtobufError::Malformed)
}

/// One event of a watch, framed. `object` is the object in its envelope.
pub fn watch_frame(event: &str, object: &[u8]) -> Vec<u8> {
    let mut writer = wire::Writer::new(&[0; 4]);
    writer.text(1, event);
    writer.message(2, |extension| extension.bytes(1, object));
    let mut frame = writer.into_bytes();
    let length = (frame.len() - 4) as u32;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

#[cfg(test)]
mod tests;
