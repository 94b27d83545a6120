//! What the API answers when it does not answer with an object: `v1.Status`, with upstream's codes,
//! reasons and message forms.

use crate::fields::{self, FieldError};
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

    /// 404 for an object: `pods "x" not found`.
    pub fn not_found<'a>(resource: impl Into<GroupResource<'a>>, name: &str) -> Self {
        let r = resource.into();
        Self::new(
            404,
            Reason::NotFound,
            format!("{r} {} not found", fields::quote(name)),
        )
        .about(r.group, r.resource, name)
    }

    /// 404 for a path or resource that the server does not serve.
    pub fn no_such_resource() -> Self {
        let mut status = Self::new(
            404,
            Reason::NotFound,
            "the server could not find the requested resource",
        );
        status.details = Some(Box::default());
        status
    }

    /// 409: `deployments.apps "x" already exists`.
    pub fn already_exists<'a>(resource: impl Into<GroupResource<'a>>, name: &str) -> Self {
        let r = resource.into();
        Self::new(
            409,
            Reason::AlreadyExists,
            format!("{r} {} already exists", fields::quote(name)),
        )
        .about(r.group, r.resource, name)
    }

    /// 409: no unused name was found for a `generateName`.
    pub fn generate_name_conflict<'a>(resource: impl Into<GroupResource<'a>>, name: &str) -> Self {
        let r = resource.into();
        let message = format!(
            "{r} {} already exists, the server was not able to generate a unique name for the object",
            fields::quote(name)
        );
        Self::new(409, Reason::AlreadyExists, message)
            .about(r.group, r.resource, name)
            .retry_after(1)
    }

    /// 409: `Operation cannot be fulfilled on pods "x": why`.
    pub fn conflict<'a>(resource: impl Into<GroupResource<'a>>, name: &str, why: impl Display) -> Self {
        let r = resource.into();
        let message = format!(
            "Operation cannot be fulfilled on {r} {}: {why}",
            fields::quote(name)
        );
        Self::new(409, Reason::Conflict, message).about(r.group, r.resource, name)
    }

    /// 409: the resourceVersion that came with the update is not the current one.
    pub fn modified<'a>(resource: impl Into<GroupResource<'a>>, name: &str) -> Self {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, why)
    }

    /// 409: the uid asked for is not the object's (delete and update preconditions).
    pub fn uid_mismatch<'a>(
        resource: impl Into<GroupResource<'a>>,
        name: &str,
        asked: &str,
        has: &str,
    ) -> Self {
        let why = format!("Precondition failed: UID in precondition: {asked}, UID in object meta: {has}");
        Self::conflict(resource, name, why)
    }

    /// 409: the resourceVersion asked for is not the object's (delete preconditions).
    pub fn version_mismatch<'a>(
        resource: impl Into<GroupResource<'a>>,
        name: &str,
        asked: &str,
        has: &str,
    ) -> Self {
        let why = format!(
            "Precondition failed: ResourceVersion in precondition: {asked}, ResourceVersion in object meta: {has}"
        );
        Self::conflict(resource, name, why)
    }

    /// 409 of server-side apply. `conflicts` are (message, field) of each field another manager owns;
    /// `message` is the whole text.
    pub fn apply_conflict(message: impl Into<String>, conflicts: Vec<(String, String)>) -> Self {
        let mut status = Self::new(409, Reason::Conflict, message);
        for (message, field) in conflicts {
            status = status.with_cause("FieldManagerConflict", message, &field);
        }
        status
    }

    /// 422 with every field error: `Pod "x" is invalid: [a, b]`.
    pub fn invalid<'a>(kind: impl Into<GroupKind<'a>>, name: &str, errors: &[FieldError]) -> Self {
        let k = kind.into();
        let mut message = format!("{k} {} is invalid", fields::quote(name));
        if !errors.is_empty() {
            message.push_str(": ");
            message.push_str(&fields::aggregate(errors));
        }
        let mut status = Self::new(422, Reason::Invalid, message).about(k.group, k.kind, name);
        for e in errors {
            status = status.with_cause(e.kind.reason(), e.body(), &e.field);
        }
        status
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, Reason::BadRequest, message)
    }

    /// 401. An empty `message` becomes `Unauthorized`, what the API server says of unknown callers.
    pub fn unauthorized(message: &str) -> Self {
        Self::new(
            401,
            Reason::Unauthorized,
            if message.is_empty() {
                "Unauthorized"
            } else {
                message
            },
        )
    }

    /// 403: `pods "x" is forbidden: why`; without a name `pods is forbidden: why`.
    pub fn forbidden<'a>(resource: impl Into<GroupResource<'a>>, name: &str, why: impl Display) -> Self {
        let r = resource.into();
        let message = match (r.resource, name) {
            ("", _) => format!("forbidden: {why}"),
            (_, "") => format!("{r} is forbidden: {why}"),
            _ => format!("{r} {} is forbidden: {why}", fields::quote(name)),
        };
        Self::new(403, Reason::Forbidden, message).about(r.group, r.resource, name)
    }

    /// 405.
    pub fn method_not_allowed() -> Self {
        let mut status = Self::new(
            405,
            Reason::MethodNotAllowed,
            "the server does not allow this method on the requested resource",
        );
        status.details = Some(Box::default());
        status
    }

    /// 405 of one verb on one resource: `create is not supported on resources of kind "x"`.
    pub fn not_supported<'a>(resource: impl Into<GroupResource<'a>>, action: &str) -> Self {
        let r = resource.into();
        let message = format!(
            "{action} is not supported on resources of kind {}",
            fields::quote(&r.to_string())
        );
        Self::new(405, Reason::MethodNotAllowed, message).about(r.group, r.resource, "")
    }

    /// 406: no representation the client accepts. `accepted` lists what the server can send.
    pub fn not_acceptable(accepted: &[&str]) -> Self {
        let message = format!(
            "only the following media types are accepted: {}",
            accepted.join(", ")
        );
        Self::new(406, Reason::NotAcceptable, message)
    }

    /// 410 `Expired`.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, Reason::Expired, message)
    }

    /// 410: a LIST at a revision that was compacted.
    pub fn list_too_old() -> Self {
        Self::expired("The resourceVersion for the provided list is too old.")
    }

    /// 410: a WATCH from `asked`, older than `oldest`, the first revision still known.
    pub fn watch_too_old(asked: u64, oldest: u64) -> Self {
        Self::expired(format!("too old resource version: {asked} ({oldest})"))
    }

    /// 410: the same without numbers (what etcd's watch answers).
    pub fn watch_expired() -> Self {
        Self::expired("The resourceVersion for the provided watch is too old.")
    }

    /// 410: a `continue` token whose revision was compacted.
    pub fn continue_too_old() -> Self {
        Self::expired(
            "The provided continue parameter is too old to display a consistent list result. You can \
             start a new list without the continue parameter.",
        )
    }

    /// 410: the same, with a token that continues at the newest revision (in `metadata.continue`).
    pub fn continue_inconsistent() -> Self {
        Self::expired(
            "The provided continue parameter is too old to display a consistent list result. You can \
             start a new list without the continue parameter, or use the continue token in this response \
             to retrieve the remainder of the results. Continuing with the provided token results in an \
             inconsistent list - objects that were created, modified, or deleted between the time the \
             first chunk was returned and now may show up in the list.",
        )
    }

    /// 410 `Gone`.
    pub fn gone(message: impl Into<String>) -> Self {
        Self::new(410, Reason::Gone, message)
    }

    /// 413: the body has more than `limit` bytes.
    pub fn too_large(limit: usize) -> Self {
        Self::new(
            413,
            Reason::RequestEntityTooLarge,
            format!("Request entity too large: limit is {limit}"),
        )
    }

    /// 415: no decoder for the body. `accepted` lists those there are.
    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Self::new(415, Reason::UnsupportedMediaType, message)
    }

    /// 429 with the time after which to try again.
    pub fn too_many(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        Self::new(429, Reason::TooManyRequests, message).retry_after(retry_after_seconds)
    }

    /// 500.
    pub fn internal(cause: impl Display) -> Self {
        let cause = cause.to_string();
        Self::new(
            500,
            Reason::InternalError,
            format!("Internal error occurred: {cause}"),
        )
        .with_cause("", cause, "")
    }

    /// 500 `ServerTimeout`: the operation could not be done in time, the client may try again.
    pub fn server_timeout<'a>(
        resource: impl Into<GroupResource<'a>>,
        operation: &str,
        retry_after_seconds: u32,
    ) -> Self {
        let r = resource.into();
        let message = format!(
            "The {operation} operation against {r} could not be completed at this time, please try again."
        );
        Self::new(500, Reason::ServerTimeout, message)
            .about(r.group, r.resource, operation)
            .retry_after(retry_after_seconds)
    }

    /// 503.
    pub fn service_unavailable(message: impl Into<String>) -> Self {
        Self::new(503, Reason::ServiceUnavailable, message)
    }

    /// 504: the request ran out of time; the operation may still complete.
    pub fn timeout(message: impl Display, retry_after_seconds: u32) -> Self {
        Self::new(504, Reason::Timeout, format!("Timeout: {message}")).retry_after(retry_after_seconds)
    }

    /// 504: the resourceVersion asked for lies in the future (`NotOlderThan`, `Exact`).
    pub fn version_too_large(asked: u64, current: u64) -> Self {
        Self::timeout(
            format!("Too large resource version: {asked}, current: {current}"),
            1,
        )
        .with_cause("ResourceVersionTooLarge", "Too large resource version", "")
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
mod tests {
    use super::*;

    const PODS: (&str, &str) = ("", "pods");
    const DEPLOYMENTS: (&str, &str) = ("apps", "deployments");

    #[test]
    fn messages_have_upstreams_form() {
        assert_eq!(Status::not_found(PODS, "x").message, "pods \"x\" not found");
        assert_eq!(
            Status::modified(DEPLOYMENTS, "x").message,
            "Operation cannot be fulfilled on deployments.apps \"x\": the object has been modified; please \
             apply your changes to the latest version and try again"
        );
        assert_eq!(
            Status::already_exists(DEPLOYMENTS, "x").message,
            "deployments.apps \"x\" already exists"
        );
        assert_eq!(Status::forbidden(PODS, "", "no").message, "pods is forbidden: no");
        assert_eq!(
            Status::forbidden(PODS, "x", "no").message,
            "pods \"x\" is forbidden: no"
        );
        assert_eq!(
            Status::version_too_large(9, 3).message,
            "Timeout: Too large resource version: 9, current: 3"
        );
    }

    #[test]
    fn an_invalid_object_lists_every_cause() {
        let errors = [
            FieldError::required("spec.containers", ""),
            FieldError::invalid("metadata.name", "X", "bad"),
        ];
        let status = Status::invalid(("", "Pod"), "X", &errors);
        assert_eq!(
            status.message,
            "Pod \"X\" is invalid: [spec.containers: Required value, metadata.name: Invalid value: \"X\": bad]"
        );
        assert_eq!(
            status.to_json(),
            json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": status.message, "reason": "Invalid", "code": 422,
                "details": { "name": "X", "kind": "Pod", "causes": [
                    { "reason": "FieldValueRequired", "message": "Required value", "field": "spec.containers" },
                    { "reason": "FieldValueInvalid", "message": "Invalid value: \"X\": bad", "field": "metadata.name" },
                ] },
            })
        );
    }

    #[test]
    fn codes_and_reasons_belong_together() {
        let all = [
            (Status::bad_request(""), 400, "BadRequest"),
            (Status::unauthorized(""), 401, "Unauthorized"),
            (Status::method_not_allowed(), 405, "MethodNotAllowed"),
            (Status::not_acceptable(&[]), 406, "NotAcceptable"),
            (Status::watch_expired(), 410, "Expired"),
            (Status::gone(""), 410, "Gone"),
            (Status::too_large(3), 413, "RequestEntityTooLarge"),
            (Status::unsupported_media_type(&[]), 415, "UnsupportedMediaType"),
            (Status::too_many("", 1), 429, "TooManyRequests"),
            (Status::internal("x"), 500, "InternalError"),
            (Status::service_unavailable(""), 503, "ServiceUnavailable"),
            (Status::timeout("", 1), 504, "Timeout"),
        ];
        for (status, code, reason) in all {
            assert_eq!((status.code, status.reason.as_str()), (code, reason));
        }
    }
}
