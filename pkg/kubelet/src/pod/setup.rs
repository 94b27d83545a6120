//! Makes what a pod's containers share (cgroup, sandbox, network, volumes, /etc files), and takes it
//! down again. Everything here can be repeated.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kobune_network::{HostPort, Protocol};
use kobune_runtime::{HostNamespaces, Sandbox, SandboxSpec};
use tokio::sync::Mutex;

use super::desired::Desired;
use super::env::Referenced;
use super::etc::{self, Hostname};
use super::resources;
use crate::context::Context;
use crate::tokens::TokenStore;
use crate::volume::{self, MountError, MountErrors, Paths, files::FilesInput};

/// A pod whose containers can be started.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Its sandbox.
    pub sandbox: Sandbox,
    /// Its addresses.
    pub ips: Vec<String>,
    /// Its name.
    pub hostname: Hostname,
    /// Its volumes.
    pub volumes: Paths,
}

/// Why a pod could not be set up: the event to record.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SetUpError {
    /// `FailedCreatePodSandBox`
    #[error("Failed to create pod sandbox: {0}")]
    Sandbox(String),
    /// `FailedMount`
    #[error(transparent)]
    Mount(#[from] MountErrors),
    /// `Failed`: folders, cgroups.
    #[error("{0}")]
    Other(String),
}

impl SetUpError {
    /// The events' reason and texts.
    pub fn events(&self) -> (&'static str, Vec<String>) {
        match self {
            SetUpError::Sandbox(_) => ("FailedCreatePodSandBox", vec![self.to_string()]),
            SetUpError::Mount(errors) => (
                "FailedMount",
                errors.0.iter().map(MountError::to_string).collect(),
            ),
            SetUpError::Other(_) => ("Failed", vec![self.to_string()]),
        }
    }
}

/// Makes everything; sandbox and volumes at the same time.
pub async fn set_up(
    context: &Arc<Context>,
    pod: &Desired,
    tokens: &Arc<Mutex<TokenStore>>,
) -> Result<Prepared, SetUpError> {
    let _permit = context.permits.acquire().await;
    let hostname = etc::hostname(pod, &context.config.cluster_domain).map_err(SetUpError::Sandbox)?;
    let cgroup = resources::cgroup_path(&context.config.cgroup_root(), pod);
    let limits = resources::pod_level(pod);
    context.cgroups.create(&cgroup, &limits).map_err(|e| {
        SetUpError::Other(format!(
            "failed to ensure that the pod: {} cgroups exist and are correctly applied: {e}",
            pod.uid()
        ))
    })?;
    let dir = context.config.pod_dir(pod.uid());
    make_dir(&dir).map_err(|e| SetUpError::Other(format!("error making pod data directories: {e}")))?;
    // A volume that shows the pod's address needs it first.
    let early = !uses_own_address(pod);
    let sandboxed = sandbox(context, pod, &hostname, &cgroup);
    let (sandbox, ips, volumes) = if early {
        let (sandboxed, volumes) = tokio::join!(sandboxed, mount_volumes(context, pod, tokens, Vec::new()));
        let (sandbox, ips) = sandboxed?;
        (sandbox, ips, volumes?)
    } else {
        let (sandbox, ips) = sandboxed.await?;
        let volumes = mount_volumes(context, pod, tokens, ips.clone()).await?;
        (sandbox, ips, volumes)
    };
    write_etc(context, pod, &hostname, &ips, &dir)
        .map_err(|e| SetUpError::Other(format!("writing the pod's files of /etc: {e}")))?;
    Ok(Prepared {
        sandbox,
        ips,
        hostname,
        volumes,
    })
}

fn uses_own_address(pod: &Desired) -> bool {
    let item = |f: &kobune_client::k8s_openapi::api::core::v1::DownwardAPIVolumeFile| {
        f.field_ref
            .as_ref()
            .is_some_and(|f| f.field_path.starts_with("status.podIP"))
    };
    pod.spec().volumes.iter().flatten().any(|v| {
        let own = v.downward_api.iter().flat_map(|d| d.items.iter().flatten());
        let projected = v.projected.iter().flat_map(|p| p.sources.iter().flatten());
        let projected = projected
            .flat_map(|s| s.downward_api.iter())
            .flat_map(|d| d.items.iter().flatten());
        own.chain(projected).any(item)
    })
}

fn make_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o750).create(dir)
}

async fn sandbox(
    context: &Arc<Context>,
    pod: &Desired,
    hostname: &Hostname,
    cgroup: &str,
) -> Result<(Sandbox, Vec<String>), SetUpError> {
    let spec = pod.spec();
    let sysctls = spec
        .security_context
        .iter()
        .flat_map(|s| s.sysctls.iter().flatten());
    let wanted = SandboxSpec {
        pod_uid: pod.uid().to_owned(),
        pod_name: pod.name().to_owned(),
        pod_namespace: pod.namespace().to_owned(),
        hostname: hostname.kernel.clone(),
        host: HostNamespaces {
            network: pod.host_network(),
            pid: spec.host_pid.unwrap_or(false),
            ipc: spec.host_ipc.unwrap_or(false),
        },
        share_process_namespace: spec.share_process_namespace.unwrap_or(false),
        cgroup_parent: cgroup.to_owned(),
        sysctls: sysctls.map(|s| (s.name.clone(), s.value.clone())).collect(),
        runtime_handler: String::new(),
    };
    let sandbox = context
        .runtime
        .create_sandbox(&wanted)
        .await
        .map_err(|e| SetUpError::Sandbox(format!("rpc error: code = Unknown desc = {e}")))?;
    let Some(netns) = &sandbox.network_namespace else {
        return Ok((sandbox, Vec::new()));
    };
    let name = format!("{}/{}", pod.namespace(), pod.name());
    let failed = |e| {
        SetUpError::Sandbox(format!(
            "failed to setup network for sandbox {:?}: {e}",
            pod.uid()
        ))
    };
    let ips = context
        .network
        .attach(pod.uid(), netns, &name)
        .await
        .map_err(failed)?;
    let ports = host_ports(pod);
    if let (false, Some(ip)) = (ports.is_empty(), ips.first()) {
        context
            .network
            .set_host_ports(pod.uid(), *ip, ports)
            .await
            .map_err(failed)?;
    }
    Ok((sandbox, ips.iter().map(IpAddr::to_string).collect()))
}

