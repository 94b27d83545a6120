//! The pods of this node.
//!
//! To learn what happens to a pod, open `pod/plan.rs` (what is done next), `pod/status.rs` (what is
//! reported) and `pod/worker.rs` (the task that carries it out); how news reach it, `dispatch.rs`;
//! what the Node shows, `node/`.
//!
//! State and channels: each pod has one worker, which owns all that is known of the pod here; a
//! `mailbox` that never blocks and never loses brings it news; operations run in tasks of their own
//! and come back as outcomes.
//!
//! **Invariant**: a container is started, stopped or removed only because its pod's plan says so, and
//! the plan is a pure function of the object, the runtime's answers and the time. Deliberately absent:
//! a local copy of pods on disk, polling of the runtime, and any cache of the API but the pods of this
//! node, the Services, and the ConfigMaps and Secrets these pods refer to.

mod cgroup;
pub mod config;
mod context;
mod dispatch;
mod exec;
pub mod image;
pub mod logs;
mod mailbox;
pub mod network;
pub mod node;
mod objects;
pub mod pod;
pub mod probe;
mod server;
pub mod streams;
mod tokens;
pub mod volume;

pub use config::KubeletConfig;

use std::sync::Arc;

use kobune_client::k8s_openapi::api::core::v1::{Pod, Service};
use kobune_client::{Cache, Caches, Recorder, kube};
use kobune_network::NodeNetwork;
use kobune_runtime::Runtime;
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::network::PodNetwork;
use crate::node::machine::{self, Machine};

/// Why the kubelet could not start.
#[derive(Debug, thiserror::Error)]
pub enum KubeletError {
    /// Folders of the configuration.
    #[error("making the folder {path}")]
    Folder {
        /// Which.
        path: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The server's address is taken, say.
    #[error("listening on {address}")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// cgroups of this machine.
    #[error("looking for the cgroup mounts")]
    Cgroups(#[source] std::io::Error),
}

/// Runs this node's pods until cancelled; their containers go on running then, and are adopted by the
/// next run. `ready` is told when the Node was first reported as ready.
pub async fn run(
    config: KubeletConfig,
    client: kube::Client,
    caches: Caches,
    runtime: Arc<dyn Runtime>,
    network: Arc<NodeNetwork>,
    ready: oneshot::Sender<()>,
    cancel: CancellationToken,
) -> Result<(), KubeletError> {
    let network = Arc::new(network::Node(network));
    run_on(config, client, caches, runtime, network, ready, cancel).await
}

/// [`run`] on any network, for tests.
pub async fn run_on(
    config: KubeletConfig,
    client: kube::Client,
    caches: Caches,
    runtime: Arc<dyn Runtime>,
    network: Arc<dyn PodNetwork>,
    ready: oneshot::Sender<()>,
    cancel: CancellationToken,
) -> Result<(), KubeletError> {
    for dir in [&config.root_dir, &config.log_dir] {
        std::fs::create_dir_all(dir).map_err(|source| KubeletError::Folder {
            path: dir.display().to_string(),
            source,
        })?;
    }
    let machine = Machine::look(&config.root_dir);
    let pods = caches.get_selected::<Pod>(&format!("spec.nodeName={}", config.node_name));
    let resolv_conf = std::fs::read_to_string(&config.resolv_conf).unwrap_or_default();
    let context = Arc::new(Context {
        recorder: Recorder::new(client.clone(), "kubelet", &config.node_name),
        objects: objects::Objects::new(client.clone()),
        services: caches.get::<Service>(),
        puller: image::pull::Puller::new(image::access::Access::open(
            config.root_dir.join("image-pulls.json"),
        )),
        cgroups: cgroup::Cgroups::detect().map_err(KubeletError::Cgroups)?,
        permits: Semaphore::new(config.parallel_starts),
        memory: i64::try_from(machine.memory).unwrap_or(i64::MAX),
        allocatable: node::object::allocatable(&config, &machine),
        lowest_oom_score: machine::lowest_oom_score(),
        resolver: pod::etc::parse_resolver(&resolv_conf),
        runtime_name: "containerd".into(),
        client,
        runtime,
        network,
        config,
    });
    let server = serve(context.clone(), pods.clone(), cancel.clone()).await?;
    tokio::join!(
        server,
        node::run(context.clone(), machine, ready, cancel.clone()),
        dispatch::run(context, pods, cancel),
    );
    Ok(())
}

/// The server, listening already; without TLS there is none.
async fn serve(
    context: Arc<Context>,
    pods: Cache<Pod>,
    cancel: CancellationToken,
) -> Result<impl Future<Output = ()>, KubeletError> {
    let config = &context.config;
    let listening = match &config.tls {
        Some(tls) => {
            let address = std::net::SocketAddr::new(config.node_ip, config.port);
            let listener = server::bind(address)
                .await
                .map_err(|source| KubeletError::Listen { address, source })?;
            Some((listener, tls.clone()))
        }
        None => None,
    };
    Ok(async move {
        if let Some((listener, tls)) = listening {
            server::serve(context, pods, listener, tls, cancel).await;
        }
    })
}
