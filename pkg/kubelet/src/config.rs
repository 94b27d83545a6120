//! What the kubelet is told when it starts.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kobune_client::k8s_openapi::api::core::v1::Taint;

/// How this node is to be run.
#[derive(Clone)]
pub struct KubeletConfig {
    /// The Node object's name.
    pub node_name: String,
    /// The address the Node reports and that the server listens on.
    pub node_ip: IpAddr,
    /// Labels added to the Node beside the well-known ones.
    pub labels: BTreeMap<String, String>,
    /// Taints the Node is registered with.
    pub taints: Vec<Taint>,
    /// `node.kubernetes.io/instance-type`
    pub instance_type: String,
    /// Annotations added to the Node.
    pub annotations: BTreeMap<String, String>,
    /// Pods' folders: volumes, hosts files, termination messages.
    pub root_dir: PathBuf,
    /// Container logs, `/var/log/pods`.
    pub log_dir: PathBuf,
    /// Links by container id for log collectors, `/var/log/containers`; `None`: not made.
    pub log_links: Option<PathBuf>,
    /// Addresses of the cluster's DNS, for `dnsPolicy: ClusterFirst`.
    pub cluster_dns: Vec<IpAddr>,
    /// For example `cluster.local`.
    pub cluster_domain: String,
    /// The node's own resolver configuration, for `dnsPolicy: Default`.
    pub resolv_conf: PathBuf,
    /// Where the server listens (10250).
    pub port: u16,
    /// The server's TLS, which asks for client certificates of the cluster's CA; `None`: no server.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// `status.allocatable.pods`
    pub max_pods: u32,
    /// Distinguishes two servers on one machine; empty for the first: pods' cgroups lie under
    /// `/kubepods`, or `/kubepods-<instance>`.
    pub instance: String,
    /// `status.nodeInfo.kubeletVersion`, for example `v1.36.2+kobune1`.
    pub version: String,
    /// Disk use in percent above which unused images are removed.
    pub image_gc_high_percent: u8,
    /// Disk use in percent down to which unused images are removed.
    pub image_gc_low_percent: u8,
    /// Images younger than this are kept.
    pub image_minimum_age: Duration,
    /// Bytes after which a container's log is rotated.
    pub log_max_size: u64,
    /// Log files kept for a container.
    pub log_max_files: u32,
    /// How many pods may be set up or started at the same moment.
    pub parallel_starts: usize,
    /// The Lease's renewal period.
    pub lease_period: Duration,
    /// The Node's status is written at least this often although nothing changed.
    pub status_period: Duration,
    /// `spec.podCIDR` asked for at registration; `None`: the controller manager gives one.
    pub pod_cidr: Option<String>,
}

impl KubeletConfig {
    /// A configuration with Kubernetes' defaults for everything but the node's name and address.
    pub fn new(node_name: impl Into<String>, node_ip: IpAddr) -> Self {
        KubeletConfig {
            node_name: node_name.into(),
            node_ip,
            labels: BTreeMap::new(),
            taints: Vec::new(),
            instance_type: "kobune".into(),
            annotations: BTreeMap::new(),
            root_dir: "/var/lib/kobune/agent/kubelet".into(),
            log_dir: "/var/log/pods".into(),
            log_links: Some("/var/log/containers".into()),
            cluster_dns: Vec::new(),
            cluster_domain: "cluster.local".into(),
            resolv_conf: "/etc/resolv.conf".into(),
            port: 10250,
            tls: None,
            max_pods: 110,
            instance: String::new(),
            version: "v1.36.2+kobune1".into(),
            image_gc_high_percent: 85,
            image_gc_low_percent: 80,
            image_minimum_age: Duration::from_secs(120),
            log_max_size: 10 << 20,
            log_max_files: 5,
            parallel_starts: 8,
            lease_period: Duration::from_secs(10),
            status_period: Duration::from_secs(300),
            pod_cidr: None,
        }
    }

    /// The cgroup above all pods, relative to each controller's mount.
    pub fn cgroup_root(&self) -> String {
        if self.instance.is_empty() {
            "/kubepods".into()
        } else {
            format!("/kubepods-{}", self.instance)
        }
    }

    /// A pod's folder.
    pub fn pod_dir(&self, uid: &str) -> PathBuf {
        self.root_dir.join("pods").join(uid)
    }
}
