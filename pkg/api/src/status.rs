//! What the API answers when it does not answer with an object: `v1.Status`, with upstream's codes,
//! reasons and message forms.

mod failures;

use crate::kinds::Kind;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::fmt::{self, Display};

/// A resource named in a message: `pods`, `deployments.apps`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupResource<'a> {
    /// The API group; empty for the core group.
    pub group: &'a str,
    /// The plural resource name.
    pub resource: &'a str,
}

/// A kind named in a message: `Pod`, `Deployment.apps`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupKind<'a> {
    /// The API group; empty for the core group.
    pub group: &'a str,
    /// The kind.
    pub kind: &'a str,
}

impl<'a> From<(&'a str, &'a str)> for GroupResource<'a> {
    /// From (group, plural).
    fn from((group, resource): (&'a str, &'a str)) -> Self {
        GroupResource { group, resource }
    }
}

impl<'a> From<(&'a str, &'a str)> for GroupKind<'a> {
    /// From (group, kind).
    fn from((group, kind): (&'a str, &'a str)) -> Self {
        GroupKind { group, kind }
    }
}

impl<'a> From<&'a Kind> for GroupResource<'a> {
    fn from(kind: &'a Kind) -> Self {
        GroupResource {
            group: &kind.group,
            resource: &kind.plural,
        }
    }
}

impl<'a> From<&'a Kind> for GroupKind<'a> {
    fn from(kind: &'a Kind) -> Self {
        GroupKind {
            group: &kind.group,
            kind: &kind.kind,
        }
    }
}

impl Display for GroupResource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_qualified(f, self.resource, self.group)
    }
}

impl Display for GroupKind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_qualified(f, self.kind, self.group)
    }
}

fn write_qualified(f: &mut fmt::Formatter<'_>, name: &str, group: &str) -> fmt::Result {
    f.write_str(name)?;
    if group.is_empty() {
        Ok(())
    } else {
        write!(f, ".{group}")
    }
}

/// The machine-readable reason of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // The names are the documentation: they are upstream's, word for word.
pub enum Reason {
    Unknown,
    Unauthorized,
    Forbidden,
    NotFound,
    AlreadyExists,
    Conflict,
    Gone,
    Invalid,
    ServerTimeout,
    StoreReadError,
    Timeout,
    TooManyRequests,
    BadRequest,
    MethodNotAllowed,
    NotAcceptable,
    RequestEntityTooLarge,
    UnsupportedMediaType,
    InternalError,
    Expired,
    ServiceUnavailable,
}

impl Reason {
    /// The word in the JSON; empty for `Unknown`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::Unknown => "",
            Reason::Unauthorized => "Unauthorized",
            Reason::Forbidden => "Forbidden",
            Reason::NotFound => "NotFound",
            Reason::AlreadyExists => "AlreadyExists",
            Reason::Conflict => "Conflict",
            Reason::Gone => "Gone",
            Reason::Invalid => "Invalid",
            Reason::ServerTimeout => "ServerTimeout",
            Reason::StoreReadError => "StorageReadError",
            Reason::Timeout => "Timeout",
            Reason::TooManyRequests => "TooManyRequests",
            Reason::BadRequest => "BadRequest",
            Reason::MethodNotAllowed => "MethodNotAllowed",
            Reason::NotAcceptable => "NotAcceptable",
            Reason::RequestEntityTooLarge => "RequestEntityTooLarge",
            Reason::UnsupportedMediaType => "UnsupportedMediaType",
            Reason::InternalError => "InternalError",
            Reason::Expired => "Expired",
            Reason::ServiceUnavailable => "ServiceUnavailable",
        }
    }
}

/// One cause of a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// `FieldValueRequired`, `FieldManagerConflict`, `ResourceVersionTooLarge`, ...
    pub reason: String,
    /// For people.
    pub message: String,
    /// The field's path, if it is about a field.
    pub field: String,
}

