//! An API server in the test's process, over a store in memory.
#![allow(dead_code, reason = "every test file uses a part of it")]

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use kobune_apiserver::{ApiServer, Body, Config};
use kobune_pki::{Authorities, Identity, Leaf, SubjectAltName};
use kobune_store::{Options, Store, memory_backend::MemoryBackend};
use serde_json::Value;

/// A server, and who asks it.
#[derive(Clone)]
pub struct Api {
    pub server: ApiServer,
    pub who: Identity,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub code: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("no JSON: {:?}", self.bytes))
    }

    /// The object of an answer that must be a success.
    pub fn ok(&self) -> Value {
        assert!(self.code.is_success(), "{} {:?}", self.code, self.bytes);
        self.json()
    }

    /// The Status of an answer that must be this failure.
    pub fn fails(&self, code: u16, reason: &str) -> Value {
        assert_eq!(self.code.as_u16(), code, "{:?}", self.bytes);
        let status = self.json();
        assert_eq!(status["kind"], "Status");
        assert_eq!(status["reason"].as_str().unwrap_or(""), reason);
        status
    }
}

pub fn config(folder: &std::path::Path) -> Config {
    kobune_pki::install_crypto();
    let authorities = Authorities::load_or_create(folder).expect("keys in a new folder");
    let names = vec![
        SubjectAltName::parse("127.0.0.1"),
        SubjectAltName::parse("localhost"),
    ];
    let own = authorities
        .server
        .issue(&Leaf::server("kube-apiserver", names))
        .expect("a certificate");
    let client = authorities
        .client
        .issue(&Leaf::client("kube-apiserver", &["system:masters"]))
        .expect("a certificate");
    let tls = kobune_pki::server_config(&own, authorities.client.certificate_pem(), &["h2", "http/1.1"]);
    let kubelet =
        kobune_pki::client_config(authorities.server.certificate_pem(), Some(&client), &["http/1.1"]);
    Config {
        bind: "127.0.0.1:16443".parse().expect("an address"),
        advertise: "192.0.2.1".parse().expect("an address"),
        service_cidr: "10.43.0.0/16".parse().expect("a range"),
        node_port_range: 30000..=32767,
        authorities: authorities.into(),
        tls: tls.expect("a configuration"),
        kubelet_client_tls: kubelet.expect("a configuration"),
        version: "v1.36.2+kobune1".to_owned(),
        issuer: "https://kubernetes.default.svc.cluster.local".to_owned(),
    }
}

impl Api {
    /// A cluster as it is when it has just been made.
    pub async fn new() -> Self {
        Self::over(Options::default()).await
    }

    /// The same over a store with these options.
    pub async fn over(options: Options) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let backend = Box::new(MemoryBackend::new());
        let store = Store::open(backend, options).await.expect("an empty store");
        let server = ApiServer::new(config(folder.path()), store);
        server.bootstrap().await.expect("the first objects");
        Self {
            server,
            who: Identity::new("admin", &["system:masters", "system:authenticated"]),
        }
    }

    /// The same server, asked by somebody else.
    pub fn by(&self, user: &str, groups: &[&str]) -> Self {
        Self {
            server: self.server.clone(),
            who: Identity::new(user, groups),
        }
    }

    /// The response, its body not read yet.
    pub async fn open(&self, request: Request<Bytes>) -> http::Response<Body> {
        self.server.handle(self.who.clone(), request.map(Full::new)).await
    }

    pub async fn send(&self, request: Request<Bytes>) -> Answer {
        let (parts, body) = self.open(request).await.into_parts();
        let bytes = body.collect().await.expect("a whole body").to_bytes();
        Answer {
            code: parts.status,
            headers: parts.headers,
            bytes,
        }
    }

    pub async fn with(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).expect("a request")).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.with(Method::GET, path, &[], Bytes::new()).await
    }

    pub async fn post(&self, path: &str, object: &Value) -> Answer {
        self.with(
            Method::POST,
            path,
            &[("content-type", "application/json")],
            object.to_string(),
        )
        .await
    }

    pub async fn put(&self, path: &str, object: &Value) -> Answer {
        self.with(
            Method::PUT,
            path,
            &[("content-type", "application/json")],
            object.to_string(),
        )
        .await
    }

    pub async fn merge(&self, path: &str, patch: &Value) -> Answer {
        let media = [("content-type", "application/merge-patch+json")];
        self.with(Method::PATCH, path, &media, patch.to_string()).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.with(Method::DELETE, path, &[], Bytes::new()).await
    }

    pub async fn delete_with(&self, path: &str, options: &Value) -> Answer {
        let media = [("content-type", "application/json")];
        self.with(Method::DELETE, path, &media, options.to_string()).await
    }

    /// Follows a watch.
    pub async fn watch(&self, path: &str) -> Events {
        self.watch_as(path, "application/json").await
    }

    /// Follows a watch in the form that `accept` asks for.
    pub async fn watch_as(&self, path: &str, accept: &str) -> Events {
        let request = Request::get(path).header("accept", accept);
        let request = request.body(Bytes::new()).expect("a request");
        let response = self.open(request).await;
        assert_eq!(response.status(), StatusCode::OK);
        Events {
            body: response.into_body(),
            read: Vec::new(),
        }
    }
}

/// The events of a watch.
pub struct Events {
    body: Body,
    read: Vec<u8>,
}

impl Events {
    /// The next event; `None` at the end.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).expect("an event"));
            }
            let frame = tokio::time::timeout(std::time::Duration::from_secs(10), self.body.frame());
            let frame = frame.await.expect("an event in time")?;
            self.read
                .extend_from_slice(&frame.expect("a whole body").into_data().expect("data"));
        }
    }

    /// The next event's type and its object's name.
    pub async fn step(&mut self) -> (String, String) {
        let event = self.next().await.expect("an event");
        let name = event["object"]["metadata"]["name"].as_str().unwrap_or("");
        (event["type"].as_str().unwrap_or("").to_owned(), name.to_owned())
    }
}
