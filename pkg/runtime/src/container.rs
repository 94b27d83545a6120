//! Containers: what to run, and what is known of what runs.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// What to run. All decisions of Kubernetes (expansion, security context, mounts) are made already;
/// only what the image's own configuration says is still to be filled in.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ContainerSpec {
    /// `spec.containers[].name`
    pub name: String,
    /// How often this container of the pod was started before (0 first).
    pub attempt: u32,
    /// The image to run, by id (the digest of its configuration) or by reference.
    pub image: String,
    /// Replaces the image's ENTRYPOINT when not empty (its CMD is then dropped too).
    pub command: Vec<String>,
    /// Replaces the image's CMD when not empty.
    pub args: Vec<String>,
    /// Replaces the image's working directory.
    pub working_dir: Option<String>,
    /// Added to the image's environment; the later of two equal names wins.
    pub env: Vec<(String, String)>,
    /// Mounts beside the runtime's own (proc, dev, sys, shm).
    pub mounts: Vec<Mount>,
    /// Devices of the host to make available: (host path, container path, permissions `rwm`).
    pub devices: Vec<(PathBuf, PathBuf, String)>,
    /// Limits.
    pub resources: Resources,
    /// The container's cgroup's parent, as in the sandbox's spec.
    pub cgroup_parent: String,
    /// Who it runs as and what it may do.
    pub security: Security,
    /// Where the output goes, in CRI log format.
    pub log_path: PathBuf,
    /// Rotation of the log: when a file is larger than this it is rotated (bytes; 0: never).
    pub log_max_size: u64,
    /// Rotation: how many files are kept, the newest included.
    pub log_max_files: u32,
    /// `stdin: true`
    pub stdin: bool,
    /// `stdinOnce: true`
    pub stdin_once: bool,
    /// `tty: true`
    pub tty: bool,
    /// `lifecycle.stopSignal`; `None`: the image's, else SIGTERM.
    pub stop_signal: Option<String>,
    /// The container (by id) whose process namespace this one joins: `targetContainerName` of an
    /// ephemeral container.
    pub process_namespace_of: Option<String>,
    /// Kept with the container and given back in [`Container::annotations`]: what the kubelet needs
    /// to adopt it (hash of the spec, restart count, termination message path and policy, grace period).
    pub annotations: BTreeMap<String, String>,
}

/// A bind mount (or tmpfs) into a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mount {
    /// Path on the host.
    pub source: PathBuf,
    /// Path in the container.
    pub target: PathBuf,
    /// Mounted read-only.
    pub read_only: bool,
    /// Read-only recursively (`recursiveReadOnly`).
    pub recursive_read_only: bool,
    /// `mountPropagation`.
    pub propagation: Propagation,
}

/// `volumeMounts[].mountPropagation`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Propagation {
    /// `None`: rprivate.
    #[default]
    Private,
    /// `HostToContainer`: rslave.
    HostToContainer,
    /// `Bidirectional`: rshared.
    Bidirectional,
}

/// cgroup limits, for v1 and v2 alike. `None`: not set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
    /// `cpu.shares` of cgroup v1 (2 to 262144); turned into a weight for v2.
    pub cpu_shares: Option<u64>,
    /// Microseconds of CPU time in each period; negative: no limit.
    pub cpu_quota: Option<i64>,
    /// Period in microseconds (100000 by default).
    pub cpu_period: Option<u64>,
    /// Bytes.
    pub memory_limit: Option<i64>,
    /// -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// Number of processes.
    pub pids_limit: Option<i64>,
    /// CPUs that may be used, as in `cpuset.cpus`.
    pub cpuset_cpus: Option<String>,
}

/// The user of a container's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum User {
    /// `runAsUser`
    Uid(u32),
    /// A name of the image's /etc/passwd.
    Name(String),
}

