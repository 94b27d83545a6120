//! Starting, stopping and removing.
//!
//! ```text
//! Created --start--> Running --exit--> Exited --remove--> gone
//!     \--start fails----------------------^
//! ```
//!
//! **Invariant**: an [`Entry`]'s `change` lock is held by whoever moves it along an arrow; waiting
//! for an exit is done without it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use containerd_client::services::v1 as api;
use jiff::Timestamp;
use kobune_runtime::{ContainerEventKind, Error, Resources, Result};

use super::record::{Entry, Exit, Phase};
use crate::Containerd;
use crate::connection::{Idempotent, failed};
use crate::logs::lines::Output;
use crate::spec::resources;

/// Upstream's exit code of a container that could not be started.
const START_ERROR_CODE: i32 = 128;
const SIGKILL: u32 = 9;
/// What containerd says when a shim's socket was gone, or the shim before it answered.
const SHIM_WAS_ENDING: [&str; 2] = ["failed to start shim", "ttrpc: closed"];
/// Milliseconds between tries to reach a pod's shim.
const SHIM_PAUSES: [u64; 5] = [10, 30, 100, 300, 1000];
/// How long a killed process may take to disappear before we say that it does not.
const KILL_LIMIT: Duration = Duration::from_secs(60);

fn shim_was_ending(message: &str) -> bool {
    SHIM_WAS_ENDING.iter().any(|words| message.contains(words))
}

impl Containerd {
    /// Goes to its end also when nobody waits for it any more, as when the pod is to go: half a start
    /// would leave a process of which the entry knows nothing.
    pub(crate) async fn start(&self, id: &str) -> Result<()> {
        let entry = self.entries.get(id)?;
        let doing = || format!("starting container {id}");
        let this = self.this.upgrade();
        let this = this.ok_or_else(|| Error::other(doing(), "kobune is ending"))?;
        let started = tokio::spawn(async move { this.start_entry(&entry).await });
        started.await.map_err(|error| Error::other(doing(), error))?
    }

    async fn start_entry(&self, entry: &Entry) -> Result<()> {
        let id = &entry.id;
        let _change = entry.change.lock().await;
        match entry.phase() {
            Phase::Running { .. } => return Ok(()),
            Phase::Created => {}
            _ => {
                return Err(Error::Start {
                    message: format!("container {id} has already run"),
                });
            }
        }
        self.make_fifos(entry)?;
        self.follow_log(entry, false)?;
        match self.run(entry).await {
            Ok(pid) => {
                let started_at = Timestamp::now();
                self.folders.write_started(id, started_at);
                entry.set_phase(Phase::Running { started_at, pid });
                self.tell(entry, ContainerEventKind::Started);
                Ok(())
            }
            // Nothing was tried: it may be tried again.
            Err(error @ Error::Unavailable { .. }) => Err(error),
            Err(error) => {
                let message = start_message(&error);
                self.never_started(entry, &message).await;
                Err(Error::Start { message })
            }
        }
    }

    /// Reads the container's FIFOs into its log, if that is not done already.
    pub(crate) fn follow_log(&self, entry: &Entry, begun: bool) -> Result<()> {
        if entry.log().is_some() {
            return Ok(());
        }
        let folder = self.folders.of(&entry.id);
        let (stdout, stderr) = (folder.join("stdout"), folder.join("stderr"));
        let mut fifos = vec![(Output::Stdout, stdout.as_path())];
        if !entry.record.tty {
            fifos.push((Output::Stderr, stderr.as_path()));
        }
        let record = &entry.record;
        let log = self.pump.follow(
            &fifos,
            &record.log_path,
            record.log_max_size,
            record.log_max_files,
            begun,
        );
        let log = log
            .map_err(|error| Error::other(format!("opening the log {}", record.log_path.display()), error))?;
        entry.set_log(Some(log));
        Ok(())
    }

