//! One GET over HTTP/1.1, following redirects.
//!
//! A connection serves one request: a pull makes a handful, to several hosts.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST, HeaderValue, LOCATION, PROXY_AUTHORIZATION, USER_AGENT};
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use kobune_runtime::{Error, Result};

use super::config::Endpoint;
use super::proxy::Proxies;
use super::route::{LazyTls, Route};

/// An answer whose body is still to come.
pub(crate) type Answer = Response<Incoming>;

const CONNECT_LIMIT: Duration = Duration::from_secs(30);
/// From the request to the first byte of the answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
const REDIRECTS: usize = 10;

/// Sends requests to one endpoint and where it redirects to.
pub(crate) struct Client {
    tls: LazyTls,
    proxies: Proxies,
}

impl Client {
    pub(crate) fn new(endpoint: &Endpoint, proxies: Proxies) -> Self {
        Self {
            tls: LazyTls::new(endpoint.tls.clone()),
            proxies,
        }
    }

    /// GET; the authorization does not follow to another host.
    pub(crate) async fn get(&self, url: &str, headers: &HeaderMap) -> Result<Answer> {
        let first: Uri = url
            .parse()
            .map_err(|error| Error::other(format!("reading the URL {url:?}"), error))?;
        let mut uri = first.clone();
        let mut headers = headers.clone();
        for _ in 0..REDIRECTS {
            let answer = self.send(Method::GET, &uri, &headers, Bytes::new()).await?;
            let location = answer
                .headers()
                .get(LOCATION)
                .filter(|_| answer.status().is_redirection());
            let Some(location) = location.and_then(|location| location.to_str().ok()) else {
                return Ok(answer);
            };
            uri = resolve(&uri, location)
                .ok_or_else(|| Error::other(format!("GET {uri}"), format!("redirected to {location:?}")))?;
            if uri.scheme() == Some(&http::uri::Scheme::HTTP)
                && first.scheme() == Some(&http::uri::Scheme::HTTPS)
            {
                return Err(Error::other(
                    format!("GET {first}"),
                    format!("redirected to plain HTTP: {uri}"),
                ));
            }
            if uri.authority() != first.authority() {
                headers.remove(AUTHORIZATION);
            }
        }
        Err(Error::other(format!("GET {first}"), "too many redirects"))
    }

    /// POST of a form.
    pub(crate) async fn post_form(&self, url: &str, form: String) -> Result<Answer> {
        let uri: Uri = url
            .parse()
            .map_err(|error| Error::other(format!("reading the URL {url:?}"), error))?;
        let mut headers = HeaderMap::new();
        headers.insert(
            http::header::CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        self.send(Method::POST, &uri, &headers, form.into()).await
    }

    async fn send(&self, method: Method, uri: &Uri, headers: &HeaderMap, body: Bytes) -> Result<Answer> {
        let doing = || format!("{method} {uri}");
        let route = Route::to(uri, &self.proxies)?;
        let stream = tokio::time::timeout(CONNECT_LIMIT, route.connect(&self.tls)).await;
        let stream = stream.map_err(|_| Error::other(doing(), "connecting timed out"))??;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Error::other(doing(), error))?;
        // Ends with the body, or when that is dropped.
        tokio::spawn(connection);
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::builder().method(&method).uri(path);
        if let Some(proxy) = route.forwarder() {
            request = request.uri(uri);
            if let Some(authorization) = &proxy.authorization {
                request = request.header(PROXY_AUTHORIZATION, authorization);
            }
        }
        if let Some(target) = request.headers_mut() {
            target.extend(headers.clone());
            let host = uri.authority().map_or("", |authority| authority.as_str());
            target.insert(
                HOST,
                HeaderValue::from_str(host).map_err(|error| Error::other(doing(), error))?,
            );
            target.insert(
                USER_AGENT,
                HeaderValue::from_static(concat!("kobune/", env!("CARGO_PKG_VERSION"))),
            );
        }
        let request = request
            .body(Full::new(body))
            .map_err(|error| Error::other(doing(), error))?;
        let answer = tokio::time::timeout(ANSWER_LIMIT, sender.send_request(request)).await;
        let answer = answer.map_err(|_| Error::other(doing(), "the answer timed out"))?;
        answer.map_err(|error| Error::other(doing(), error))
    }
}

/// A redirect's target, absolute or not.
fn resolve(from: &Uri, location: &str) -> Option<Uri> {
    if location.contains("://") {
        return location.parse().ok();
    }
    let mut parts = from.clone().into_parts();
    let path = if location.starts_with('/') {
        location.to_owned()
    } else {
        let folder = from.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{folder}/{location}")
    };
    parts.path_and_query = Some(path.parse().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_may_be_relative() {
        let from: Uri = "https://a.b:5000/v2/x/blobs/1".parse().unwrap();
        assert_eq!(resolve(&from, "/y?z=1").unwrap(), "https://a.b:5000/y?z=1");
        assert_eq!(resolve(&from, "2").unwrap(), "https://a.b:5000/v2/x/blobs/2");
        assert_eq!(resolve(&from, "https://c/d").unwrap(), "https://c/d");
    }
}
