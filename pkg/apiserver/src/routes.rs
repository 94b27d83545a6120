//! Which code answers which path and which verb.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use kobune_api::status::Status;

use crate::http::body::{Body, RequestBody};
use crate::http::info::Verb;
use crate::http::query::Query;
use crate::http::respond::{self, response};
use crate::registry::call::Call;
use crate::registry::row::Row;
use crate::registry::{create, delete, list, patch, scale, update, watch};
use crate::server::{Inner, no_such_path};
use crate::{discovery, openapi};

/// Subresources that are connections to a node, a pod or a Service, not objects.
pub fn is_stream(subresource: &str) -> bool {
    matches!(subresource, "log" | "exec" | "attach" | "portforward" | "proxy")
}

/// Answers a path that is no resource.
pub async fn path(
    server: &Inner,
    parts: &Parts,
    path: &str,
    query: &Query<'_>,
    _body: RequestBody,
) -> Result<Response<Body>, Status> {
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return Ok(no_such_path());
    }
    let trimmed = if path.len() > 1 {
        path.trim_end_matches('/')
    } else {
        path
    };
    match trimmed {
        "/" => Ok(discovery::paths()),
        "/version" => Ok(discovery::version(&server.config.version)),
        "/metrics" => Ok(respond::response(
            StatusCode::OK,
            "text/plain; version=0.0.4; charset=utf-8",
            Bytes::from(server.metrics.text(&server.store)),
        )),
        _ if ["/livez", "/readyz", "/healthz"]
            .iter()
            .any(|root| trimmed.starts_with(root)) =>
        {
            Ok(server.health(trimmed, query))
        }
        _ if trimmed.starts_with("/openapi") => openapi::answer(trimmed, parts, query).await,
        _ if trimmed.starts_with("/api") => discovery::answer(server, trimmed, &parts.headers),
        _ => Ok(no_such_path()),
    }
}

/// Answers a verb on an object, a collection or a subresource that is an object.
pub async fn verb(call: &Call<'_>, row: &Arc<Row>, body: Bytes) -> Result<Response<Body>, Status> {
    let sub = call.info.subresource;
    if !sub.is_empty() {
        return subresource(call, body).await;
    }
    if !row.kind.has_verb(call.info.verb.as_str()) {
        return Err(Status::method_not_allowed());
    }
    let everywhere = row.kind.namespaced && call.info.namespace.is_empty();
    if let Some(warning) = deprecation(row) {
        call.warn(warning);
    }
    match call.info.verb {
        Verb::Create if crate::reviews::is_review(&row.kind) => crate::reviews::create(call, body).await,
        Verb::Create if everywhere || !call.info.name.is_empty() => Err(Status::method_not_allowed()),
        Verb::Create => create::create(call, body).await,
        Verb::Get => list::get(call).await,
        Verb::List => list::list(call).await,
        Verb::Watch => watch::watch(call, row).await,
        Verb::Update | Verb::Patch if call.info.name.is_empty() => Err(Status::method_not_allowed()),
        Verb::Update => update::update(call, body).await,
        Verb::Patch => patch::patch(call, body).await,
        Verb::Delete => delete::delete(call, body).await,
        Verb::DeleteCollection if everywhere => Err(Status::method_not_allowed()),
        Verb::DeleteCollection => delete::collection(call, body).await,
        Verb::Other => Err(Status::method_not_allowed()),
    }
}

/// What upstream says of kinds that have a successor.
fn deprecation(row: &Row) -> Option<&'static str> {
    match (&*row.kind.group, &*row.kind.plural) {
        ("", "endpoints") => {
            Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
        }
        ("", "componentstatuses") => Some("v1 ComponentStatus is deprecated in v1.19+"),
        _ => None,
    }
}

async fn subresource(call: &Call<'_>, body: Bytes) -> Result<Response<Body>, Status> {
    let Some(sub) = call.row.kind.subresource(call.info.subresource) else {
        return Ok(no_such_path());
    };
    if !sub.has_verb(call.info.verb.as_str()) {
        return Err(Status::method_not_allowed());
    }
    match (&*sub.name, call.info.verb) {
        ("scale", _) => scale::scale(call, body).await,
        ("binding", _) => crate::strategy::pods::binding::bind(call, body).await,
        ("eviction", _) => crate::strategy::pods::eviction::evict(call, body).await,
        ("token", _) => crate::reviews::token::create(call, body).await,
        (_, Verb::Get) => list::get(call).await,
        (_, Verb::Update) => update::update(call, body).await,
        (_, Verb::Patch) => patch::patch(call, body).await,
        _ => Err(Status::method_not_allowed()),
    }
}

/// Answers a connection: logs, exec, attach, port-forward, proxy.
pub async fn connect(call: &Call<'_>, parts: &Parts, body: RequestBody) -> Result<Response<Body>, Status> {
    crate::proxy::connect(call, parts, body).await
}

/// An answer of bytes that are JSON already.
pub fn json(bytes: impl Into<Bytes>) -> Response<Body> {
    response(StatusCode::OK, "application/json", bytes.into())
}
