//! Taking in what came of operations.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kobune_client::EventType;
use kobune_runtime::Container;

use super::{Outcome, Worker, logs};
use crate::pod::plan::{Retry, crash_key};
use crate::pod::setup::{Prepared, SetUpError};
use crate::pod::start::Failure;

/// A failed start that is no pull is tried again after this.
const START_RETRY: Duration = Duration::from_secs(10);
/// A container that ended as it was started is started again after this, the first time.
const FIRST_RETRY: Duration = Duration::from_secs(1);

impl Worker {
    pub(super) async fn finish(&mut self, outcome: Outcome) {
        let now = self.now();
        match outcome {
            Outcome::SetUp(result) => self.set_up_done(result, now).await,
            Outcome::Volumes(result) => self.volumes_done(result, now),
            Outcome::Started(name, result) => self.start_done(name, result, now).await,
            Outcome::Killed(id, result) => self.kill_done(&id, result).await,
            Outcome::TornDown(result) => self.tear_down_done(result, now),
            Outcome::Removed(id) => self.known.remove(&id),
            Outcome::Reported(result) => self.report_done(result, now),
            Outcome::ObjectDeleted(Ok(())) => {
                if self
                    .pod
                    .pod()
                    .metadata
                    .finalizers
                    .as_ref()
                    .is_none_or(Vec::is_empty)
                {
                    logs::remove_logs(&self.context, &self.pod);
                    self.done = true;
                }
            }
            Outcome::ObjectDeleted(Err(message)) => {
                tracing::warn!(pod = %self.pod.full_name(), %message, "deleting the pod's object failed");
                self.delete_sent = false;
                self.delete_retry = now.checked_add(SignedDuration::from_secs(1)).ok();
            }
        }
    }

    async fn set_up_done(&mut self, result: Result<Prepared, SetUpError>, now: Timestamp) {
        self.busy.setting_up = false;
        match result {
            Ok(prepared) => {
                self.set_ups.forget("");
                self.set_up_retry = None;
                self.netns = prepared.sandbox.network_namespace.clone();
                let now_there = Some(prepared.sandbox.attempt);
                if self
                    .found_sandbox
                    .replace(prepared.sandbox.attempt)
                    .is_some_and(|found| Some(found) != now_there)
                {
                    let message = "Pod sandbox changed, it will be killed and re-created.";
                    self.context
                        .tell(&self.pod, EventType::Normal, "SandboxChanged", message);
                }
                self.prepared = Some(prepared);
                self.refresh_at = self.tokens.lock().await.next_renewal();
                // An adopted pod's containers run already.
                let running: Vec<Container> = self.known.alive().cloned().collect();
                running.iter().for_each(|c| self.begin_probes(c));
            }
            Err(error) => {
                let (reason, texts) = error.events();
                for text in texts {
                    self.context.tell(&self.pod, EventType::Warning, reason, text);
                }
                tracing::warn!(pod = %self.pod.full_name(), %error, "setting a pod up failed");
                let delay = self.set_ups.next("", now, now);
                self.set_up_retry = now.checked_add(delay).ok();
            }
        }
    }

    async fn start_done(&mut self, name: String, result: Result<Container, Failure>, now: Timestamp) {
        self.busy.starting = None;
        match result {
            Ok(container) => {
                self.pull_errors.remove(&name);
                self.observe(container);
            }
            Err(failure) => {
                let delay = self.retry_delay(&name, &failure, now);
                if let Some(container) = failure.container {
                    self.observe(container);
                } else {
                    // It may have been created when the start was given up.
                    self.look_for(&name).await;
                }
                if let Ok(at) = now.checked_add(delay) {
                    self.retries.insert(
                        name,
                        Retry {
                            at,
                            waiting: failure.waiting,
                        },
                    );
                }
            }
        }
    }

    /// For how long a start that failed is not tried again.
    fn retry_delay(&mut self, name: &str, failure: &Failure, now: Timestamp) -> Duration {
        let spec = self.pod.container(name).map(|(_, spec)| spec);
        if failure.pull {
            self.pull_errors.insert(name.to_owned(), now);
            let image = spec.and_then(|spec| spec.image.as_deref());
            return self.pulls.next(image.unwrap_or_default(), now, now);
        }
        // A container that ended is started again at once; from the second time on the crash back-off
        // holds it up, and the failure is shown for a while before that is.
        let ended = failure.container.is_some();
        match spec.is_some_and(|spec| ended && !self.crash.knows(&crash_key(spec))) {
            true => FIRST_RETRY,
            false => START_RETRY,
        }
    }

    async fn kill_done(&mut self, id: &str, result: Result<Option<Container>, String>) {
        self.busy.stopping.remove(id);
        match result {
            Ok(Some(container)) => self.observe(container),
            Ok(None) => self.known.remove(id),
            Err(message) => {
                tracing::warn!(pod = %self.pod.full_name(), %message, "stopping a container failed");
                self.context.tell(
                    &self.pod,
                    EventType::Warning,
                    "FailedKillPod",
                    format!("error killing pod: {message}"),
                );
                self.look_at(id).await;
            }
        }
    }

    fn tear_down_done(&mut self, result: Result<(), String>, now: Timestamp) {
        self.busy.setting_up = false;
        match result {
            Ok(()) => {
                self.torn_down = true;
                self.set_up_retry = None;
            }
            Err(message) => {
                tracing::warn!(pod = %self.pod.full_name(), %message, "taking a pod down failed");
                self.context
                    .tell(&self.pod, EventType::Warning, "FailedKillPod", message);
                let delay = self.set_ups.next("down", now, now);
                self.set_up_retry = now.checked_add(delay).ok();
            }
        }
    }
}