    async fn run(&self, entry: &Entry) -> Result<u32> {
        let id = &entry.id;
        let mut rootfs = entry
            .rootfs
            .lock()
            .unwrap_or_else(|poison| poison.into_inner())
            .clone();
        if rootfs.is_empty() {
            rootfs = self.images.mounts(id).await?;
        }
        let folder = self.folders.of(id);
        let path = |name: &str, there: bool| {
            if there {
                folder.join(name).display().to_string()
            } else {
                String::new()
            }
        };
        let request = api::CreateTaskRequest {
            container_id: id.clone(),
            rootfs,
            stdin: path("stdin", entry.record.stdin),
            stdout: path("stdout", true),
            // Without a terminal the shim wants a path here.
            stderr: path("stderr", !entry.record.tty),
            terminal: entry.record.tty,
            ..Default::default()
        };
        self.create_task(request).await?;
        let request = api::StartRequest {
            container_id: id.clone(),
            ..Default::default()
        };
        let mut tasks = self.connection.tasks();
        let started = tasks.start(request).await.map_err(failed("starting the task"))?;
        Ok(started.into_inner().pid)
    }

    /// A pod's shim ends with the pod's last task; who comes just then finds its address, and nobody
    /// behind it. The next try gets a new shim.
    async fn create_task(&self, request: api::CreateTaskRequest) -> Result<()> {
        let mut pauses = SHIM_PAUSES.into_iter();
        loop {
            let created = self.connection.tasks().create(request.clone()).await;
            let pause = pauses.next();
            match (created, pause) {
                (Err(status), Some(pause)) if shim_was_ending(status.message()) => {
                    tracing::debug!(container = request.container_id, %status, "the shim was ending");
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
                (created, _) => return created.map(drop).map_err(failed("creating the task")),
            }
        }
    }

    async fn never_started(&self, entry: &Entry, message: &str) {
        let mut tasks = self.connection.tasks();
        let _ = tasks.kill(kill_request(&entry.id, SIGKILL)).await;
        let _ = tasks
            .delete(api::DeleteTaskRequest {
                container_id: entry.id.clone(),
            })
            .await;
        if let Some(log) = entry.log() {
            self.pump.forget(&log);
            entry.set_log(None);
        }
        let exit = Exit {
            started_at: None,
            finished_at: Timestamp::now(),
            exit_code: START_ERROR_CODE,
            oom_killed: false,
            message: Some(message.to_owned()),
            lost: false,
        };
        self.folders.write_exit(&entry.id, &exit);
        entry.set_phase(Phase::Exited(exit));
        self.tell(entry, ContainerEventKind::Exited);
    }

    pub(crate) async fn stop(&self, id: &str, grace: Duration) -> Result<()> {
        let Some(entry) = self.entries.find(id) else {
            return Ok(());
        };
        {
            // A start that is under way is let through; then there is something to stop.
            let _change = entry.change.lock().await;
            if !matches!(entry.phase(), Phase::Running { .. }) {
                return Ok(());
            }
        }
        if !grace.is_zero() {
            self.signal(&entry, entry.record.stop_signal).await?;
            if tokio::time::timeout(grace, self.wait(&entry)).await.is_ok() {
                return Ok(());
            }
        }
        self.kill(&entry).await
    }

    async fn kill(&self, entry: &Arc<Entry>) -> Result<()> {
        self.signal(entry, SIGKILL).await?;
        tokio::time::timeout(KILL_LIMIT, self.wait(entry))
            .await
            .map_err(|_| Error::Other {
                doing: format!("killing container {}", entry.record.name),
                source: "its process does not end".into(),
            })
    }

    async fn signal(&self, entry: &Entry, signal: u32) -> Result<()> {
        match self
            .connection
            .tasks()
            .kill(kill_request(&entry.id, signal))
            .await
        {
            // "process already finished": its exit is on the way.
            Err(status) if status.message().contains("already finished") => Ok(()),
            answer => answer.or_gone().map_err(failed(format!(
                "sending signal {signal} to {}",
                entry.record.name
            ))),
        }
    }

    /// Returns when the container is over: told by the events, or by asking if they are interrupted.
    async fn wait(&self, entry: &Arc<Entry>) {
        let request = api::WaitRequest {
            container_id: entry.id.clone(),
            ..Default::default()
        };
        let mut tasks = self.connection.tasks();
        tokio::select! {
            () = entry.over() => {}
            answer = tasks.wait(request) => match answer {
                Ok(answer) => {
                    let answer = answer.into_inner();
                    let at = super::exit::timestamp(answer.exited_at).unwrap_or_else(Timestamp::now);
                    self.ended(entry, answer.exit_status, at).await;
                }
                Err(_) => entry.over().await,
            },
        }
    }

    pub(crate) async fn remove(&self, id: &str) -> Result<()> {
        let Some(entry) = self.entries.find(id) else {
            return Ok(());
        };
        if let Phase::Running { .. } = entry.phase() {
            self.kill(&entry).await?;
        }
        let _change = entry.change.lock().await;
        if let Some(log) = entry.log() {
            self.pump.forget(&log);
            entry.set_log(None);
        }
        // Also one that an earlier kobune created, or was deleting, when it was killed: the shim stays
        // as long as containerd was not told that it may go.
        if !entry.task_gone.load(Ordering::Relaxed) {
            self.delete_task(id).await?;
        }
        let request = api::DeleteContainerRequest { id: id.to_owned() };
        let mut containers = self.connection.containers();
        let (container, snapshot) = tokio::join!(containers.delete(request), self.remove_snapshot(id));
        container
            .or_gone()
            .map_err(failed(format!("deleting container {}", entry.record.name)))?;
        snapshot?;
        self.folders.remove(id);
        self.entries.remove(id);
        Ok(())
    }

    /// Deletes a task that has ended or never began; kills it if need be.
    pub(crate) async fn delete_task(&self, id: &str) -> Result<()> {
        let mut tasks = self.connection.tasks();
        let request = || api::DeleteTaskRequest {
            container_id: id.to_owned(),
        };
        match tasks.delete(request()).await {
            Err(status) if runs_still(&status) => {
                let _ = tasks.kill(kill_request(id, SIGKILL)).await;
                let wait = api::WaitRequest {
                    container_id: id.to_owned(),
                    ..Default::default()
                };
                let _ = tokio::time::timeout(KILL_LIMIT, tasks.wait(wait)).await;
                tasks
                    .delete(request())
                    .await
                    .or_gone()
                    .map_err(failed("deleting a task"))
            }
            answer => answer.or_gone().map_err(failed("deleting a task")),
        }
    }

    pub(crate) async fn update(&self, id: &str, wanted: &Resources) -> Result<()> {
        let entry = self.entries.get(id)?;
        let limits = resources::limits(wanted, &self.host);
        let value =
            serde_json::to_vec(&limits).map_err(|error| Error::other("encoding resource limits", error))?;
        let request = api::UpdateTaskRequest {
            container_id: id.to_owned(),
            resources: Some(prost_types::Any {
                type_url: "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources".into(),
                value,
            }),
            ..Default::default()
        };
        let answer = self.connection.tasks().update(request).await;
        answer.map(drop).map_err(failed(format!(
            "changing the limits of container {}",
            entry.record.name
        )))
    }
}

/// containerd's way to say it; the shim's own words come with no code.
fn runs_still(status: &tonic::Status) -> bool {
    status.code() == tonic::Code::FailedPrecondition || status.message().contains("running process")
}

fn kill_request(id: &str, signal: u32) -> api::KillRequest {
    api::KillRequest {
        container_id: id.to_owned(),
        signal,
        ..Default::default()
    }
}

/// runc's own words, without what we were doing.
fn start_message(error: &Error) -> String {
    match error {
        Error::Other { source, .. } => {
            let words = source.to_string();
            let words = words.rsplit_once(" (").map_or(words.as_str(), |(words, _)| words);
            format!("failed to create containerd task: {words}")
        }
        other => other.to_string(),
    }
}
