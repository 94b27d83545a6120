//! HTTP requests of probes and lifecycle hooks.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use kobune_client::k8s_openapi::api::core::v1::{HTTPGetAction, HTTPHeader};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

const MAX_BODY: usize = 10 << 10;
const MAX_REDIRECTS: usize = 10;

/// An answer: status and the beginning of the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// At most 10 KiB.
    pub body: String,
    /// `Location`, of a redirect.
    pub location: Option<String>,
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `https` without a look at the certificate, or `http`.
    pub tls: bool,
    /// Address or name.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path and query.
    pub path: String,
    /// Headers of the probe.
    pub headers: Vec<(String, String)>,
}

impl Target {
    /// The target of an `httpGet`; `ip` is the pod's address, which `host` replaces.
    pub fn of(action: &HTTPGetAction, ip: &str, port: u16) -> Self {
        let path = action.path.as_deref().filter(|p| !p.is_empty()).unwrap_or("/");
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        };
        let header = |h: &HTTPHeader| (h.name.clone(), h.value.clone());
        Target {
            tls: action
                .scheme
                .as_deref()
                .is_some_and(|s| s.eq_ignore_ascii_case("https")),
            host: action
                .host
                .as_deref()
                .filter(|h| !h.is_empty())
                .unwrap_or(ip)
                .to_owned(),
            port,
            path,
            headers: action.http_headers.iter().flatten().map(header).collect(),
        }
    }

    /// As in messages.
    pub fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}:{}{}", bracketed(&self.host), self.port, self.path)
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

/// Requests the target; the error is a probe's message. Redirects on the same host are followed.
pub async fn get(target: &Target, timeout: Duration, agent: &str) -> Result<Answer, String> {
    let url = target.url();
    let timed_out =
        || format!("Get {url:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)");
    let mut target = target.clone();
    let follow = async {
        for _ in 0..MAX_REDIRECTS {
            let answer = once(&target, agent).await?;
            let next = match (answer.status, &answer.location) {
                (300..=399, Some(location)) => redirected(&target, location),
                _ => None,
            };
            match next {
                Some(next) => target = next,
                None => return Ok(answer),
            }
        }
        Err("stopped after 10 redirects".to_owned())
    };
    match tokio::time::timeout(timeout, follow).await {
        Ok(answer) => answer.map_err(|e| format!("Get {url:?}: {e}")),
        Err(_) => Err(timed_out()),
    }
}

/// The next target, when it is on the same host; another host's answer is a success as it is.
fn redirected(target: &Target, location: &str) -> Option<Target> {
    if location.starts_with('/') {
        return Some(Target {
            path: location.to_owned(),
            ..target.clone()
        });
    }
    let uri: http::Uri = location.parse().ok()?;
    let tls = uri.scheme_str()? == "https";
    let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
    (uri.host()? == target.host).then(|| Target {
        tls,
        port,
        path: uri.path_and_query().map_or("/".into(), ToString::to_string),
        ..target.clone()
    })
}

async fn once(target: &Target, agent: &str) -> Result<Answer, String> {
    let address = format!("{}:{}", bracketed(&target.host), target.port);
    let stream = TcpStream::connect((target.host.as_str(), target.port))
        .await
        .map_err(|e| format!("dial tcp {address}: connect: {}", reason(&e)))?;
    if !target.tls {
        return exchange(stream, target, agent).await;
    }
    let name = ServerName::try_from(target.host.clone()).map_err(|e| e.to_string())?;
    let connector = tokio_rustls::TlsConnector::from(unverified_tls());
    let stream = connector.connect(name, stream).await.map_err(|e| e.to_string())?;
    exchange(stream, target, agent).await
}

/// An I/O error as the C library words it, in lower case: `connection refused`.
pub fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    text.to_lowercase()
}

async fn exchange<S>(stream: S, target: &Target, agent: &str) -> Result<Answer, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io)
        .await
        .map_err(|e| e.to_string())?;
    let driver = tokio::spawn(connection);
    let answer = send(&mut sender, target, agent).await;
    driver.abort();
    answer
}

async fn send(
    sender: &mut hyper::client::conn::http1::SendRequest<Empty<Bytes>>,
    target: &Target,
    agent: &str,
) -> Result<Answer, String> {
    let mut request = http::Request::get(&target.path);
    let given = |name: &str| target.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
    if !given("host") {
        request = request.header("Host", format!("{}:{}", bracketed(&target.host), target.port));
    }
    if !given("user-agent") {
        request = request.header("User-Agent", agent);
    }
    if !given("accept") {
        request = request.header("Accept", "*/*");
    }
    for (name, value) in &target.headers {
        request = request.header(name, value);
    }
    let request = request.body(Empty::new()).map_err(|e| e.to_string())?;
    let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
    let status = response.status().as_u16();
    let location = response
        .headers()
        .get(http::header::LOCATION)
        .and_then(|v| v.to_str().ok());
    let location = location.map(str::to_owned);
    let mut body = response.into_body();
    let mut kept = Vec::new();
    while kept.len() < MAX_BODY
        && let Some(Ok(frame)) = body.frame().await
    {
        if let Some(data) = frame.data_ref() {
            kept.extend_from_slice(&data[..data.len().min(MAX_BODY - kept.len())]);
        }
    }
    Ok(Answer {
        status,
        body: String::from_utf8_lossy(&kept).into_owned(),
        location,
    })
}

/// Probes do not check certificates, as upstream.
fn unverified_tls() -> Arc<rustls::ClientConfig> {
    static CONFIG: std::sync::OnceLock<Arc<rustls::ClientConfig>> = std::sync::OnceLock::new();
    let make = || {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring's provider has the default TLS versions")
            .dangerous()
            .with_custom_certificate_verifier(kobune_pki::any_server())
            .with_no_client_auth();
        Arc::new(config)
    };
    CONFIG.get_or_init(make).clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn server(answers: Vec<&'static str>) -> u16 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut buffer = [0; 1024];
                let _ = stream.read(&mut buffer).await;
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        port
    }

    fn target(port: u16) -> Target {
        Target::of(
            &HTTPGetAction {
                path: Some("x".into()),
                ..Default::default()
            },
            "127.0.0.1",
            port,
        )
    }

    #[tokio::test]
    async fn answers_and_redirects_are_followed() {
        let port = server(vec![
            "HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        ])
        .await;
        let answer = get(&target(port), Duration::from_secs(5), "t").await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    }

    #[tokio::test]
    async fn a_closed_port_is_said_as_upstream_says_it() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let error = get(&target(port), Duration::from_secs(5), "t").await.unwrap_err();
        let expected = format!(
            "Get \"http://127.0.0.1:{port}/x\": dial tcp 127.0.0.1:{port}: connect: connection refused"
        );
        assert_eq!(error, expected);
    }
}
