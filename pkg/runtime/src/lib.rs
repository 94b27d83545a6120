//! What the kubelet needs of a container runtime: one trait, its data types, and a fake.
//!
//! The trait follows the shape of the Container Runtime Interface (`k8s.io/cri-api`) where that is
//! the field's vocabulary, without its gRPC: a *sandbox* is what the containers of one pod share
//! (network, IPC and UTS namespaces, a cgroup parent), a *container* is one process tree in it.
//!
//! **Invariant**: everything here is idempotent where a retry is possible: removing what is gone,
//! stopping what is stopped and creating what exists under the same id succeed.

mod container;
mod error;
pub mod fake;
mod image;
mod sandbox;
mod stream;

pub use container::*;
pub use error::{Error, Result};
pub use image::*;
pub use sandbox::*;
pub use stream::*;

use std::time::Duration;

/// What is known of the runtime itself; reported in `Node.status.nodeInfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// For example `containerd`.
    pub name: String,
    /// For example `1.6.20`.
    pub version: String,
}

/// A container runtime on this node.
#[async_trait::async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// Name and version; an error means that the runtime cannot be reached now.
    async fn version(&self) -> Result<Version>;

    /// Makes the namespaces and the cgroup of a pod, pinned so that they outlive this process.
    async fn create_sandbox(&self, spec: &SandboxSpec) -> Result<Sandbox>;
    /// Removes a sandbox and everything in it; the pod's network must have been detached.
    async fn remove_sandbox(&self, id: &str) -> Result<()>;
    /// All sandboxes of ours, also those of an earlier run of this program.
    async fn sandboxes(&self) -> Result<Vec<Sandbox>>;

    /// Prepares a container (snapshot, spec, log FIFOs); its process does not run yet.
    /// The answer is the container's id.
    async fn create_container(&self, sandbox: &Sandbox, spec: &ContainerSpec) -> Result<String>;
    /// Starts the process of a created container.
    async fn start_container(&self, id: &str) -> Result<()>;
    /// Sends the stop signal, waits at most `grace`, then kills. Returns when the process is gone
    /// and its output is in the log.
    async fn stop_container(&self, id: &str, grace: Duration) -> Result<()>;
    /// Deletes a stopped container, its snapshot and its FIFOs (not its log).
    async fn remove_container(&self, id: &str) -> Result<()>;
    /// All containers of ours with their state.
    async fn containers(&self) -> Result<Vec<Container>>;
    /// One container, freshly asked.
    async fn container(&self, id: &str) -> Result<Container>;
    /// Starts of and exits from containers as they happen. A receiver that lags must re-list.
    fn events(&self) -> tokio::sync::broadcast::Receiver<ContainerEvent>;
    /// New resource limits for a running container.
    async fn update_resources(&self, id: &str, resources: &Resources) -> Result<()>;
    /// Closes the present log file and opens a new one at the container's log path (after a rotation).
    async fn reopen_log(&self, id: &str) -> Result<()>;

    /// Runs another process in a running container.
    async fn exec(&self, id: &str, spec: &ExecSpec) -> Result<Session>;
    /// Connects to the container's own process.
    async fn attach(&self, id: &str, spec: &AttachSpec) -> Result<Session>;

    /// CPU and memory of a running container.
    async fn stats(&self, id: &str) -> Result<Stats>;

    /// Fetches an image unless it is complete already; reports progress while it does.
    async fn pull_image(&self, request: &PullRequest, progress: ProgressSink) -> Result<Image>;
    /// The image that a reference, an id or a digest names, if it is here and unpacked.
    async fn image(&self, reference: &str) -> Result<Option<Image>>;
    /// All images.
    async fn images(&self) -> Result<Vec<Image>>;
    /// Removes an image by reference or id; its bytes go with the last reference.
    async fn remove_image(&self, reference: &str) -> Result<()>;
    /// Reads an OCI or docker-archive tar (plain, gzip or zstd) and unpacks what is in it for this
    /// platform. Answers the images' names.
    async fn import_images(&self, tar: &mut (dyn tokio::io::AsyncRead + Send + Unpin))
    -> Result<Vec<String>>;
    /// Writes images as an OCI tar.
    async fn export_images(
        &self,
        references: &[String],
        to: &mut (dyn tokio::io::AsyncWrite + Send + Unpin),
    ) -> Result<()>;
    /// Bytes used by images and container layers, and the file system they are on.
    async fn image_usage(&self) -> Result<FilesystemUsage>;
}
