//! port-forward: connections to the loopback of a pod.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode};
use hyper::body::Incoming;
use tokio::net::TcpStream;

use super::route::{Pairs, Target};
use super::streaming::answered;
use super::{Answer, Refusal, Server};
use crate::streams::{Dial, port_forward};

impl Server {
    pub(super) async fn port_forward(
        &self,
        mut request: Request<Incoming>,
        target: &Target,
        pairs: &Pairs,
    ) -> Result<Answer, Refusal> {
        let pod = self.pod(target)?;
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let internal =
            |e: kobune_runtime::Error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string());
        let sandboxes = self.context.runtime.sandboxes().await.map_err(internal)?;
        let sandbox = sandboxes.into_iter().find(|s| s.id == uid).ok_or_else(|| {
            Refusal::new(
                StatusCode::NOT_FOUND,
                format!("pod {:?} has no sandbox", target.pod),
            )
        })?;
        let ports = ports(pairs);
        answered(port_forward(&mut request, ports, dial(sandbox.network_namespace)))
    }
}

fn ports(pairs: &Pairs) -> Vec<u16> {
    let named = pairs.iter().filter(|(n, _)| n == "port" || n == "ports");
    named
        .flat_map(|(_, v)| v.split(','))
        .filter_map(|p| p.parse().ok())
        .collect()
}

/// Connects to the pod's own loopback: in its network namespace, or the node's.
fn dial(namespace: Option<PathBuf>) -> Dial {
    Arc::new(move |port| {
        let namespace = namespace.clone();
        Box::pin(async move {
            let Some(namespace) = namespace else {
                return TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
            };
            let (to, from) = tokio::sync::oneshot::channel();
            // A thread of its own: it stays in the namespace it entered, and ends.
            std::thread::Builder::new()
                .name("port-forward".into())
                .spawn(move || drop(to.send(connect_in(&namespace, port))))?;
            let stream = from
                .await
                .map_err(|_| io::Error::other("connecting was given up"))??;
            stream.set_nonblocking(true)?;
            TcpStream::from_std(stream)
        })
    })
}

fn connect_in(namespace: &std::path::Path, port: u16) -> io::Result<std::net::TcpStream> {
    let file = std::fs::File::open(namespace)?;
    nix::sched::setns(&file, nix::sched::CloneFlags::CLONE_NEWNET)?;
    let timeout = Duration::from_secs(10);
    let connect =
        |ip: std::net::IpAddr| std::net::TcpStream::connect_timeout(&SocketAddr::new(ip, port), timeout);
    // As `localhost` is resolved: IPv4 first.
    connect(Ipv4Addr::LOCALHOST.into())
        .or_else(|first| connect(Ipv6Addr::LOCALHOST.into()).map_err(|_| first))
}
