//! The mounts of a container: its volumes, the pod's /etc files, the termination message file.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use kobune_client::k8s_openapi::api::core::v1::{Container, VolumeMount};
use kobune_runtime::{Mount, Propagation};

use super::desired::Desired;
use super::expand::expand;
use super::setup::{Prepared, hostname_file, hosts_file, resolv_file};
use crate::volume::subpath;

const DEFAULT_TERMINATION_PATH: &str = "/dev/termination-log";

/// The mounts, and the file on the node that the termination message is written to. Blocking.
pub fn mounts(
    pod: &Desired,
    container: &Container,
    attempt: u32,
    prepared: &Prepared,
    env: &[(String, String)],
    pod_dir: &Path,
) -> Result<(Vec<Mount>, PathBuf), String> {
    let mut mounts = Vec::new();
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let volume = prepared.volumes.get(&mount.name).ok_or_else(|| {
            format!(
                "cannot find volume {:?} to mount into container {:?}",
                mount.name, container.name
            )
        })?;
        let source = match sub_path(mount, env)? {
            Some(sub) => {
                let target = pod_dir
                    .join("volume-subpaths")
                    .join(&mount.name)
                    .join(&container.name)
                    .join(index.to_string());
                subpath::prepare(volume, &sub, &target).map_err(|e| {
                    format!(
                        "failed to prepare subPath for volumeMount {:?} of container {:?}: {e}",
                        mount.name, container.name
                    )
                })?
            }
            None => volume.clone(),
        };
        mounts.push(volume_mount(mount, source));
    }
    add_etc(pod, prepared, pod_dir, &mut mounts);
    let file = termination_file(pod_dir, &container.name, attempt)
        .map_err(|e| format!("making the termination message file: {e}"))?;
    let target = container
        .termination_message_path
        .as_deref()
        .filter(|p| !p.is_empty());
    mounts.push(Mount {
        source: file.clone(),
        target: target.unwrap_or(DEFAULT_TERMINATION_PATH).into(),
        ..Mount::default()
    });
    Ok((mounts, file))
}

fn sub_path(mount: &VolumeMount, env: &[(String, String)]) -> Result<Option<String>, String> {
    if let Some(expression) = mount.sub_path_expr.as_deref().filter(|e| !e.is_empty()) {
        let missing = std::cell::RefCell::new(None);
        let expanded = expand(expression, |name| {
            let found = env.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.clone());
            if found.is_none() {
                missing.borrow_mut().get_or_insert_with(|| name.to_owned());
            }
            found
        });
        return match missing.into_inner() {
            Some(name) => Err(format!("missing value for {name:?}")),
            None => Ok(Some(expanded)),
        };
    }
    Ok(mount.sub_path.clone().filter(|s| !s.is_empty()))
}

fn volume_mount(mount: &VolumeMount, source: PathBuf) -> Mount {
    let read_only = mount.read_only.unwrap_or(false);
    Mount {
        source,
        target: PathBuf::from(&mount.mount_path),
        read_only,
        recursive_read_only: read_only
            && matches!(
                mount.recursive_read_only.as_deref(),
                Some("Enabled" | "IfPossible")
            ),
        propagation: match mount.mount_propagation.as_deref() {
            Some("HostToContainer") => Propagation::HostToContainer,
            Some("Bidirectional") => Propagation::Bidirectional,
            _ => Propagation::Private,
        },
    }
}

/// What a container mounts itself is left alone.
fn add_etc(pod: &Desired, prepared: &Prepared, pod_dir: &Path, mounts: &mut Vec<Mount>) {
    let mut files = vec![("/etc/resolv.conf", resolv_file(pod_dir))];
    if !prepared.ips.is_empty() || pod.host_network() {
        files.push(("/etc/hosts", hosts_file(pod_dir)));
    }
    if !pod.host_network() {
        files.push(("/etc/hostname", hostname_file(pod_dir)));
    }
    for (target, source) in files {
        if !mounts.iter().any(|m| m.target == Path::new(target)) {
            mounts.push(Mount {
                source,
                target: target.into(),
                ..Mount::default()
            });
        }
    }
}

/// A file of its own for each attempt, which any user of the container may write.
fn termination_file(pod_dir: &Path, container: &str, attempt: u32) -> io::Result<PathBuf> {
    let dir = pod_dir.join("containers").join(container);
    fs::create_dir_all(&dir)?;
    let file = dir.join(attempt.to_string());
    fs::File::create(&file)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666))?;
    Ok(file)
}