fn host_ports(pod: &Desired) -> Vec<HostPort> {
    let containers = pod.init().iter().chain(pod.main());
    let ports = containers.flat_map(|c| c.ports.iter().flatten());
    ports
        .filter_map(|p| {
            Some(HostPort {
                protocol: Protocol::parse(p.protocol.as_deref())?,
                host_ip: p.host_ip.as_deref().and_then(|ip| ip.parse().ok()),
                host_port: u16::try_from(p.host_port?).ok().filter(|p| *p > 0)?,
                container_port: u16::try_from(p.container_port).ok()?,
            })
        })
        .collect()
}

/// Makes the pod's volumes or brings their content up to date.
pub async fn mount_volumes(
    context: &Arc<Context>,
    pod: &Desired,
    tokens: &Arc<Mutex<TokenStore>>,
    ips: Vec<String>,
) -> Result<Paths, MountErrors> {
    if pod.spec().volumes.as_ref().is_none_or(Vec::is_empty) {
        return Ok(Paths::new());
    }
    let references = volume::references(pod);
    let referenced = context
        .objects
        .get(pod.namespace(), &references)
        .await
        .map_err(|e| unable(pod, e.to_string()))?;
    let held = tokens.lock().await.get(&context.client, pod).await;
    let around = context.surroundings(pod, &ips);
    let planned = {
        let input = FilesInput {
            pod,
            referenced: &referenced,
            around: &around,
            tokens: &held,
        };
        volume::plan(&input, &context.config.pod_dir(pod.uid()))?
    };
    let group = pod.spec().security_context.as_ref().and_then(|s| s.fs_group);
    let group = group.and_then(|g| u32::try_from(g).ok());
    let applied = tokio::task::spawn_blocking(move || volume::apply(&planned, group)).await;
    applied.unwrap_or_else(|e| Err(unable(pod, e.to_string())))
}

/// What hinders all volumes is told of the first.
fn unable(pod: &Desired, message: String) -> MountErrors {
    let first = pod.spec().volumes.iter().flatten().next();
    let volume = first.map(|v| v.name.clone()).unwrap_or_default();
    MountErrors(vec![MountError { volume, message }])
}

/// The ConfigMaps and Secrets a pod refers to.
pub async fn referenced(context: &Context, pod: &Desired) -> Result<Referenced, String> {
    let references = volume::references(pod);
    context
        .objects
        .get(pod.namespace(), &references)
        .await
        .map_err(|e| e.to_string())
}

fn write_etc(
    context: &Context,
    pod: &Desired,
    hostname: &Hostname,
    ips: &[String],
    dir: &Path,
) -> io::Result<()> {
    let node_hosts = if pod.host_network() {
        fs::read_to_string("/etc/hosts").unwrap_or_default()
    } else {
        String::new()
    };
    let config = &context.config;
    let resolver = etc::resolver(
        pod,
        &context.resolver,
        &config.cluster_dns,
        &config.cluster_domain,
    );
    for (file, text) in [
        (hosts_file(dir), etc::hosts(pod, hostname, ips, &node_hosts)),
        (hostname_file(dir), format!("{}\n", hostname.kernel)),
        (resolv_file(dir), resolver.to_string()),
    ] {
        // In place: a container that has it mounted sees the change.
        if fs::read_to_string(&file).ok().as_deref() != Some(&text) {
            fs::write(&file, text)?;
        }
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644))?;
    }
    Ok(())
}

/// The pod's /etc/hosts on the node.
pub fn hosts_file(dir: &Path) -> PathBuf {
    dir.join("etc-hosts")
}
/// The pod's /etc/hostname on the node.
pub fn hostname_file(dir: &Path) -> PathBuf {
    dir.join("hostname")
}
/// The pod's /etc/resolv.conf on the node.
pub fn resolv_file(dir: &Path) -> PathBuf {
    dir.join("resolv.conf")
}

/// Takes everything down; no container may run any more. The logs stay. `netns` is the sandbox's.
pub async fn tear_down(context: &Arc<Context>, uid: &str, netns: Option<&Path>) -> Result<(), String> {
    // Rules and link first: an address is only given away again when nothing leads to it.
    context
        .network
        .detach(uid, netns)
        .await
        .map_err(|e| format!("detaching the network: {e}"))?;
    context
        .runtime
        .remove_sandbox(uid)
        .await
        .map_err(|e| format!("removing the sandbox: {e}"))?;
    let (context, uid) = (context.clone(), uid.to_owned());
    let rest = tokio::task::spawn_blocking(move || {
        volume::mount::remove_tree(&context.config.pod_dir(&uid))?;
        context.cgroups.remove_pod(&context.config.cgroup_root(), &uid)
    });
    match rest.await {
        Ok(done) => done.map_err(|e| format!("removing the pod's folder and cgroup: {e}")),
        Err(e) => Err(e.to_string()),
    }
}
