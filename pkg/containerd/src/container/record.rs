//! What is kept of a container: with it in containerd what never changes, in memory and in a small
//! file what does.
//!
//! ```text
//! containerd's container: labels (to select), extension "kobune" = Record as JSON, spec
//! {run_dir}/containers/<id>/     FIFOs, `started` (gone after a reboot, as the process is)
//! {data_dir}/exits/<id>.json     how it ended
//! {data_dir}/volumes/<id>/       what it has in its image's volumes
//! ```

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};

use containerd_client::services::v1 as api;
use containerd_client::types::Mount;
use jiff::Timestamp;
use kobune_runtime::{
    Container, ContainerSpec, ContainerState, Error, LOST_EXIT_CODE, ProcessUser, Result, Sandbox,
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::logs::ContainerLog;

/// Label of the pod's uid.
pub(crate) const SANDBOX_LABEL: &str = "kobune.io/sandbox";
/// Key and type of the extension.
const EXTENSION: &str = "kobune";

/// What never changes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) sandbox_id: String,
    pub(crate) pod_name: String,
    pub(crate) pod_namespace: String,
    pub(crate) name: String,
    pub(crate) attempt: u32,
    pub(crate) image: String,
    pub(crate) image_id: String,
    pub(crate) created_at: Timestamp,
    pub(crate) log_path: PathBuf,
    pub(crate) log_max_size: u64,
    pub(crate) log_max_files: u32,
    pub(crate) stdin: bool,
    pub(crate) stdin_once: bool,
    pub(crate) tty: bool,
    /// Its number.
    pub(crate) stop_signal: u32,
    /// Relative to each controller's mount.
    pub(crate) cgroup: String,
    pub(crate) annotations: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) user: Option<ProcessUser>,
}

impl Record {
    /// The record of a container to be made.
    pub(crate) fn new(
        id: &str,
        sandbox: &Sandbox,
        spec: &ContainerSpec,
        image_id: &str,
        stop_signal: u32,
    ) -> Self {
        Self {
            sandbox_id: sandbox.id.clone(),
            pod_name: sandbox.spec.pod_name.clone(),
            pod_namespace: sandbox.spec.pod_namespace.clone(),
            name: spec.name.clone(),
            attempt: spec.attempt,
            image: spec.image.clone(),
            image_id: image_id.to_owned(),
            created_at: Timestamp::now(),
            log_path: spec.log_path.clone(),
            log_max_size: spec.log_max_size,
            log_max_files: spec.log_max_files,
            stdin: spec.stdin,
            stdin_once: spec.stdin_once,
            tty: spec.tty,
            stop_signal,
            cgroup: format!("{}/{id}", spec.cgroup_parent.trim_end_matches('/')),
            annotations: spec.annotations.clone(),
            user: None,
        }
    }

    /// As containerd's container has it.
    pub(crate) fn extensions(&self) -> Result<HashMap<String, prost_types::Any>> {
        let value =
            serde_json::to_vec(self).map_err(|error| Error::other("encoding a container's record", error))?;
        Ok(HashMap::from([(
            EXTENSION.to_owned(),
            prost_types::Any {
                type_url: "kobune.io/container".into(),
                value,
            },
        )]))
    }

    /// From containerd's container; `None` if it is not one of ours.
    pub(crate) fn of(container: &api::Container) -> Option<Self> {
        serde_json::from_slice(&container.extensions.get(EXTENSION)?.value).ok()
    }

    /// Labels, to select by and for who looks with other tools.
    pub(crate) fn labels(&self) -> HashMap<String, String> {
        [
            (SANDBOX_LABEL, &self.sandbox_id),
            ("kobune.io/container", &self.name),
            ("kobune.io/pod", &self.pod_name),
            ("kobune.io/namespace", &self.pod_namespace),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.clone()))
        .collect()
    }
}

