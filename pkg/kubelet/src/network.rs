//! What the kubelet needs of the node's network, and a door for tests.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use kobune_network::{HostPort, NetworkError, NodeNetwork};

/// Links of pods to the node's network.
#[async_trait::async_trait]
pub trait PodNetwork: Send + Sync + 'static {
    /// Links a network namespace; answers the pod's addresses. A pod that is linked keeps them.
    async fn attach(&self, pod_uid: &str, netns: &Path, name: &str) -> Result<Vec<IpAddr>, NetworkError>;
    /// Removes the link and frees the addresses; nothing to do is fine.
    async fn detach(&self, pod_uid: &str, netns: Option<&Path>) -> Result<(), NetworkError>;
    /// Frees what belongs to none of these pods.
    async fn retain(&self, alive: &HashSet<String>) -> Result<(), NetworkError>;
    /// Ports of the node that lead to the pod.
    async fn set_host_ports(
        &self,
        pod_uid: &str,
        ip: IpAddr,
        ports: Vec<HostPort>,
    ) -> Result<(), NetworkError>;
}

/// The node's own network.
pub struct Node(pub Arc<NodeNetwork>);

#[async_trait::async_trait]
impl PodNetwork for Node {
    async fn attach(&self, pod_uid: &str, netns: &Path, name: &str) -> Result<Vec<IpAddr>, NetworkError> {
        Ok(vec![self.0.attach(pod_uid, netns, name).await?.ip.into()])
    }
    async fn detach(&self, pod_uid: &str, netns: Option<&Path>) -> Result<(), NetworkError> {
        self.0.detach(pod_uid, netns).await
    }
    async fn retain(&self, alive: &HashSet<String>) -> Result<(), NetworkError> {
        self.0.retain(alive).await
    }
    async fn set_host_ports(
        &self,
        pod_uid: &str,
        ip: IpAddr,
        ports: Vec<HostPort>,
    ) -> Result<(), NetworkError> {
        match ip {
            IpAddr::V4(ip) => self.0.set_host_ports(pod_uid, ip, ports).await,
            // The node's network gives IPv4 addresses only.
            IpAddr::V6(_) => Ok(()),
        }
    }
}
