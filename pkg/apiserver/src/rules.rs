//! The doors to the object model: what comes in is decoded, defaulted and validated, in the API's
//! words for what can be wrong.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use kobune_api::apply::{self, ApplyError};
use kobune_api::decode::{ContentType, DecodeError, Decoded, decode as read};
use kobune_api::defaults;
use kobune_api::fields::FieldError;
use kobune_api::kinds::Kind;
use kobune_api::merge::{self, MergeError};
use kobune_api::schema::{TypeId, find_kind};
use kobune_api::status::{Reason, Status};
use kobune_api::validate;
use serde_json::Value;

pub use kobune_api::decode::FieldValidation;

use crate::object::{as_map, elements};
use crate::registry::call::Call;
use crate::registry::options::WriteOptions;

const ACCEPTED: [&str; 3] = [
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];

fn content(content_type: &str) -> Result<ContentType, Status> {
    if content_type.is_empty() {
        return Ok(ContentType::Json);
    }
    ContentType::from_media_type(content_type).ok_or_else(|| Status::unsupported_media_type(&ACCEPTED))
}

#[allow(clippy::needless_pass_by_value, reason = "the shape map_err wants")]
fn undecodable(error: DecodeError) -> Status {
    Status::bad_request(error.to_string())
}

/// Reads an object of a kind from a request's body.
pub fn decode(
    kind: &Kind,
    content_type: &str,
    body: &Bytes,
    mode: FieldValidation,
) -> Result<Decoded, Status> {
    let content = content(content_type)?;
    read(Some(kind), kind.schema, content, body, mode).map_err(undecodable)
}

/// Reads an object of another type than the resource's: options, bindings, scales.
pub fn decode_as(
    root: Option<TypeId>,
    content_type: &str,
    body: &Bytes,
    mode: FieldValidation,
) -> Result<Value, Status> {
    let content = content(content_type)?;
    read(None, root, content, body, mode)
        .map(|decoded| decoded.value)
        .map_err(undecodable)
}

/// Reads the body of the call's subresource.
pub fn decode_part(call: &Call<'_>, body: &Bytes, mode: FieldValidation) -> Result<Value, Status> {
    let sub = call.row.kind.subresource(call.info.subresource);
    let root = sub.and_then(|sub| sub.schema);
    decode_as(
        root,
        crate::http::negotiate::content_type(call.headers),
        body,
        mode,
    )
}

/// Reads `DeleteOptions`.
pub fn decode_options(content_type: &str, body: &Bytes) -> Result<Value, Status> {
    let root = find_kind("", "v1", "DeleteOptions");
    decode_as(root, content_type, body, FieldValidation::Ignore)
}

/// Fills in what upstream fills in, and the fields it always writes.
pub fn defaults(kind: &Kind, object: &mut Value) {
    if let Some(root) = kind.schema {
        kobune_api::decode::apply_defaults(root, object);
    }
    defaults::apply(kind, object);
    if (&*kind.group, &*kind.plural) == ("", "secrets") {
        fold_string_data(object);
    }
    if let Some(root) = kind.schema {
        kobune_api::decode::complete(root, object);
    }
}

/// A Secret's `stringData` is a way to write `data`, and never stored.
fn fold_string_data(secret: &mut Value) {
    let Some(Value::Object(plain)) = as_map(secret).remove("stringData") else {
        return;
    };
    let data = as_map(as_map(secret).entry("data").or_insert(Value::Null));
    for (key, value) in plain {
        let text = value.as_str().unwrap_or("");
        data.insert(key, STANDARD.encode(text).into());
    }
}

/// Removes the status of a new object: it is the server's to begin.
pub fn strip_status(call: &Call<'_>, object: &mut Value) {
    if call.row.kind.subresource("status").is_some() && !call.row.facts.created_with_status {
        as_map(object).remove("status");
    }
}

/// The errors of a new object.
pub fn validate_create(kind: &Kind, object: &Value) -> Vec<FieldError> {
    validate::create(kind, object)
}

/// The errors of a changed object, or of a change of one of its parts.
pub fn validate_update(kind: &Kind, part: &str, old: &Value, new: &Value) -> Vec<FieldError> {
    match part {
        // A Scale was checked on its way in; the object it changes is checked as a whole.
        "" | "scale" => validate::update(kind, new, old),
        "status" => validate::status_update(kind, new, old),
        // The binding was checked; it changes what an update of a pod may not.
        "binding" => Vec::new(),
        part => validate::subresource_update(kind, part, new, old),
    }
}

/// Tells the caller what is doubtful in a good object. Callers in this process read no warnings.
pub fn warn(call: &Call<'_>, old: Option<&Value>, new: &Value) {
    if !call.near {
        let warnings = validate::warnings(&call.row.kind, new, old);
        warnings.into_iter().for_each(|warning| call.warn(warning));
    }
}

/// A patch that was not applied, in upstream's codes: 400 for what is no patch, 422 for what does not
/// fit the object.
#[allow(clippy::needless_pass_by_value, reason = "the shape map_err wants")]
pub fn unpatchable(error: MergeError) -> Status {
    match error {
        MergeError::JsonPatch(_) => Status::new(
            422,
            Reason::Invalid,
            format!("the server rejected our request due to an error in our request: {error}"),
        ),
        MergeError::TooManyOperations(_) => {
            Status::new(413, Reason::RequestEntityTooLarge, error.to_string())
        }
        _ => Status::bad_request(error.to_string()),
    }
}