/// How a container ended; survives this process and, as far as the disk does, the machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Exit {
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Timestamp,
    pub(crate) exit_code: i32,
    pub(crate) oom_killed: bool,
    pub(crate) message: Option<String>,
    #[serde(default)]
    pub(crate) lost: bool,
}

impl Exit {
    /// Nobody saw it end.
    pub(crate) fn lost(started_at: Timestamp) -> Self {
        Self {
            started_at: Some(started_at),
            finished_at: Timestamp::now().max(started_at),
            exit_code: LOST_EXIT_CODE,
            oom_killed: false,
            message: None,
            lost: true,
        }
    }
}

/// A container's life.
#[derive(Debug, Clone)]
pub(crate) enum Phase {
    Created,
    Running { started_at: Timestamp, pid: u32 },
    Exited(Exit),
}

impl Phase {
    /// No process of it runs, and none will.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Phase::Exited(_))
    }

    fn state(&self) -> ContainerState {
        match self.clone() {
            Phase::Created => ContainerState::Created,
            Phase::Running { started_at, pid } => ContainerState::Running { started_at, pid },
            Phase::Exited(exit) => ContainerState::Exited {
                started_at: exit.started_at,
                finished_at: exit.finished_at,
                exit_code: exit.exit_code,
                oom_killed: exit.oom_killed,
                message: exit.message,
                lost: exit.lost,
            },
        }
    }
}

/// One container, as this process knows it.
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) record: Record,
    /// Its snapshot's mounts, when it was made by this process.
    pub(crate) rootfs: Mutex<Vec<Mount>>,
    /// One change at a time: start, exit, stop's end and removal.
    pub(crate) change: tokio::sync::Mutex<()>,
    phase: watch::Sender<Phase>,
    log: Mutex<Option<Arc<ContainerLog>>>,
    /// This process has deleted its task (or seen that there is none).
    pub(crate) task_gone: std::sync::atomic::AtomicBool,
    /// The kernel reported a kill for memory.
    pub(crate) oom: std::sync::atomic::AtomicBool,
}

impl Entry {
    pub(crate) fn new(id: String, record: Record, phase: Phase) -> Arc<Self> {
        Arc::new(Self {
            id,
            record,
            rootfs: Mutex::default(),
            change: tokio::sync::Mutex::default(),
            phase: watch::Sender::new(phase),
            log: Mutex::default(),
            task_gone: std::sync::atomic::AtomicBool::new(false),
            oom: std::sync::atomic::AtomicBool::new(false),
        })
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase.borrow().clone()
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// Returns when it has ended.
    pub(crate) async fn over(&self) {
        // The sender is ours: it is not dropped while we wait.
        let _ = self.phase.subscribe().wait_for(Phase::is_over).await;
    }

    pub(crate) fn log(&self) -> Option<Arc<ContainerLog>> {
        self.log
            .lock()
            .unwrap_or_else(|poison| poison.into_inner())
            .clone()
    }

    pub(crate) fn set_log(&self, log: Option<Arc<ContainerLog>>) {
        *self.log.lock().unwrap_or_else(|poison| poison.into_inner()) = log;
    }

    /// As the kubelet sees it.
    pub(crate) fn container(&self) -> Container {
        let record = &self.record;
        Container {
            id: self.id.clone(),
            sandbox_id: record.sandbox_id.clone(),
            pod_name: record.pod_name.clone(),
            pod_namespace: record.pod_namespace.clone(),
            name: record.name.clone(),
            attempt: record.attempt,
            image: record.image.clone(),
            image_id: record.image_id.clone(),
            created_at: record.created_at,
            state: self.phase.borrow().state(),
            log_path: record.log_path.clone(),
            annotations: record.annotations.clone(),
            user: record.user.clone(),
        }
    }
}

/// All containers of ours.
#[derive(Default)]
pub(crate) struct Entries(RwLock<HashMap<String, Arc<Entry>>>);

impl Entries {
    /// The container of this id, or `NotFound`.
    pub(crate) fn get(&self, id: &str) -> Result<Arc<Entry>> {
        self.find(id).ok_or_else(|| Error::NotFound {
            what: format!("container {id}"),
        })
    }

