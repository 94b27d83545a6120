//! The kubelet's HTTPS server: logs, exec, attach, port-forward, and what there is to see.
//!
//! Only the API server (and masters) may ask; it has done authorization for its own client already.

mod logs;
mod port_forward;
mod route;
mod stats;
mod streaming;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kobune_client::Cache;
use kobune_client::k8s_openapi::api::core::v1::Pod;
use kobune_pki::identity_of;
use kobune_runtime::{Container, ContainerState};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use self::route::{Route, Target};
use crate::context::Context;

type Body = UnsyncBoxBody<Bytes, io::Error>;
type Answer = Response<Body>;

/// A refusal: status and text, as upstream's kubelet answers.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Refusal {
    status: StatusCode,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Refusal {
            status,
            message: message.into(),
        }
    }
}

struct Server {
    context: Arc<Context>,
    pods: Cache<Pod>,
}

/// The listening socket; bound before the node says that it is ready.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves until cancelled.
pub async fn serve(
    context: Arc<Context>,
    pods: Cache<Pod>,
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    cancel: CancellationToken,
) {
    // An upgrade to a stream needs HTTP/1.1.
    let mut tls = (*tls).clone();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let server = Arc::new(Server { context, pods });
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = cancel.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let (server, acceptor, cancel) = (server.clone(), acceptor.clone(), cancel.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = server.connection(stream, acceptor) => {}
                        () = cancel.cancelled() => {}
                    }
                });
            }
            Err(error) => {
                // Out of descriptors, say: the next accept would fail at once again.
                tracing::warn!(%error, "accepting a connection to the kubelet failed");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

impl Server {
    async fn connection(self: Arc<Self>, stream: TcpStream, acceptor: TlsAcceptor) {
        let handshake = tokio::time::timeout(std::time::Duration::from_secs(10), acceptor.accept(stream));
        let Ok(Ok(stream)) = handshake.await else { return };
        let allowed = allowed(stream.get_ref().1);
        let service = service_fn(move |request| {
            let server = self.clone();
            async move { Ok::<_, std::convert::Infallible>(server.answer(request, allowed).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to the kubelet ended");
        }
    }

    async fn answer(&self, request: Request<Incoming>, allowed: Allowed) -> Answer {
        let refused = match allowed {
            Allowed::Yes => None,
            Allowed::NoCertificate => Some(Refusal::new(StatusCode::UNAUTHORIZED, "Unauthorized")),
            Allowed::No => Some(Refusal::new(StatusCode::FORBIDDEN, "Forbidden")),
        };
        let answered = match refused {
            Some(refused) => Err(refused),
            None => self.routed(request).await,
        };
        answered.unwrap_or_else(|r| text(r.status, r.message + "\n"))
    }

    async fn routed(&self, request: Request<Incoming>) -> Result<Answer, Refusal> {
        let route = route::route(request.method(), request.uri().path());
        let pairs = route::query(request.uri().query());
        match route {
            None => Err(Refusal::new(StatusCode::NOT_FOUND, "404 page not found")),
            Some(Route::Health) => Ok(text(StatusCode::OK, "ok".into())),
            Some(Route::Pods) => Ok(self.pod_list()),
            Some(Route::Summary) => Ok(json(&stats::summary(&self.context).await)),
            Some(Route::Logs(target)) => self.logs(&target, &pairs).await,
            Some(Route::Exec(target)) => self.exec(request, &target, &pairs).await,
            Some(Route::Attach(target)) => self.attach(request, &target, &pairs).await,
            Some(Route::PortForward(target)) => self.port_forward(request, &target, &pairs).await,
            Some(Route::Run(target)) => self.run(&target, &pairs).await,
        }
    }

    fn pod_list(&self) -> Answer {
        let items: Vec<Arc<Pod>> = self.pods.list();
        let list = serde_json::json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items});
        json(&list)
    }

    fn pod(&self, target: &Target) -> Result<Arc<Pod>, Refusal> {
        let found = self.pods.get(&target.namespace, &target.pod).filter(|p| {
            target
                .uid
                .as_ref()
                .is_none_or(|uid| p.metadata.uid.as_ref() == Some(uid))
        });
        found.ok_or_else(|| {
            let message = format!(
                "pod {:?} not found in namespace {:?}",
                target.pod, target.namespace
            );
            Refusal::new(StatusCode::NOT_FOUND, message)
        })
    }

    /// The newest attempt of the container.
    async fn container(&self, target: &Target) -> Result<Container, Refusal> {
        let pod = self.pod(target)?;
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let internal =
            |e: kobune_runtime::Error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string());
        let all = self.context.runtime.containers().await.map_err(internal)?;
        let ours = all
            .into_iter()
            .filter(|c| c.sandbox_id == uid && c.name == target.container);
        ours.max_by_key(|c| (c.attempt, c.created_at)).ok_or_else(|| {
            Refusal::new(
                StatusCode::NOT_FOUND,
                format!("container not found ({:?})", target.container),
            )
        })
    }

    async fn running(&self, target: &Target) -> Result<Container, Refusal> {
        let container = self.container(target).await?;
        match container.state {
            ContainerState::Running { .. } => Ok(container),
            _ => Err(Refusal::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("container not running ({})", container.id),
            )),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Allowed {
    Yes,
    NoCertificate,
    No,
}

/// Who shows a certificate of the cluster's CA is known; masters and the API server are let in.
fn allowed(connection: &rustls::ServerConnection) -> Allowed {
    let Some(certificate) = connection.peer_certificates().and_then(|c| c.first()) else {
        return Allowed::NoCertificate;
    };
    match identity_of(certificate) {
        Ok(identity) if identity.is_in("system:masters") || identity.user == "kube-apiserver" => Allowed::Yes,
        _ => Allowed::No,
    }
}

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

fn text(status: StatusCode, text: String) -> Answer {
    let mut answer = Response::new(full(text));
    *answer.status_mut() = status;
    let plain = http::HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(http::header::CONTENT_TYPE, plain);
    answer
}

fn json(value: &serde_json::Value) -> Answer {
    let mut answer = Response::new(full(value.to_string()));
    let json = http::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(http::header::CONTENT_TYPE, json);
    answer
}
