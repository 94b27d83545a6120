//! The connection to a host: plain or with TLS, directly or through a proxy.

use std::sync::{Arc, OnceLock};

use http::header::{HOST, PROXY_AUTHORIZATION};
use http::{Request, Uri};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use kobune_runtime::{Error, Result};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::config::Tls;
use super::proxy::{Proxies, Proxy};
use super::tls;

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The way to a URL's host.
pub(crate) struct Route {
    secure: bool,
    host: String,
    port: u16,
    proxy: Option<Proxy>,
}

/// A TLS configuration that is made when it is first needed: a plain mirror needs none.
#[derive(Default)]
pub(crate) struct LazyTls {
    tls: Tls,
    config: OnceLock<Arc<ClientConfig>>,
}

impl LazyTls {
    pub(crate) fn new(tls: Tls) -> Self {
        Self {
            tls,
            config: OnceLock::new(),
        }
    }

    fn config(&self) -> Result<Arc<ClientConfig>> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let config = tls::config(&self.tls)?;
        Ok(Arc::clone(self.config.get_or_init(|| config)))
    }

    async fn over(&self, host: &str, stream: impl Stream + 'static) -> Result<Box<dyn Stream>> {
        let doing = || format!("connecting to {host}");
        let name = ServerName::try_from(host.to_owned()).map_err(|error| Error::other(doing(), error))?;
        let connector = tokio_rustls::TlsConnector::from(self.config()?);
        let stream = connector.connect(name, stream).await;
        Ok(Box::new(stream.map_err(|error| Error::other(doing(), error))?))
    }
}

impl Route {
    pub(crate) fn to(uri: &Uri, proxies: &Proxies) -> Result<Self> {
        let host = uri
            .host()
            .ok_or_else(|| Error::other(format!("connecting to {uri}"), "the URL has no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let secure = uri.scheme() != Some(&http::uri::Scheme::HTTP);
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        Ok(Self {
            proxy: proxies.for_host(secure, &host, port)?,
            secure,
            host,
            port,
        })
    }

    /// The proxy that wants to see whole URLs, and who we are.
    pub(crate) fn forwarder(&self) -> Option<&Proxy> {
        self.proxy.as_ref().filter(|_| !self.secure)
    }

    pub(crate) async fn connect(&self, tls: &LazyTls) -> Result<Box<dyn Stream>> {
        let stream: Box<dyn Stream> = match &self.proxy {
            None => dial(&self.host, self.port).await?,
            Some(proxy) => {
                let stream = self.reach(proxy).await?;
                if !self.secure {
                    return Ok(stream);
                }
                self.tunnel(proxy, stream).await?
            }
        };
        match self.secure {
            true => tls.over(&self.host, stream).await,
            false => Ok(stream),
        }
    }

    async fn reach(&self, proxy: &Proxy) -> Result<Box<dyn Stream>> {
        let stream = dial(&proxy.host, proxy.port)
            .await
            .map_err(|error| Error::other("reaching the proxy", error))?;
        match proxy.secure {
            // The registry's own authority and client certificate are not for the proxy.
            true => LazyTls::default().over(&proxy.host, stream).await,
            false => Ok(stream),
        }
    }

    /// Asks the proxy to pass bytes on without looking at them.
    async fn tunnel(&self, proxy: &Proxy, stream: Box<dyn Stream>) -> Result<Box<dyn Stream>> {
        let target = match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        };
        let doing = || format!("asking the proxy {}:{} for {target}", proxy.host, proxy.port);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Error::other(doing(), error))?;
        tokio::spawn(connection.with_upgrades());
        let mut request = Request::connect(&target).header(HOST, &target);
        if let Some(authorization) = &proxy.authorization {
            request = request.header(PROXY_AUTHORIZATION, authorization);
        }
        let request = request
            .body(Empty::<bytes::Bytes>::new())
            .map_err(|error| Error::other(doing(), error))?;
        let answer = sender.send_request(request).await;
        let answer = answer.map_err(|error| Error::other(doing(), error))?;
        if !answer.status().is_success() {
            return Err(Error::other(doing(), format!("it answered {}", answer.status())));
        }
        let upgraded = hyper::upgrade::on(answer)
            .await
            .map_err(|error| Error::other(doing(), error))?;
        Ok(Box::new(TokioIo::new(upgraded)))
    }
}

async fn dial(host: &str, port: u16) -> Result<Box<dyn Stream>> {
    let stream = TcpStream::connect((host, port))
        .await
        .map_err(|error| Error::other(format!("connecting to {host}:{port}"), error))?;
    let _ = stream.set_nodelay(true);
    Ok(Box::new(stream))
}
