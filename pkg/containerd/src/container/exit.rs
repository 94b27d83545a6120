//! The end of a container: its code, whether it was for memory, its last output; told once.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use containerd_client::services::v1 as api;
use jiff::Timestamp;
use kobune_runtime::{ContainerEvent, ContainerEventKind};

use super::record::{Entry, Exit, Phase};
use crate::Containerd;
use crate::connection::Idempotent;

/// How long the last output may take after the end. Something else may hold the pipe open.
const LAST_OUTPUT_LIMIT: Duration = Duration::from_secs(2);

impl Containerd {
    /// The container's process has ended. May be called more than once; the first call counts.
    pub(crate) async fn ended(&self, entry: &Arc<Entry>, status: u32, at: Timestamp) {
        let _change = entry.change.lock().await;
        let Phase::Running { started_at, .. } = entry.phase() else {
            return;
        };
        // The event of the kernel's kill may come late; the group's own counter does not.
        let kills = self.cgroups.oom_kills(&entry.record.cgroup).unwrap_or(0);
        let oom_killed = kills > 0 || entry.oom.load(Ordering::Relaxed);
        if let Some(log) = entry.log() {
            if tokio::time::timeout(LAST_OUTPUT_LIMIT, log.ended())
                .await
                .is_err()
            {
                self.pump.forget(&log);
            }
            entry.set_log(None);
        }
        let exit = Exit {
            started_at: Some(started_at),
            // A clock that was set back must not end it before it began.
            finished_at: at.max(started_at),
            exit_code: status as i32,
            oom_killed,
            message: None,
            lost: false,
        };
        self.folders.write_exit(&entry.id, &exit);
        entry.set_phase(Phase::Exited(exit));
        self.tell(entry, ContainerEventKind::Exited);
        // The shim ends with its last task: one of a completed pod takes no memory.
        let request = api::DeleteTaskRequest {
            container_id: entry.id.clone(),
        };
        match self.connection.tasks().delete(request).await.or_gone() {
            Ok(()) => entry.task_gone.store(true, Ordering::Relaxed),
            Err(error) => {
                tracing::warn!(container = entry.id, %error, "deleting the task of an ended container")
            }
        }
    }

    /// Sends an event to whoever listens.
    pub(crate) fn tell(&self, entry: &Entry, kind: ContainerEventKind) {
        let _ = self.events.send(ContainerEvent {
            sandbox_id: entry.record.sandbox_id.clone(),
            container_id: entry.id.clone(),
            kind,
        });
    }
}

/// From protobuf's; `None` for none or nonsense.
pub(crate) fn timestamp(at: Option<prost_types::Timestamp>) -> Option<Timestamp> {
    at.filter(|at| at.seconds > 0)
        .and_then(|at| Timestamp::new(at.seconds, at.nanos).ok())
}
