//! `pods/{name}/log`: a container's output, from the kubelet that has it.

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Response, StatusCode};
use kobune_api::fields::FieldError;
use kobune_api::status::Status;

use super::forward::{forward, nothing};
use super::place;
use crate::http::body::{Body, RequestBody};
use crate::http::respond::text as plain;
use crate::object::text;
use crate::registry::call::Call;

/// Answers with a log, followed if that is wanted.
pub async fn log(call: &Call<'_>, parts: &Parts, body: RequestBody) -> Result<Response<Body>, Status> {
    drop(body);
    check(call)?;
    let pod = place::pod(call)?;
    let container = place::container(&pod, call.query.text("container"))?;
    if text(&pod, &["spec", "nodeName"]).is_empty() {
        // It has said nothing yet.
        return Ok(plain(StatusCode::OK, ""));
    }
    let kubelet = place::kubelet(call, &place::node_of(&pod)?)?;
    let path = format!(
        "/containerLogs/{}/{}/{container}",
        call.info.namespace, call.info.name
    );
    let path = match parts.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let path = PathAndQuery::try_from(path).map_err(|error| Status::bad_request(error.to_string()))?;
    let response = forward(call.server, parts, nothing(), kubelet, path).await?;
    if response.status().is_success() {
        return Ok(response);
    }
    failed(call, response).await
}

/// The kubelet's refusal is text; clients of the API read a Status.
async fn failed(call: &Call<'_>, response: Response<Body>) -> Result<Response<Body>, Status> {
    use http_body_util::BodyExt;
    let code = response.status();
    let limited = http_body_util::Limited::new(response.into_body(), 64 * 1024);
    let bytes = limited
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    let message = String::from_utf8_lossy(&bytes).trim().to_owned();
    Err(match code.as_u16() {
        400 => Status::bad_request(message),
        404 => Status::new(404, kobune_api::status::Reason::NotFound, message),
        _ => Status::internal(format!(
            "the kubelet of pod {:?} answered {code}: {message}",
            call.info.name
        )),
    })
}

/// Upstream's rules for the options.
fn check(call: &Call<'_>) -> Result<(), Status> {
    let query = call.query;
    let mut errors = Vec::new();
    let mut positive = |name: &str, least: i64| -> Result<bool, Status> {
        let value = query.integer(name).map_err(Status::bad_request)?;
        if let Some(value) = value.filter(|value| *value < least) {
            let detail = if least == 0 {
                "must be greater than or equal to 0"
            } else {
                "must be greater than 0"
            };
            errors.push(FieldError::invalid(name, value, detail));
        }
        Ok(value.is_some())
    };
    positive("tailLines", 0)?;
    positive("limitBytes", 1)?;
    let since = positive("sinceSeconds", 1)?;
    if since && query.text("sinceTime").is_some() {
        errors.push(FieldError::forbidden(
            "",
            "at most one of `sinceTime` or `sinceSeconds` may be specified",
        ));
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(("", "PodLogOptions"), call.info.name, &errors))
}
