//! Beginning the operations that a plan names.

use std::time::Duration;

use jiff::Timestamp;
use kobune_runtime::{Container, ContainerState};
use tokio_util::sync::CancellationToken;

use super::{Outcome, Worker, logs};
use crate::pod::history::next_attempt;
use crate::pod::kill::Kill;
use crate::pod::plan::{KillReason, Step, Waiting, crash_key};
use crate::pod::report;
use crate::pod::setup;
use crate::pod::start::{Failure, Start};
use crate::pod::stopping::StopCause;

/// A stop that failed is tried again after this.
const KILL_RETRY: Duration = Duration::from_secs(1);

impl Worker {
    pub(super) fn begin(&mut self, step: Step, now: Timestamp) {
        match step {
            Step::SetUp => self.begin_set_up(),
            Step::Start { name, after } => self.begin_start(name, after, now),
            Step::Kill {
                id,
                message,
                grace,
                reason,
                ..
            } => self.begin_kill(&id, message, grace, reason),
            Step::TearDown => self.begin_tear_down(),
            Step::Finish => self.begin_finish(now),
        }
    }

    fn begin_set_up(&mut self) {
        self.busy.setting_up = true;
        self.torn_down = false;
        let (context, pod, tokens) = (self.context.clone(), self.pod.clone(), self.tokens.clone());
        self.operations
            .spawn(async move { Outcome::SetUp(setup::set_up(&context, &pod, &tokens).await) });
    }

    fn begin_start(&mut self, name: String, after: Option<Timestamp>, now: Timestamp) {
        let Some(prepared) = self.prepared.clone() else {
            return;
        };
        if let (Some(after), Some((_, spec))) = (after, self.pod.container(&name)) {
            self.crash.next(&crash_key(spec), after, now);
        }
        self.retries.remove(&name);
        self.busy.starting = Some(name.clone());
        self.cancel_start = CancellationToken::new();
        let lost = |c: &&Container| matches!(c.state, ContainerState::Exited { lost: true, .. });
        let start = Start {
            context: self.context.clone(),
            pod: self.pod.clone(),
            attempt: next_attempt(&self.known, &self.report.latest, &name),
            lost: self.known.current(&name).filter(lost).map(|c| c.id.clone()),
            target: self.target_of(&name),
            name: name.clone(),
            prepared,
        };
        let cancel = self.cancel_start.clone();
        self.operations.spawn(async move {
            let started = tokio::select! {
                started = start.run() => started,
                () = cancel.cancelled() => Err(given_up()),
            };
            Outcome::Started(name, started)
        });
    }

    /// The container that an ephemeral one names as its target.
    fn target_of(&self, name: &str) -> Option<Result<String, String>> {
        let mut ephemeral = self.pod.spec().ephemeral_containers.iter().flatten();
        let target = ephemeral
            .find(|c| c.name == name)?
            .target_container_name
            .as_ref()?;
        let found = self.known.current(target);
        Some(
            match found.filter(|c| matches!(c.state, ContainerState::Running { .. })) {
                Some(container) => Ok(container.id.clone()),
                None if found.is_some() => Err(format!("container {target} is not running")),
                None => Err(format!("unable to find target container {target}")),
            },
        )
    }

    fn begin_kill(&mut self, id: &str, message: String, grace: i64, reason: KillReason) {
        let Some(container) = self.known.by_id(id).cloned() else {
            return;
        };
        let again = self.busy.stopping.insert(id.to_owned(), grace).is_some();
        self.probing.remove(id);
        let ips = self.prepared.as_ref().and_then(|p| p.ips.first());
        let kill = Kill {
            context: self.context.clone(),
            pod: self.pod.clone(),
            ip: ips
                .cloned()
                .unwrap_or_else(|| self.context.config.node_ip.to_string()),
            grace: Duration::from_secs(u64::try_from(grace).unwrap_or(0)),
            message: (!again && container.state != ContainerState::Created).then_some(message),
            hook: !again && reason != KillReason::Unknown,
            container,
        };
        let id = id.to_owned();
        self.operations.spawn(async move {
            let killed = kill.run().await;
            if killed.is_err() {
                // The runtime is away, say: the next try must not come at once.
                tokio::time::sleep(KILL_RETRY).await;
            }
            Outcome::Killed(id, killed.map_err(|e| e.to_string()))
        });
    }

    fn begin_tear_down(&mut self) {
        self.busy.setting_up = true;
        self.prepared = None;
        let (context, uid, netns) = (
            self.context.clone(),
            self.pod.uid().to_owned(),
            self.netns.clone(),
        );
        self.operations.spawn(async move {
            Outcome::TornDown(setup::tear_down(&context, &uid, netns.as_deref()).await)
        });
    }

    /// Nothing is left here. A deleted pod's object goes as soon as its last status is written.
    fn begin_finish(&mut self, now: Timestamp) {
        match self.stop.as_ref().map(|s| &s.cause) {
            Some(StopCause::Vanished) => {
                logs::remove_logs(&self.context, &self.pod);
                self.done = true;
            }
            Some(StopCause::Deleted) if !self.delete_sent && self.delete_retry.is_none_or(|t| t <= now) => {
                if !self.report.is_written() {
                    return;
                }
                self.delete_sent = true;
                self.delete_retry = None;
                let (context, pod) = (self.context.clone(), self.pod.clone());
                self.operations.spawn(async move {
                    Outcome::ObjectDeleted(report::delete_object(&context, &pod).await)
                });
            }
            _ => {}
        }
    }
}

fn given_up() -> Failure {
    Failure {
        waiting: Waiting {
            reason: "ContainerCreating".into(),
            message: String::new(),
        },
        pull: false,
        container: None,
    }
}
