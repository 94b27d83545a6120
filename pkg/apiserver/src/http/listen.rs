//! The socket: TLS, HTTP/1.1 and HTTP/2, limits for slow clients, and draining.
//!
//! ```text
//! accept ── handshake (10 s) ── ALPN ─┬─ h2 ───── requests
//!                                     └─ http/1.1 ─ requests, upgrades
//! cancelled: stop accepting ── finish what runs (20 s) ── drop the rest
//! ```

use std::convert::Infallible;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ApiServer;
use crate::authn::Peer;

/// How long a client may take for its TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long a client may take for a request's header, and how long a quiet connection is kept.
const HEADER: Duration = Duration::from_secs(90);

/// The largest header, in bytes; Go's default.
const MAX_HEADER: usize = 1024 * 1024;

/// Requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 250;

/// How long requests that are under way may take after the shutdown began.
const DRAIN: Duration = Duration::from_secs(20);

/// A connection whose peer has gone is found out by the kernel: quiet for this many seconds, then
/// asked so many times at the same distance.
const KEEPALIVE_SECONDS: u32 = 60;
const KEEPALIVE_PROBES: u32 = 3;

/// Serves until `shutdown` is cancelled and what was under way has ended.
pub async fn run(
    server: ApiServer,
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    shutdown: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(tls);
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                let (server, acceptor) = (server.clone(), acceptor.clone());
                let shutdown = shutdown.clone();
                connections.spawn(async move {
                    if let Err(error) = connection(server, acceptor, stream, address, shutdown).await {
                        tracing::debug!(%address, %error, "connection ended");
                    }
                });
            }
            Err(error) => {
                // Out of file descriptors, mostly: others must close first, so trying again at once
                // would only burn the processor.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(DRAIN, connections.wait()).await.is_err() {
        tracing::warn!(left = connections.len(), "some requests did not end in time");
    }
}

/// Why a connection ended before its client wanted it to.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error("the TLS handshake took too long")]
    SlowHandshake,
    #[error("TLS handshake")]
    Handshake(#[source] std::io::Error),
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
}

async fn connection(
    server: ApiServer,
    acceptor: TlsAcceptor,
    stream: TcpStream,
    address: SocketAddr,
    shutdown: CancellationToken,
) -> Result<(), ConnectionError> {
    tune(&stream);
    let stream = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream))
        .await
        .map_err(|_| ConnectionError::SlowHandshake)?
        .map_err(ConnectionError::Handshake)?;
    let (_, session) = stream.get_ref();
    let peer = Arc::new(Peer::new(address, session.peer_certificates()));
    if session.alpn_protocol() == Some(b"h2") {
        http2(server, peer, stream, shutdown).await
    } else {
        http1(server, peer, stream, shutdown).await
    }
}

async fn http1(
    server: ApiServer,
    peer: Arc<Peer>,
    stream: TlsStream<TcpStream>,
    shutdown: CancellationToken,
) -> Result<(), ConnectionError> {
    let service = service_fn(move |request| respond(server.clone(), peer.clone(), request));
    let connection = http1_rules().serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection.with_upgrades());
    tokio::select! {
        ended = connection.as_mut() => return Ok(ended?),
        () = shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    Ok(connection.await?)
}

/// Not `pipeline_flush`: hyper then takes all of a body into memory, however slowly the client reads.
fn http1_rules() -> hyper::server::conn::http1::Builder {
    let mut rules = hyper::server::conn::http1::Builder::new();
    rules
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER)
        .max_buf_size(MAX_HEADER);
    rules
}

async fn http2(
    server: ApiServer,
    peer: Arc<Peer>,
    stream: TlsStream<TcpStream>,
    shutdown: CancellationToken,
) -> Result<(), ConnectionError> {
    let service = service_fn(move |request| respond(server.clone(), peer.clone(), request));
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER as u32)
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(4 * 1024 * 1024);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        ended = connection.as_mut() => return Ok(ended?),
        () = shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    Ok(connection.await?)
}

async fn respond(
    server: ApiServer,
    peer: Arc<Peer>,
    request: Request<Incoming>,
) -> Result<http::Response<crate::Body>, Infallible> {
    let head = request.method() == http::Method::HEAD;
    let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
    let response = server.answer_peer(&peer, request).await;
    Ok(if head { without_body(response) } else { response })
}

/// The answer to a HEAD: hyper leaves the body out over HTTP/1.1 only.
fn without_body(response: http::Response<crate::Body>) -> http::Response<crate::Body> {
    let (mut parts, body) = response.into_parts();
    if let Some(length) = body.known_len() {
        parts.headers.insert(http::header::CONTENT_LENGTH, length.into());
    }
    http::Response::from_parts(parts, crate::Body::empty())
}

/// Small answers leave at once, and a peer that has vanished is noticed without timers of ours.
/// A socket that refuses an option still works.
fn tune(stream: &TcpStream) {
    use nix::sys::socket::{setsockopt, sockopt};
    let _ = stream.set_nodelay(true);
    let fd = stream.as_fd();
    let _ = setsockopt(&fd, sockopt::KeepAlive, &true);
    let _ = setsockopt(&fd, sockopt::TcpKeepIdle, &KEEPALIVE_SECONDS);
    let _ = setsockopt(&fd, sockopt::TcpKeepInterval, &KEEPALIVE_SECONDS);
    let _ = setsockopt(&fd, sockopt::TcpKeepCount, &KEEPALIVE_PROBES);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use bytes::Bytes;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::Body;

    const FRAME: usize = 64 * 1024;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_body_waits_for_a_slow_client() {
        let made = Arc::new(AtomicUsize::new(0));
        let (mut client, server) = tokio::io::duplex(FRAME);
        let counter = made.clone();
        let service = service_fn(move |_: Request<Incoming>| {
            let counter = counter.clone();
            let frames = futures_util::stream::repeat_with(move || {
                counter.fetch_add(1, SeqCst);
                Ok(Bytes::from_static(&[b'x'; FRAME]))
            });
            let body = Body::stream(Box::pin(futures_util::StreamExt::take(frames, 1000)));
            async { Ok::<_, Infallible>(http::Response::new(body)) }
        });
        let serving = tokio::spawn(
            http1_rules()
                .serve_connection(TokioIo::new(server), service)
                .into_future(),
        );
        let request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
        client.write_all(request).await.expect("the server reads");
        client.read_u8().await.expect("the server answers");
        // The next byte is there only after the server had its turn; it would have made them all in one.
        for _ in 0..8 {
            client.read_u8().await.expect("more of it");
            tokio::task::yield_now().await;
        }
        let ahead = made.load(SeqCst);
        assert!(
            ahead <= 40,
            "{ahead} frames wait in memory for a client that reads nothing"
        );
        serving.abort();
    }
}
