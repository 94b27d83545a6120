//! Server-side apply: an intent becomes part of an object, and who wants which field is remembered.

use http::{Response, StatusCode};
use kobune_api::fields::FieldError;
use kobune_api::meta;
use kobune_api::status::Status;
use serde_json::Value;

use super::call::Call;
use super::options::WriteOptions;
use super::{create, output, update};
use crate::http::body::Body;
use crate::object::text;
use crate::rules::{self, FieldValidation};

/// Applies an intent, creating the object if it is not there. `found` is what is doubtful in it.
pub async fn apply(
    call: &Call<'_>,
    options: &WriteOptions<'_>,
    mut intent: Value,
    found: &[String],
) -> Result<Response<Body>, Status> {
    if options.manager.is_empty() {
        let error = FieldError::required("fieldManager", "is required for apply patch");
        return Err(Status::invalid(("meta.k8s.io", "PatchOptions"), "", &[error]));
    }
    if meta::metadata(&intent).is_some_and(|map| map.contains_key("managedFields")) {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    check_version(call, &intent)?;
    let options = &WriteOptions {
        applied: true,
        ..*options
    };
    create::place(call, &mut intent)?;
    if meta::name(&intent).is_empty() {
        meta::set(&mut intent, "name", call.info.name);
    }
    let part = call.info.subresource;
    if part.is_empty() && call.server.store.get(&call.key()).is_none() {
        let mut object = rules::apply(call, None, intent.clone(), options)?;
        judge(call, options, found)?;
        rules::strip_status(call, &mut object);
        rules::defaults(&call.row.kind, &mut object);
        match create::insert(call, object, options).await {
            Ok(bytes) => return output::object(call, StatusCode::CREATED, &bytes),
            // Created by another meanwhile: apply to that.
            Err(status) if status.code == 409 => {}
            Err(status) => return Err(status),
        }
    }
    let changed = update::change(call, part, options, &mut |old| {
        let mut new = rules::apply(call, Some(old), intent.clone(), options)?;
        judge(call, options, found)?;
        rules::defaults(&call.row.kind, &mut new);
        Ok(new)
    })
    .await?;
    output::object(call, StatusCode::OK, &changed.bytes)
}

/// Refuses or warns of what is written twice, once the intent itself is known to be good.
fn judge(call: &Call<'_>, options: &WriteOptions<'_>, found: &[String]) -> Result<(), Status> {
    if found.is_empty() {
        return Ok(());
    }
    let text = rules::written_twice(found);
    if options.validation == FieldValidation::Strict {
        return Err(Status::bad_request(format!("error strict decoding YAML: {text}")));
    }
    call.warn(text);
    Ok(())
}

/// The intent must be of the version that it is sent to.
fn check_version(call: &Call<'_>, intent: &Value) -> Result<(), Status> {
    let (given, expected) = (text(intent, &["apiVersion"]), call.row.kind.api_version());
    if given == expected {
        return Ok(());
    }
    Err(Status::bad_request(format!(
        "Incorrect version specified in apply patch. Specified patch version: {given}, expected: {expected}"
    )))
}
