//! `kobune reset`: ends all pods of a stopped server and removes what it made on this machine.
//!
//! In a containerd that is not kobune's own, what is in this server's namespace goes, and nothing else.
//! Order: pods, network, private containerd, mounts, cgroups, folders. Each step is tried even if one
//! before it failed, and nothing is touched that does not carry this server's name.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, bail};
use kobune_containerd::Containerd;
use kobune_network::{NodeNetwork, NodeNetworkConfig};
use kobune_runtime::Runtime;

use crate::cli::ResetArgs;
use crate::notes;
use crate::paths::Paths;

/// Removes what the server with this state folder left.
pub fn run(arguments: &ResetArgs) -> Result<()> {
    let paths = Paths::of(&arguments.server.data_dir);
    if !paths.server().exists() {
        println!("there is nothing in {}", paths.data.display());
        return Ok(());
    }
    let lock = paths.server().join("lock");
    let lock = File::create(&lock).with_context(|| format!("opening {}", lock.display()))?;
    if lock.try_lock().is_err() {
        bail!("the server with this folder runs: stop it first");
    }
    if !arguments.yes && !confirmed(&paths.data)? {
        bail!("nothing was removed");
    }
    kobune_pki::install_crypto();
    let mut failures = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("starting tokio")?
        .block_on(remove(&paths, arguments));
    failures.extend(unmount_below(&paths.data));
    failures.extend(unmount_below(&paths.run));
    failures.extend(remove_cgroups(&paths));
    if failures.is_empty() {
        failures.extend(remove_folders(&paths, arguments.keep_data));
    }
    if failures.is_empty() {
        return Ok(());
    }
    for failure in &failures {
        eprintln!("kobune: {failure:#}");
    }
    bail!(
        "{} steps failed; what they would have removed is still there, run this again",
        failures.len()
    );
}

fn confirmed(data: &Path) -> Result<bool> {
    use std::io::Write;
    print!("Remove all pods and all state in {}? [y/N] ", data.display());
    std::io::stdout().flush().context("asking")?;
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .context("reading the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

async fn remove(paths: &Paths, arguments: &ResetArgs) -> Vec<anyhow::Error> {
    let mut failures = Vec::new();
    if paths.agent().join("containerd").exists() {
        failures.extend(remove_pods(paths, arguments).await.err());
    }
    if paths.agent().join("network").exists() {
        failures.extend(remove_network(paths).await.err());
    }
    failures
}

async fn remove_pods(paths: &Paths, arguments: &ResetArgs) -> Result<()> {
    let endpoint = arguments.container_runtime_endpoint.clone();
    let endpoint = endpoint.or_else(|| notes::CONTAINERD.read(paths));
    let config = crate::node::containerd_config(paths, endpoint.as_deref(), Path::new("/dev/null"));
    let runtime = Containerd::connect_or_start(config)
        .await
        .context("reaching containerd")?;
    let sandboxes = runtime.sandboxes().await.context("listing pods")?;
    let mut removals = tokio::task::JoinSet::new();
    for sandbox in sandboxes {
        let runtime = runtime.clone();
        removals.spawn(async move {
            let name = format!("{}/{}", sandbox.spec.pod_namespace, sandbox.spec.pod_name);
            remove_pod(runtime.as_ref(), &sandbox.id)
                .await
                .with_context(|| format!("removing the pod {name}"))
        });
    }
    let mut outcome = Ok(());
    while let Some(removed) = removals.join_next().await {
        outcome = outcome.and(removed.context("removing a pod").flatten());
    }
    if endpoint.is_some() && !arguments.keep_data && outcome.is_ok() {
        outcome = runtime.empty().await.context("removing the images");
    }
    runtime.uninstall().await;
    outcome
}

async fn remove_pod(runtime: &dyn Runtime, sandbox: &str) -> Result<()> {
    for container in runtime
        .containers()
        .await?
        .into_iter()
        .filter(|own| own.sandbox_id == sandbox)
    {
        runtime
            .stop_container(&container.id, std::time::Duration::ZERO)
            .await?;
        runtime.remove_container(&container.id).await?;
        // The log belongs to the pod; its folder is named for the pod's uid.
        if let Some(folder) = container.log_path.parent().and_then(Path::parent)
            && folder.to_string_lossy().contains(sandbox)
        {
            // A log that stays behind harms nobody.
            let _ = std::fs::remove_dir_all(folder);
        }
    }
    Ok(runtime.remove_sandbox(sandbox).await?)
}

async fn remove_network(paths: &Paths) -> Result<()> {
    // Without the note the server never got as far as its network.
    let noted = notes::POD_RANGE.read(paths);
    let range: crate::values::Cidr = noted
        .as_deref()
        .unwrap_or("192.0.2.0/28")
        .parse()
        .map_err(|problem| anyhow::anyhow!("reading the pods' range: {problem}"))?;
    let pods = range.to_string().parse().context("the pods' range")?;
    let network = NodeNetwork::start(NodeNetworkConfig {
        cluster_cidr: pods,
        service_cidr: "192.0.2.16/28".parse().context("a range that is never used")?,
        pod_cidr: pods,
        node_ip: std::net::Ipv4Addr::LOCALHOST,
        cluster_dns: None,
        bridge: NodeNetworkConfig::bridge_for(&paths.instance),
        state_dir: paths.agent().join("network"),
        instance: paths.instance.clone(),
        mtu: Some(1500),
    })
    .context("looking at the node's network")?;
    network
        .remove_all()
        .await
        .context("removing the node's network")?;
    Ok(())
}

fn unmount_below(folder: &Path) -> Vec<anyhow::Error> {
    use nix::mount::{MntFlags, umount2};
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut points: Vec<&str> = mounts.lines().filter_map(|line| line.split(' ').nth(4)).collect();
    points.retain(|point| Path::new(point).starts_with(folder));
    // The innermost first.
    points.reverse();
    let unmount =
        |point: &str| umount2(point, MntFlags::MNT_DETACH).with_context(|| format!("unmounting {point}"));
    points
        .into_iter()
        .filter_map(|point| unmount(point).err())
        .collect()
}

fn remove_cgroups(paths: &Paths) -> Vec<anyhow::Error> {
    let name = paths.named("kubepods");
    let root = Path::new("/sys/fs/cgroup");
    let mut homes = vec![root.join(&name)];
    if let Ok(entries) = std::fs::read_dir(root) {
        homes.extend(entries.filter_map(|entry| Some(entry.ok()?.path().join(&name))));
    }
    homes
        .iter()
        .filter(|home| home.is_dir())
        .filter_map(|home| remove_cgroup(home).err())
        .collect()
}

/// A cgroup goes by rmdir, its children first.
fn remove_cgroup(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry
            .with_context(|| format!("reading {}", folder.display()))?
            .path();
        if path.is_dir() {
            remove_cgroup(&path)?;
        }
    }
    std::fs::remove_dir(folder).with_context(|| format!("removing the cgroup {}", folder.display()))
}

fn remove_folders(paths: &Paths, keep_data: bool) -> Vec<anyhow::Error> {
    let folders = if keep_data {
        vec![&paths.run]
    } else {
        vec![&paths.run, &paths.data]
    };
    let remove = |folder: &Path| {
        std::fs::remove_dir_all(folder).with_context(|| format!("removing {}", folder.display()))
    };
    folders
        .into_iter()
        .filter(|folder| folder.exists())
        .filter_map(|folder| remove(folder).err())
        .collect()
}