    pub(crate) fn find(&self, id: &str) -> Option<Arc<Entry>> {
        self.0
            .read()
            .unwrap_or_else(|poison| poison.into_inner())
            .get(id)
            .cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        self.0
            .read()
            .unwrap_or_else(|poison| poison.into_inner())
            .values()
            .cloned()
            .collect()
    }

    pub(crate) fn insert(&self, entry: Arc<Entry>) {
        self.0
            .write()
            .unwrap_or_else(|poison| poison.into_inner())
            .insert(entry.id.clone(), entry);
    }

    pub(crate) fn remove(&self, id: &str) {
        self.0
            .write()
            .unwrap_or_else(|poison| poison.into_inner())
            .remove(id);
    }
}

/// The folders of containers.
#[derive(Debug, Clone)]
pub(crate) struct Folders {
    run: PathBuf,
    exits: PathBuf,
    volumes: PathBuf,
}

impl Folders {
    pub(crate) fn open(run_dir: &Path, data_dir: &Path) -> Result<Self> {
        let folders = Self {
            run: run_dir.join("containers"),
            exits: data_dir.join("exits"),
            volumes: data_dir.join("volumes"),
        };
        for folder in [&folders.run, &folders.exits, &folders.volumes] {
            std::fs::create_dir_all(folder)
                .map_err(|error| Error::other(format!("making {}", folder.display()), error))?;
        }
        Ok(folders)
    }

    /// The folder of a container's FIFOs.
    pub(crate) fn of(&self, id: &str) -> PathBuf {
        self.run.join(id)
    }

    /// The folder of a container's anonymous volumes.
    pub(crate) fn volumes(&self, id: &str) -> PathBuf {
        self.volumes.join(id)
    }

    /// Removes what is here, from before `begun`, of containers that nobody knows: we were killed when
    /// they were not registered yet, or not any more.
    pub(crate) fn remove_orphans(&self, is_known: impl Fn(&str) -> bool, begun: Timestamp) {
        for folder in [&self.run, &self.exits, &self.volumes] {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let name = entry.file_name();
                let Some(id) = name.to_str().map(|name| name.trim_end_matches(".json")) else {
                    continue;
                };
                let made = entry.metadata().and_then(|entry| entry.modified()).ok();
                let made = made.and_then(|made| Timestamp::try_from(made).ok());
                if !is_known(id) && made.is_some_and(|made| made < begun) {
                    self.remove(id);
                }
            }
        }
    }

    fn exit_file(&self, id: &str) -> PathBuf {
        self.exits.join(format!("{id}.json"))
    }

    pub(crate) fn write_exit(&self, id: &str, exit: &Exit) {
        let text = serde_json::to_vec(exit).unwrap_or_default();
        if let Err(error) = std::fs::write(self.exit_file(id), text) {
            tracing::warn!(container = id, %error, "how the container ended could not be written down");
        }
    }

    pub(crate) fn read_exit(&self, id: &str) -> Option<Exit> {
        serde_json::from_slice(&std::fs::read(self.exit_file(id)).ok()?).ok()
    }

    pub(crate) fn write_started(&self, id: &str, at: Timestamp) {
        let _ = std::fs::write(self.of(id).join("started"), at.to_string());
    }

    pub(crate) fn read_started(&self, id: &str) -> Option<Timestamp> {
        std::fs::read_to_string(self.of(id).join("started"))
            .ok()?
            .parse()
            .ok()
    }

    pub(crate) fn remove(&self, id: &str) {
        let _ = std::fs::remove_dir_all(self.of(id));
        let _ = std::fs::remove_dir_all(self.volumes(id));
        let _ = std::fs::remove_file(self.exit_file(id));
    }
}
