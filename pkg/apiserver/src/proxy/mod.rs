//! Connections through the API server: logs, exec, attach, port-forward, proxy.
//!
//! ```text
//! client ── HTTP or upgrade ── apiserver ─┬─ TLS, client certificate ── kubelet:10250 ── container
//!                                         └─ HTTP(S) ── pod or Service endpoint
//! ```
//!
//! An upgrade is passed through: after both sides have switched protocols, bytes are copied and not
//! looked at, so whatever client and kubelet agree on (WebSocket, SPDY) works.

mod dial;
mod forward;
mod log;
mod place;
mod service;

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Response, StatusCode};
use kobune_api::status::Status;

use crate::http::body::{Body, RequestBody};
use crate::http::info::Verb;
use crate::http::respond::response;
use crate::registry::call::Call;
use crate::server::no_such_path;
use forward::forward;
use place::Place;

/// Answers a connection.
pub async fn connect(call: &Call<'_>, parts: &Parts, body: RequestBody) -> Result<Response<Body>, Status> {
    let sub = call.info.subresource;
    let Some(known) = call.row.kind.subresource(sub) else {
        return Ok(no_such_path());
    };
    // A proxy takes every method of HTTP, whatever verb it counts as.
    let any = sub == "proxy" && call.info.verb != Verb::Other;
    if !any && !known.has_verb(call.info.verb.as_str()) {
        return Err(Status::method_not_allowed());
    }
    match (&*call.row.kind.plural, sub) {
        ("pods", "log") => log::log(call, parts, body).await,
        ("pods", "exec" | "attach") => {
            let pod = place::pod(call)?;
            let container = place::container(&pod, call.query.text("container"))?;
            let path = format!("/{sub}/{}/{}/{container}", call.info.namespace, call.info.name);
            let place = place::kubelet(call, &place::node_of(&pod)?)?;
            stream(call, parts, body, place, &path).await
        }
        ("pods", "portforward") => {
            let pod = place::pod(call)?;
            let path = format!("/portForward/{}/{}", call.info.namespace, call.info.name);
            let place = place::kubelet(call, &place::node_of(&pod)?)?;
            stream(call, parts, body, place, &path).await
        }
        (resource, "proxy") => {
            if call.info.tail.is_empty() && !parts.uri.path().ends_with('/') && call.info.verb == Verb::Get {
                return Ok(redirect(parts));
            }
            let place = match resource {
                "nodes" => place::node(call)?,
                "pods" => place::pod_port(call)?,
                _ => service::endpoint(call)?,
            };
            let path = format!("/{}", tail(parts.uri.path()));
            stream(call, parts, body, place, &path).await
        }
        _ => Ok(no_such_path()),
    }
}

/// The rest of a proxy's path as the client wrote it, escapes and all.
fn tail(path: &str) -> &str {
    path.split_once("/proxy/").map_or("", |(_, rest)| rest)
}

/// A proxied page finds its relative links only below a path that ends in a slash.
fn redirect(parts: &Parts) -> Response<Body> {
    let query = parts
        .uri
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    let mut response = response(StatusCode::MOVED_PERMANENTLY, "text/plain", Body::empty());
    if let Ok(place) = http::HeaderValue::try_from(format!("{}/{query}", parts.uri.path())) {
        response.headers_mut().insert(http::header::LOCATION, place);
    }
    response
}

async fn stream(
    call: &Call<'_>,
    parts: &Parts,
    body: RequestBody,
    place: Place,
    path: &str,
) -> Result<Response<Body>, Status> {
    let text = match parts.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let path = PathAndQuery::try_from(text).map_err(|error| Status::bad_request(error.to_string()))?;
    forward(call.server, parts, body, place, path).await
}