/// What a failure is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// The object's name, or the operation's for a server timeout.
    pub name: String,
    /// The API group.
    pub group: String,
    /// The resource's plural, or the kind for `Invalid` (as upstream has it).
    pub kind: String,
    /// The object's uid.
    pub uid: String,
    /// The single causes.
    pub causes: Vec<Cause>,
    /// When to try again; 0 says nothing.
    pub retry_after_seconds: u32,
}

/// A failed request's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The HTTP code.
    pub code: u16,
    /// For programs.
    pub reason: Reason,
    /// For people.
    pub message: String,
    /// What it is about.
    pub details: Option<Box<Details>>,
}

impl Status {
    /// A failure with no details.
    pub fn new(code: u16, reason: Reason, message: impl Into<String>) -> Self {
        Status {
            code,
            reason,
            message: message.into(),
            details: None,
        }
    }

    fn about(mut self, group: &str, kind: &str, name: &str) -> Self {
        self.details = Some(Box::new(Details {
            group: group.to_owned(),
            kind: kind.to_owned(),
            name: name.to_owned(),
            ..Details::default()
        }));
        self
    }

    /// The same failure, asking the client to try again after `seconds`.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.details.get_or_insert_default().retry_after_seconds = seconds;
        self
    }

    /// The same failure with one more cause.
    #[must_use]
    pub fn with_cause(mut self, reason: &str, message: impl Into<String>, field: &str) -> Self {
        self.details.get_or_insert_default().causes.push(Cause {
            reason: reason.to_owned(),
            message: message.into(),
            field: field.to_owned(),
        });
        self
    }

    /// The `v1.Status` object.
    pub fn to_json(&self) -> Value {
        let mut object = head("Failure");
        let mut put = |key: &str, value: Value| drop(object.insert(key.to_owned(), value));
        if !self.message.is_empty() {
            put("message", json!(self.message));
        }
        if self.reason != Reason::Unknown {
            put("reason", json!(self.reason.as_str()));
        }
        if let Some(details) = &self.details {
            put("details", details.to_json());
        }
        put("code", json!(self.code));
        Value::Object(object)
    }

    /// The `v1.Status` object, encoded.
    pub fn to_bytes(&self) -> Bytes {
        Bytes::from(self.to_json().to_string())
    }
}

impl Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

impl Details {
    /// The object in `status.details`; what is empty is left out.
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        for (key, text) in [
            ("name", &self.name),
            ("group", &self.group),
            ("kind", &self.kind),
            ("uid", &self.uid),
        ] {
            put_text(&mut object, key, text);
        }
        if !self.causes.is_empty() {
            object.insert(
                "causes".to_owned(),
                self.causes.iter().map(Cause::to_json).collect(),
            );
        }
        if self.retry_after_seconds > 0 {
            object.insert("retryAfterSeconds".to_owned(), json!(self.retry_after_seconds));
        }
        Value::Object(object)
    }
}

impl Cause {
    fn to_json(&self) -> Value {
        let mut object = Map::new();
        for (key, text) in [
            ("reason", &self.reason),
            ("message", &self.message),
            ("field", &self.field),
        ] {
            put_text(&mut object, key, text);
        }
        Value::Object(object)
    }
}

fn put_text(object: &mut Map<String, Value>, key: &str, text: &str) {
    if !text.is_empty() {
        object.insert(key.to_owned(), json!(text));
    }
}

fn head(status: &str) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("kind".to_owned(), json!("Status"));
    object.insert("apiVersion".to_owned(), json!("v1"));
    object.insert("metadata".to_owned(), json!({}));
    object.insert("status".to_owned(), json!(status));
    object
}

/// The `Success` answer of a delete (and of bindings: `code` 201), with details where there are any.
pub fn success(code: Option<u16>, details: Option<&Details>) -> Value {
    let mut object = head("Success");
    if let Some(details) = details {
        object.insert("details".to_owned(), details.to_json());
    }
    if let Some(code) = code {
        object.insert("code".to_owned(), json!(code));
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests;