/// Reads a patch that is an object, in JSON or YAML; and what is written twice in it, if that is of
/// interest.
pub fn patch_object(body: &Bytes, yaml: bool, mode: FieldValidation) -> Result<(Value, Vec<String>), Status> {
    let content = if yaml {
        ContentType::Yaml
    } else {
        ContentType::Json
    };
    decoded_patch(content, body, mode).map(|decoded| (decoded.value, decoded.warnings))
}

fn decoded_patch(content: ContentType, body: &[u8], mode: FieldValidation) -> Result<Decoded, Status> {
    // Findings are judged together with those in the patched object.
    let mode = match mode {
        FieldValidation::Ignore => FieldValidation::Ignore,
        _ => FieldValidation::Warn,
    };
    let decoded = read(None, None, content, body, mode);
    decoded.map_err(|error| Status::bad_request(format!("error decoding patch: {error}")))
}

/// What is written twice or means nothing in the operations of a JSON patch, if that is of interest.
pub fn operation_findings(body: &[u8], mode: FieldValidation) -> Result<Vec<String>, Status> {
    const MEMBERS: [&str; 4] = ["op", "path", "from", "value"];
    if mode == FieldValidation::Ignore {
        return Ok(Vec::new());
    }
    // A list is read as the field of an object.
    let wrapped = [b"{\"p\":", body, b"}"].concat();
    let decoded = decoded_patch(ContentType::Json, &wrapped, mode)?;
    let twice = decoded.warnings.iter();
    let mut findings: Vec<String> = twice
        .map(|finding| format!("json patch {}", finding.replacen("\"p[", "\"[", 1)))
        .collect();
    for (at, operation) in elements(&decoded.value, &["p"]).iter().enumerate() {
        let members = operation.as_object().into_iter().flat_map(|map| map.keys());
        let unknown = members.filter(|member| !MEMBERS.contains(&member.as_str()));
        findings.extend(unknown.map(|member| format!("json patch unknown field \"[{at}].{member}\"")));
    }
    Ok(findings)
}

/// What is written twice in an intent, in upstream's words for YAML.
pub fn written_twice(findings: &[String]) -> String {
    let keys = findings.iter().map(|finding| {
        let path = finding.split('"').nth(1).unwrap_or(finding);
        let key = path.rsplit('.').next().unwrap_or(path);
        format!("  key \"{key}\" already set in map")
    });
    let keys: Vec<String> = keys.collect();
    format!(
        "error converting YAML to JSON: yaml: unmarshal errors:\n{}",
        keys.join("\n")
    )
}

/// Brings a patched object into the form of a decoded one: unknown fields go, and are told together
/// with what was `found` in the patch.
pub fn prune(
    kind: &Kind,
    object: &mut Value,
    mode: FieldValidation,
    found: &[String],
) -> Result<Vec<String>, Status> {
    let pruned = match kind.schema {
        Some(root) => kobune_api::decode::prune_and_check(root, object, mode),
        None => Ok(Vec::new()),
    };
    let all = match pruned {
        Ok(_) if mode == FieldValidation::Strict && !found.is_empty() => found.to_vec(),
        Ok(warnings) => return Ok([found, &warnings].concat()),
        Err(DecodeError::Strict(list)) => [found, &list].concat(),
        Err(error) => return Err(undecodable(error)),
    };
    // Upstream decodes the result of a patch and calls what it finds there invalid.
    let error = DecodeError::Strict(all).to_string();
    let error = FieldError::invalid("patch", object.to_string(), error);
    Err(Status::invalid(("", ""), "", &[error]))
}

/// Kubernetes' own merge. Kinds without a schema know no merge keys.
pub fn strategic_merge(kind: &Kind, object: &mut Value, patch: &Value) -> Result<(), Status> {
    match kind.schema {
        Some(root) => merge::strategic_merge(root, object, patch).map_err(unpatchable),
        None => Err(Status::unsupported_media_type(&[
            "application/json-patch+json",
            "application/merge-patch+json",
            "application/apply-patch+yaml",
        ])),
    }
}

/// Server-side apply: the intent merged into the live object, if there is one.
pub fn apply(
    call: &Call<'_>,
    live: Option<&Value>,
    intent: Value,
    options: &WriteOptions<'_>,
) -> Result<Value, Status> {
    let (root, part) = (call.row.kind.schema, call.info.subresource);
    let force = options.force.unwrap_or(false);
    let applied = apply::server_side_apply(root, live, intent, options.manager, force, part, call.now);
    applied.map_err(|error| match &error {
        ApplyError::Conflicts(conflicts) => {
            let causes = conflicts.iter().map(|conflict| {
                (
                    format!("conflict with {}", conflict.manager),
                    conflict.field.clone(),
                )
            });
            Status::apply_conflict(error.to_string(), causes.collect())
        }
        ApplyError::ManagedFields => Status::bad_request(error.to_string()),
        ApplyError::Untyped { .. } | ApplyError::Invalid(_) => {
            Status::new(500, Reason::Unknown, error.to_string())
        }
    })
}

/// Remembers in `managedFields` who set what with a write that is no apply.
pub fn track(call: &Call<'_>, old: Option<&Value>, new: &mut Value, options: &WriteOptions<'_>, part: &str) {
    if options.applied {
        return;
    }
    let agent = call
        .headers
        .get(http::header::USER_AGENT)
        .and_then(|value| value.to_str().ok());
    let manager = match options.manager {
        "" => agent
            .and_then(|agent| agent.split('/').next())
            .filter(|name| !name.is_empty()),
        named => Some(named),
    };
    let manager = manager.unwrap_or("unknown");
    let root = call.row.kind.schema;
    apply::track_update(root, old, new, manager, apply::Operation::Update, part, call.now);
}
