//! One request handed on, and the two ends joined when both switch protocols.

use bytes::Bytes;
use futures_util::StreamExt;
use http::header::{AUTHORIZATION, CONNECTION, HOST, HeaderName, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, BodyStream};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use kobune_api::status::Status;
use tokio_util::sync::CancellationToken;

use super::dial::{DialError, dial};
use super::place::{Place, unavailable};
use crate::http::body::{Body, BoxError, RequestBody};
use crate::server::Inner;

/// Hands a request on and gives the answer back as it comes.
pub async fn forward(
    server: &Inner,
    parts: &Parts,
    body: RequestBody,
    place: Place,
    path: PathAndQuery,
) -> Result<Response<Body>, Status> {
    let upgrade = wants_upgrade(&parts.headers);
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = Uri::from(path);
    *request.headers_mut() = headers(parts, &place, upgrade);
    let mut sender = dial(&place).await.map_err(|error| refused(&error))?;
    let response = sender.send_request(request).await;
    let response =
        response.map_err(|error| unavailable(format!("error trying to reach service: {error}")))?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return switched(server, parts, response);
    }
    let (mut head, body) = response.into_parts();
    drop_hops(&mut head.headers);
    Ok(Response::from_parts(head, until(body, server.draining.clone())))
}

fn refused(error: &DialError) -> Status {
    unavailable(format!(
        "error trying to reach service: {}",
        crate::describe(error)
    ))
}

fn wants_upgrade(headers: &HeaderMap) -> bool {
    let asks = headers
        .get_all(CONNECTION)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    let mut words = asks.flat_map(|value| value.split(','));
    headers.contains_key(UPGRADE) && words.any(|word| word.trim().eq_ignore_ascii_case("upgrade"))
}

/// The client's headers, without those of its own connection and of its authentication.
fn headers(parts: &Parts, place: &Place, upgrade: bool) -> HeaderMap {
    let mut headers = parts.headers.clone();
    let protocol = headers.get(UPGRADE).cloned();
    drop_hops(&mut headers);
    headers.remove(AUTHORIZATION);
    if let Some(protocol) = protocol.filter(|_| upgrade) {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, protocol);
    }
    let host = format!("{}:{}", place.host, place.address.port());
    if let Ok(host) = HeaderValue::try_from(host) {
        headers.insert(HOST, host);
    }
    headers
}

/// Headers that belong to one connection (RFC 9110, 7.6.1).
fn drop_hops(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let fixed = [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
    let others = [
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
    ];
    for name in named
        .into_iter()
        .chain(fixed)
        .chain(others.map(HeaderName::from_static))
    {
        headers.remove(name);
    }
}

/// Both ends have switched: from here on bytes are copied until one of them ends, or the server goes.
fn switched(
    server: &Inner,
    parts: &Parts,
    mut response: Response<Incoming>,
) -> Result<Response<Body>, Status> {
    let Some(client) = parts.extensions.get::<OnUpgrade>().cloned() else {
        return Err(Status::bad_request("this connection cannot be upgraded"));
    };
    let other = hyper::upgrade::on(&mut response);
    let draining = server.draining.clone();
    tokio::spawn(async move {
        let joined = async {
            let (client, other) = tokio::try_join!(client, other)?;
            let (mut client, mut other) = (TokioIo::new(client), TokioIo::new(other));
            tokio::io::copy_bidirectional(&mut client, &mut other).await?;
            Ok::<_, BoxError>(())
        };
        tokio::select! {
            ended = joined => if let Err(error) = ended {
                tracing::debug!(error = %error, "stream ended");
            },
            () = draining.cancelled() => {}
        }
    });
    let (head, _) = response.into_parts();
    Ok(Response::from_parts(head, Body::empty()))
}

/// A body that also ends when the server goes down: a followed log would hold it up.
fn until(body: Incoming, draining: CancellationToken) -> Body {
    use http_body::Body as _;
    if body.is_end_stream() {
        return Body::empty();
    }
    if body.size_hint().exact().is_some() {
        return Body::passed(body);
    }
    let frames = BodyStream::new(body).filter_map(|frame| async {
        match frame {
            Ok(frame) => frame.into_data().ok().map(Ok::<Bytes, BoxError>),
            Err(error) => Some(Err(error.into())),
        }
    });
    Body::stream(Box::pin(frames.take_until(draining.cancelled_owned())))
}

/// An empty request body.
pub fn nothing() -> RequestBody {
    http_body_util::Empty::new()
        .map_err(|never| match never {})
        .boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connections_own_headers_stay_behind() {
        let mut headers = HeaderMap::new();
        headers.insert(CONNECTION, HeaderValue::from_static("keep-alive, X-Mine"));
        headers.insert("x-mine", HeaderValue::from_static("1"));
        headers.insert("keep-alive", HeaderValue::from_static("1"));
        headers.insert("x-other", HeaderValue::from_static("1"));
        drop_hops(&mut headers);
        assert_eq!(headers.len(), 1);
    }

    #[test]
    fn an_upgrade_is_recognised() {
        let mut headers = HeaderMap::new();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        assert!(!wants_upgrade(&headers));
        headers.insert(CONNECTION, HeaderValue::from_static("keep-alive, Upgrade"));
        assert!(wants_upgrade(&headers));
    }
}
