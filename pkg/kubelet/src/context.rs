//! What all workers of this node share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use kobune_client::k8s_openapi::api::core::v1::{Pod, Service};
use kobune_client::k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kobune_client::kube::{Api, Client};
use kobune_client::{Cache, EventType, Recorder};
use kobune_runtime::Runtime;
use tokio::sync::Semaphore;

use crate::cgroup::Cgroups;
use crate::config::KubeletConfig;
use crate::image::pull::Puller;
use crate::network::PodNetwork;
use crate::objects::Objects;
use crate::pod::desired::Desired;
use crate::pod::etc::Resolver;
use crate::pod::fields::Surroundings;

/// Shared by all workers; nothing in it belongs to one pod.
pub struct Context {
    /// How the node is run.
    pub config: KubeletConfig,
    /// The API, as `system:node:NAME`.
    pub client: Client,
    /// The container runtime.
    pub runtime: Arc<dyn Runtime>,
    /// Its name, as in `containerID`.
    pub runtime_name: String,
    /// The node's network.
    pub network: Arc<dyn PodNetwork>,
    /// Events in the kubelet's name.
    pub recorder: Recorder,
    /// ConfigMaps and Secrets that pods refer to.
    pub objects: Objects,
    /// All Services, for the environment of containers.
    pub services: Cache<Service>,
    /// Pulls images.
    pub puller: Puller,
    /// The pods' cgroups.
    pub cgroups: Cgroups,
    /// How many pods may be set up or started at once.
    pub permits: Semaphore,
    /// Bytes of memory of this machine.
    pub memory: i64,
    /// What pods can use of this node.
    pub allocatable: BTreeMap<String, Quantity>,
    /// The lowest oom_score_adj that can be set (root may lack CAP_SYS_RESOURCE).
    pub lowest_oom_score: i32,
    /// The node's own resolver.
    pub resolver: Resolver,
}

impl Context {
    /// Records an event of a pod.
    pub fn tell(&self, pod: &Desired, kind: EventType, reason: &str, message: impl Into<String>) {
        self.recorder.event(&pod.reference(), kind, reason, message);
    }

    /// Records an event of a container.
    pub fn tell_container(
        &self,
        pod: &Desired,
        name: &str,
        kind: EventType,
        reason: &str,
        message: impl Into<String>,
    ) {
        self.recorder
            .event(&pod.container_reference(name), kind, reason, message);
    }

    /// The pod's object.
    pub fn pods(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// What the downward API knows beside the object.
    pub fn surroundings(&self, pod: &Desired, pod_ips: &[String]) -> Surroundings {
        let host_ips = vec![self.config.node_ip.to_string()];
        let pod_ips = if pod.host_network() {
            host_ips.clone()
        } else {
            pod_ips.to_vec()
        };
        Surroundings {
            pod_ips,
            host_ips,
            allocatable: self.allocatable.clone(),
        }
    }

    /// Where the pod's logs are: `/var/log/pods/<namespace>_<name>_<uid>`.
    pub fn log_dir(&self, pod: &Desired) -> PathBuf {
        self.config
            .log_dir
            .join(format!("{}_{}_{}", pod.namespace(), pod.name(), pod.uid()))
    }
}
