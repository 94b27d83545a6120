//! The server on a socket: TLS, identities, both versions of HTTP, and its end.

mod support;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kobune_apiserver::{ApiServer, Config};
use kobune_pki::{Leaf, client_config};
use kobune_store::{Options, Store, memory_backend::MemoryBackend};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

struct Running {
    address: std::net::SocketAddr,
    config: Config,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

async fn run() -> Running {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = support::config(folder.path());
    let store = Store::open(Box::new(MemoryBackend::new()), Options::default())
        .await
        .expect("a store");
    let server = ApiServer::new(config.clone(), store);
    server.bootstrap().await.expect("the first objects");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let stop = CancellationToken::new();
    let token = stop.clone();
    let task = tokio::spawn(async move { server.serve(listener, token).await.expect("an orderly end") });
    Running {
        address,
        config,
        stop,
        task,
    }
}

impl Running {
    fn tls(&self, user: Option<(&str, &[&str])>, protocol: &str) -> Arc<ClientConfig> {
        let authorities = &self.config.authorities;
        let own = user.map(|(user, groups)| {
            authorities
                .client
                .issue(&Leaf::client(user, groups))
                .expect("a certificate")
        });
        client_config(authorities.server.certificate_pem(), own.as_ref(), &[protocol])
            .expect("a configuration")
    }

    async fn connect(&self, tls: Arc<ClientConfig>) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.address).await.expect("a connection");
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        TlsConnector::from(tls).connect(name, stream).await.expect("TLS")
    }

    async fn get(&self, user: Option<(&str, &[&str])>, path: &str) -> (StatusCode, Bytes) {
        let stream = self.connect(self.tls(user, "http/1.1")).await;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .expect("HTTP");
        tokio::spawn(connection);
        let request = Request::get(path)
            .header("host", "x")
            .body(Empty::<Bytes>::new())
            .expect("a request");
        let response = sender.send_request(request).await.expect("an answer");
        let code = response.status();
        (
            code,
            response.into_body().collect().await.expect("a body").to_bytes(),
        )
    }
}

#[tokio::test]
async fn a_certificate_is_an_identity() {
    let server = run().await;
    let admin: Option<(&str, &[&str])> = Some(("admin", &["system:masters"]));
    assert_eq!(server.get(admin, "/api/v1/pods").await.0, 200);
    assert_eq!(
        server.get(Some(("jane", &["people"])), "/api/v1/pods").await.0,
        403
    );
    assert_eq!(server.get(Some(("jane", &["people"])), "/apis").await.0, 200);
    assert_eq!(server.get(None, "/api/v1/pods").await.0, 401);
    assert_eq!(server.get(None, "/readyz").await.0, 200);
}

#[tokio::test]
async fn http2_serves_many_requests_at_once() {
    let server = run().await;
    let tls = server.tls(Some(("admin", &["system:masters"])), "h2");
    let stream = server.connect(tls).await;
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("HTTP/2");
    tokio::spawn(connection);
    let mut answers = Vec::new();
    for _ in 0..50 {
        let mut sender = sender.clone();
        answers.push(tokio::spawn(async move {
            let uri = "https://127.0.0.1/api/v1/namespaces";
            let request = Request::get(uri).body(Empty::<Bytes>::new()).expect("a request");
            sender.send_request(request).await.expect("an answer").status()
        }));
    }
    for answer in answers {
        assert_eq!(answer.await.expect("no panic"), 200);
    }
}

#[tokio::test]
async fn a_shutdown_ends_watches_and_then_the_server() {
    let server = run().await;
    let stream = server
        .connect(server.tls(Some(("admin", &["system:masters"])), "http/1.1"))
        .await;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .expect("HTTP");
    tokio::spawn(connection);
    let request = Request::get("/api/v1/pods?watch=1")
        .header("host", "x")
        .body(Empty::<Bytes>::new());
    let response = sender
        .send_request(request.expect("a request"))
        .await
        .expect("an answer");
    assert_eq!(response.status(), 200);
    server.stop.cancel();
    let end = tokio::time::timeout(Duration::from_secs(5), response.into_body().collect()).await;
    assert!(
        end.expect("in time")
            .expect("an orderly end")
            .to_bytes()
            .is_empty()
    );
    tokio::time::timeout(Duration::from_secs(5), server.task)
        .await
        .expect("in time")
        .expect("no panic");
}

#[tokio::test]
async fn half_open_tls_and_garbage_hold_up_nobody() {
    let server = run().await;
    // Connections that never speak.
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(server.address).await.expect("a connection"));
    }
    let mut garbage = TcpStream::connect(server.address).await.expect("a connection");
    tokio::io::AsyncWriteExt::write_all(&mut garbage, &[0xff; 512])
        .await
        .expect("a write");
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(5), garbage.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "garbage is hung up on");
    assert_eq!(server.get(None, "/livez").await.0, 200);
}
