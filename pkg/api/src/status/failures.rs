//! Every failure the API answers with: code, reason, message and details belong together.

use super::{GroupKind, GroupResource, Reason, Status};
use crate::fields::{self, FieldError};
use std::fmt::Display;

impl Status {
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
}
