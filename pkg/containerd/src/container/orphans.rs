//! What a kobune that was killed left behind, and what nobody would find by containerd's records.
//!
//! Killed while it made a container, it leaves a snapshot; killed while a task was created or deleted
//! for it, a shim: containerd gives a request up when who asked is gone, and the shim goes on.

use std::collections::{BTreeMap, HashSet};
use std::fs;

use containerd_client::services::v1 as api;
use containerd_client::services::v1::snapshots as snapshot_api;
use containerd_client::types::v1::Status;
use kobune_runtime::Result;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::exit::timestamp;
use super::record::SANDBOX_LABEL;
use crate::Containerd;
use crate::connection::failed;

/// A shim of ours: its number, and the container it was started for.
#[derive(Debug, PartialEq)]
struct Shim {
    pid: i32,
    container: String,
}

impl Containerd {
    /// Ends shims that serve no container. Only before anything is made: a new one serves none yet.
    pub(crate) async fn remove_orphaned_shims(&self) -> Result<()> {
        let shims = self.shims();
        if shims.is_empty() {
            return Ok(());
        }
        let (mut containers, mut tasks) = (self.connection.containers(), self.connection.tasks());
        let (containers, tasks) = tokio::try_join!(
            containers.list(api::ListContainersRequest::default()),
            tasks.list(api::ListTasksRequest::default()),
        )
        .map_err(failed("listing containers"))?;
        let containers = containers.into_inner().containers;
        let alive: HashSet<String> = containers.into_iter().map(|container| container.id).collect();
        let tasks = tasks.into_inner().tasks;
        let parents = parents();
        let served: HashSet<i32> = tasks
            .iter()
            .filter_map(|task| parents.get(&(task.pid as i32)).copied())
            .collect();
        // The process of a task that has ended says no more whose child it was.
        let ended = tasks.iter().any(|task| task.status() == Status::Stopped);
        for shim in shims {
            if alive.contains(&shim.container) || served.contains(&shim.pid) || ended {
                continue;
            }
            tracing::info!(
                pid = shim.pid,
                container = shim.container,
                "a shim without a container is ended"
            );
            let children = parents.iter().filter(|(_, parent)| **parent == shim.pid);
            for pid in std::iter::once(shim.pid).chain(children.map(|(child, _)| *child)) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        self.remove_runc_states(&alive);
        Ok(())
    }

    /// The shims that were started by our containerd in our namespace.
    fn shims(&self) -> Vec<Shim> {
        let namespace = self.connection.namespace();
        let socket = self.connection.socket().to_string_lossy();
        let lines = numbers().filter_map(|pid| Some((pid, fs::read(format!("/proc/{pid}/cmdline")).ok()?)));
        lines
            .filter_map(|(pid, line)| {
                let container = served_by(&String::from_utf8_lossy(&line), namespace, &socket)?;
                Some(Shim { pid, container })
            })
            .collect()
    }

    /// runc's own notes of containers that are gone.
    fn remove_runc_states(&self, alive: &HashSet<String>) {
        let folder = self.runc_root.join(self.connection.namespace());
        for state in fs::read_dir(folder).into_iter().flatten().flatten() {
            if state.file_name().to_str().is_some_and(|id| !alive.contains(id)) {
                let _ = fs::remove_dir_all(state.path());
            }
        }
    }

    /// Snapshots whose container was never registered, because we were killed in between.
    pub(crate) async fn remove_orphans(&self, alive: &HashSet<String>) -> Result<()> {
        let ours = vec![format!("labels.\"{SANDBOX_LABEL}\"")];
        for snapshot in self.images.list_snapshots(ours).await? {
            if !alive.contains(&snapshot.name)
                && self.entries.find(&snapshot.name).is_none()
                && !self.is_new(&snapshot)
            {
                let _ = self.remove_snapshot(&snapshot.name).await;
            }
        }
        Ok(())
    }

    /// Made while we looked: its container is on the way.
    fn is_new(&self, snapshot: &snapshot_api::Info) -> bool {
        timestamp(snapshot.created_at).is_some_and(|at| at > self.started_at)
    }
}

/// The container that a shim's command line names, if it is one of this namespace and socket.
fn served_by(line: &str, namespace: &str, socket: &str) -> Option<String> {
    let words: Vec<&str> = line.split('\0').collect();
    if !words.first()?.contains("containerd-shim") {
        return None;
    }
    let value = |flag: &str| {
        let place = words.iter().position(|word| *word == flag)?;
        words.get(place + 1).copied()
    };
    if value("-namespace") != Some(namespace) || value("-address") != Some(socket) {
        return None;
    }
    value("-id").map(str::to_owned)
}

fn numbers() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Each process's parent.
fn parents() -> BTreeMap<i32, i32> {
    let parent = |pid: i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything.
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
    };
    numbers().filter_map(|pid| Some((pid, parent(pid)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shim_is_known_by_its_namespace_and_socket() {
        let line = "/usr/bin/containerd-shim-runc-v2\0-namespace\0kobune\0-id\0abc\0-address\0/run/c.sock\0";
        assert_eq!(served_by(line, "kobune", "/run/c.sock").as_deref(), Some("abc"));
        assert_eq!(served_by(line, "kobune-1", "/run/c.sock"), None);
        assert_eq!(served_by(line, "kobune", "/run/d.sock"), None);
        assert_eq!(
            served_by("sh\0-namespace\0kobune\0", "kobune", "/run/c.sock"),
            None
        );
    }
}