/// `securityContext`, pod and container merged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Security {
    /// All capabilities, all devices, no masked paths.
    pub privileged: bool,
    /// `None`: the image's user.
    pub user: Option<User>,
    /// `runAsGroup`; `None`: the user's primary group in the image (0 without one).
    pub group: Option<u32>,
    /// `supplementalGroups` and `fsGroup`, added to the image's own memberships.
    pub supplemental_groups: Vec<u32>,
    /// `supplementalGroupsPolicy: Strict`: no memberships from the image's /etc/group.
    pub supplemental_groups_strict: bool,
    /// Added to the default set, without `CAP_`; `ALL` is all.
    pub capabilities_add: Vec<String>,
    /// Dropped from the default set, without `CAP_`; `ALL` is all.
    pub capabilities_drop: Vec<String>,
    /// `readOnlyRootFilesystem`
    pub read_only_root: bool,
    /// `allowPrivilegeEscalation: false`
    pub no_new_privileges: bool,
    /// `procMount: Unmasked`
    pub unmasked_proc: bool,
    /// `seccompProfile`
    pub seccomp: Seccomp,
}

/// `seccompProfile`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Seccomp {
    /// `Unconfined`, the default.
    #[default]
    Unconfined,
    /// `RuntimeDefault`
    RuntimeDefault,
    /// `Localhost`: a JSON profile on this node.
    Localhost(PathBuf),
}

/// The exit code of a container of which nobody knows how it ended, as containerd's CRI has it.
pub const LOST_EXIT_CODE: i32 = 255;

/// A container's life: created -> running -> exited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerState {
    /// Made, not started.
    Created,
    /// Its process runs.
    Running {
        /// When it started.
        started_at: jiff::Timestamp,
        /// Its process in the host's PID namespace.
        pid: u32,
    },
    /// Its process ended.
    Exited {
        /// When it started, if it did.
        started_at: Option<jiff::Timestamp>,
        /// When it ended.
        finished_at: jiff::Timestamp,
        /// 128 + N when signal N ended it.
        exit_code: i32,
        /// The kernel killed it (or a process of its cgroup) for memory.
        oom_killed: bool,
        /// Why it did not start, when it did not (runc's words).
        message: Option<String>,
        /// Nobody saw it end (a reboot, a killed shim): the time is when that was noticed, the code
        /// [`LOST_EXIT_CODE`].
        lost: bool,
    },
}

/// A container as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Container {
    /// The runtime's id (64 hexadecimal digits).
    pub id: String,
    /// The sandbox it belongs to: the pod's uid.
    pub sandbox_id: String,
    /// The pod's name and namespace.
    pub pod_name: String,
    /// The pod's namespace.
    pub pod_namespace: String,
    /// `spec.containers[].name`
    pub name: String,
    /// As in its spec.
    pub attempt: u32,
    /// The image reference it was made from.
    pub image: String,
    /// The image's id (digest of its configuration).
    pub image_id: String,
    /// When it was made.
    pub created_at: jiff::Timestamp,
    /// Its state.
    pub state: ContainerState,
    /// As in its spec.
    pub log_path: PathBuf,
    /// As in its spec.
    pub annotations: BTreeMap<String, String>,
    /// Who its process runs as.
    pub user: Option<ProcessUser>,
}

/// The ids a container's process begins with.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ProcessUser {
    /// The user.
    pub uid: u32,
    /// The primary group.
    pub gid: u32,
    /// All groups beside it, as the specification has them.
    #[serde(default, rename = "additionalGids")]
    pub groups: Vec<u32>,
}

/// Something happened to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerEvent {
    /// The pod's uid.
    pub sandbox_id: String,
    /// The container's id.
    pub container_id: String,
    /// What happened.
    pub kind: ContainerEventKind,
}

/// What happened to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerEventKind {
    /// Its process started.
    Started,
    /// Its process ended.
    Exited,
    /// The kernel killed a process of its cgroup for memory.
    OutOfMemory,
    /// The connection to the runtime was lost and is back: everything must be looked at again.
    Resync,
}

/// CPU and memory of a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Nanoseconds of CPU time since the start.
    pub cpu_usage_ns: u64,
    /// Bytes in use, inactive page cache not counted (the kubelet's working set).
    pub memory_working_set: u64,
    /// Bytes in use, page cache included.
    pub memory_usage: u64,
    /// Resident bytes.
    pub memory_rss: u64,
    /// Processes.
    pub pids: u64,
    /// Bytes written to the container's own layer.
    pub writable_layer_bytes: u64,
}
