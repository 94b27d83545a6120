//! Finding containers again: after a restart of this process, of containerd, or of the machine.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use containerd_client::services::v1 as api;
use containerd_client::types::v1::{Process, Status};
use jiff::Timestamp;
use kobune_runtime::Result;

use super::exit::timestamp;
use super::record::{Entry, Exit, Phase, Record};
use crate::Containerd;
use crate::connection::failed;

impl Containerd {
    /// Compares what we know with what containerd has, and takes over what is new or has changed.
    pub(crate) async fn load(self: &Arc<Self>) -> Result<()> {
        let (mut containers, mut tasks) = (self.connection.containers(), self.connection.tasks());
        let (containers, tasks) = tokio::try_join!(
            containers.list(api::ListContainersRequest::default()),
            tasks.list(api::ListTasksRequest::default()),
        )
        .map_err(failed("listing containers"))?;
        let mut tasks: HashMap<String, Process> = tasks
            .into_inner()
            .tasks
            .into_iter()
            .map(|task| (task.id.clone(), task))
            .collect();
        let mut alive = HashSet::new();
        for container in containers.into_inner().containers {
            let Some(record) = Record::of(&container) else {
                continue;
            };
            alive.insert(container.id.clone());
            let task = tasks.remove(&container.id);
            match self.entries.find(&container.id) {
                Some(entry) => self.compare(&entry, task).await,
                None => self.adopt(container.id, record, task).await,
            }
        }
        for entry in self.entries.all() {
            if !alive.contains(&entry.id) && !matches!(entry.phase(), Phase::Created) {
                self.entries.remove(&entry.id);
            }
        }
        let is_known = |id: &str| alive.contains(id) || self.entries.find(id).is_some();
        self.folders.remove_orphans(is_known, self.started_at);
        self.remove_orphans(&alive).await
    }

    async fn adopt(self: &Arc<Self>, id: String, record: Record, task: Option<Process>) {
        let status = task.as_ref().map(Process::status);
        let begun = self.folders.read_started(&id);
        let phase = match (self.folders.read_exit(&id), status) {
            (Some(exit), _) => Phase::Exited(exit),
            // After a reboot the folder of a container that had run is gone.
            (None, None) if !self.folders.of(&id).exists() => self.lose(&id, record.created_at),
            (None, Some(Status::Created)) | (None, None) if begun.is_none() => Phase::Created,
            (None, Some(_)) => Phase::Running {
                started_at: begun.unwrap_or(record.created_at),
                pid: task.as_ref().map_or(0, |task| task.pid),
            },
            (None, None) => self.lose(&id, begun.unwrap_or(record.created_at)),
        };
        let entry = Entry::new(id, record, phase);
        self.entries.insert(Arc::clone(&entry));
        if let Phase::Running { .. } = entry.phase()
            && let Err(error) = self
                .make_fifos(&entry)
                .and_then(|()| self.follow_log(&entry, true))
        {
            tracing::warn!(container = entry.id, %error, "the output of an adopted container is not followed");
        }
        match (entry.phase(), status) {
            // Killed between creating and starting the task: start makes it anew.
            (Phase::Created, Some(_)) | (Phase::Exited(_), Some(_)) => {
                let _ = self.delete_task(&entry.id).await;
            }
            _ => self.compare(&entry, task).await,
        }
    }

    /// It was started and nobody knows how it ended. Written down, or each start would find another
    /// time for it.
    fn lose(&self, id: &str, started_at: Timestamp) -> Phase {
        let exit = Exit::lost(started_at);
        self.folders.write_exit(id, &exit);
        Phase::Exited(exit)
    }

    /// Looks whether a container that ran for all we know still does.
    async fn compare(self: &Arc<Self>, entry: &Arc<Entry>, task: Option<Process>) {
        let Phase::Running { .. } = entry.phase() else {
            return;
        };
        match task {
            Some(task) if task.status() == Status::Stopped => {
                let at = timestamp(task.exited_at).unwrap_or_else(Timestamp::now);
                let (this, entry) = (Arc::clone(self), Arc::clone(entry));
                tokio::spawn(async move { this.ended(&entry, task.exit_status, at).await });
            }
            Some(_) => {}
            None => {
                let _change = entry.change.lock().await;
                // It may have ended, been told and been deleted since the list was made.
                if let Phase::Running { started_at, .. } = entry.phase() {
                    entry.set_phase(self.lose(&entry.id, started_at));
                    self.tell(entry, kobune_runtime::ContainerEventKind::Exited);
                }
            }
        }
    }
}
