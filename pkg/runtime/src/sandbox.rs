//! Sandboxes: what the containers of one pod share.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Which of the host's namespaces a pod shares instead of having its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HostNamespaces {
    /// `spec.hostNetwork`
    pub network: bool,
    /// `spec.hostPID`
    pub pid: bool,
    /// `spec.hostIPC`
    pub ipc: bool,
}

/// What to make for a pod before its containers.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SandboxSpec {
    /// The pod's uid; also the sandbox's id.
    pub pod_uid: String,
    /// `metadata.name`
    pub pod_name: String,
    /// `metadata.namespace`
    pub pod_namespace: String,
    /// The pod's hostname, set in its UTS namespace (not with `host.network`).
    pub hostname: String,
    /// Namespaces taken from the host.
    pub host: HostNamespaces,
    /// `spec.shareProcessNamespace`: one PID namespace with kobune itself as its init.
    pub share_process_namespace: bool,
    /// The pod's cgroup, relative to each controller's mount, for example
    /// `/kubepods/burstable/pod<uid>`; made by the kubelet before.
    pub cgroup_parent: String,
    /// `spec.securityContext.sysctls`, set in the pod's namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Which handler of `runtimeClassName` to use; empty for the default (runc).
    pub runtime_handler: String,
}

/// A pod's sandbox as it is.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Sandbox {
    /// The pod's uid.
    pub id: String,
    /// What it was made from.
    pub spec: SandboxSpec,
    /// The pinned network namespace; `None` with `hostNetwork`.
    pub network_namespace: Option<PathBuf>,
    /// False when a namespace is gone (after a reboot, say): the pod needs a new sandbox.
    pub ready: bool,
    /// How often the pod's sandbox was made anew (0 first).
    pub attempt: u32,
}
