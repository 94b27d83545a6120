//! OpenAPI v2 and v3: the documents of the schema tables, with their content types and etags.
//!
//! A document is made when it is asked for and not kept: clients cache it by its etag or hash, so it
//! is asked for once per client and server version.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION, VARY};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use kobune_api::openapi;
use kobune_api::status::Status;

use crate::http::body::Body;
use crate::http::negotiate::accepted;
use crate::http::query::Query;
use crate::http::respond::response;
use crate::server::no_such_path;

/// Answers a path under `/openapi`.
pub async fn answer(path: &str, parts: &Parts, query: &Query<'_>) -> Result<Response<Body>, Status> {
    let etag = format!("\"{}\"", openapi::openapi_hash());
    let known = parts
        .headers
        .get(IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    if known.is_some_and(|known| known.trim_start_matches("W/") == etag) && !path.ends_with("/v3") {
        return Ok(tagged(status_only(StatusCode::NOT_MODIFIED), &etag));
    }
    let answer = match path.strip_prefix("/openapi/").unwrap_or("") {
        "v2" => v2(parts).await?,
        "v3" => json(openapi::openapi_v3_index()),
        other => match other.strip_prefix("v3/") {
            Some(document) => v3(document.to_owned(), query.text("hash")).await?,
            None => no_such_path(),
        },
    };
    Ok(if answer.status() == StatusCode::OK {
        tagged(answer, &etag)
    } else {
        answer
    })
}

async fn v2(parts: &Parts) -> Result<Response<Body>, Status> {
    let [asked, answered] = openapi::V2_PROTOBUF_MEDIA_TYPES;
    let protobuf = accepted(&parts.headers)
        .iter()
        .map(|range| range.media_type)
        .find(|media| openapi::V2_PROTOBUF_MEDIA_TYPES.contains(media) || is_json(media))
        .is_some_and(|media| media == asked || media == answered);
    if !protobuf {
        return Ok(json(made(openapi::openapi_v2_json).await?));
    }
    let mut response = json(made(openapi::openapi_v2_protobuf).await?);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(answered));
    Ok(response)
}

fn is_json(media: &str) -> bool {
    matches!(media, "application/json" | "*/*" | "application/*")
}

async fn v3(document: String, hash: Option<&str>) -> Result<Response<Body>, Status> {
    let current = openapi::openapi_hash();
    if let Some(hash) = hash.filter(|hash| *hash != current) {
        tracing::debug!(hash, "an older OpenAPI document is asked for");
        let mut response = status_only(StatusCode::MOVED_PERMANENTLY);
        let place = format!("/openapi/v3/{document}?hash={current}");
        if let Ok(place) = HeaderValue::try_from(place) {
            response.headers_mut().insert(LOCATION, place);
        }
        return Ok(response);
    }
    let Some(bytes) = made(move || openapi::openapi_v3(&document)).await? else {
        return Ok(no_such_path());
    };
    let mut response = json(bytes);
    if hash.is_some() {
        // The hash stands for the content: it never changes under this address.
        response
            .headers_mut()
            .insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
    }
    Ok(response)
}

/// Making a document takes long enough to hold up other requests of the same thread.
async fn made<T: Send + 'static>(make: impl FnOnce() -> T + Send + 'static) -> Result<T, Status> {
    tokio::task::spawn_blocking(make).await.map_err(Status::internal)
}

fn json(bytes: Bytes) -> Response<Body> {
    response(StatusCode::OK, "application/json", bytes)
}

fn status_only(code: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = code;
    response
}

fn tagged(mut response: Response<Body>, etag: &str) -> Response<Body> {
    let headers = response.headers_mut();
    if let Ok(etag) = HeaderValue::try_from(etag) {
        headers.insert(ETAG, etag);
    }
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    response
}
