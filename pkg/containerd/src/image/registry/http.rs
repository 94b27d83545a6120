//! One GET over HTTP/1.1, with TLS or without, following redirects.
//!
//! A connection serves one request: a pull makes a handful, to several hosts.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST, HeaderValue, LOCATION, USER_AGENT};
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use kobune_runtime::{Error, Result};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::config::{Endpoint, Tls};
use super::tls;

/// An answer whose body is still to come.
pub(crate) type Answer = Response<Incoming>;

const CONNECT_LIMIT: Duration = Duration::from_secs(30);
/// From the request to the first byte of the answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
const REDIRECTS: usize = 10;

/// Sends requests to one endpoint and where it redirects to.
pub(crate) struct Client {
    tls: Tls,
    /// Made when it is first needed: a plain mirror needs none.
    config: OnceLock<Arc<ClientConfig>>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Client {
    pub(crate) fn new(endpoint: &Endpoint) -> Result<Self> {
        Ok(Self {
            tls: endpoint.tls.clone(),
            config: OnceLock::new(),
        })
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
        let stream = tokio::time::timeout(CONNECT_LIMIT, self.connect(uri)).await;
        let stream = stream.map_err(|_| Error::other(doing(), "connecting timed out"))??;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Error::other(doing(), error))?;
        // Ends with the body, or when that is dropped.
        tokio::spawn(connection);
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::builder().method(&method).uri(path);
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

    async fn connect(&self, uri: &Uri) -> Result<Box<dyn Stream>> {
        let doing = || format!("connecting to {uri}");
        let host = uri
            .host()
            .ok_or_else(|| Error::other(doing(), "the URL has no host"))?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let secure = uri.scheme() != Some(&http::uri::Scheme::HTTP);
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let stream = TcpStream::connect((bare, port))
            .await
            .map_err(|error| Error::other(doing(), error))?;
        let _ = stream.set_nodelay(true);
        if !secure {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(bare.to_owned()).map_err(|error| Error::other(doing(), error))?;
        let connector = tokio_rustls::TlsConnector::from(self.tls_config()?);
        let stream = connector
            .connect(name, stream)
            .await
            .map_err(|error| Error::other(doing(), error))?;
        Ok(Box::new(stream))
    }

    fn tls_config(&self) -> Result<Arc<ClientConfig>> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let config = tls::config(&self.tls)?;
        Ok(Arc::clone(self.config.get_or_init(|| config)))
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
