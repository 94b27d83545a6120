//! Writes a pod's status to the API: only what changed, one write at a time, the important at once.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kobune_client::k8s_openapi::api::core::v1::{Pod, PodStatus};
use kobune_client::kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kobune_client::kube::{self, Api};

use super::desired::Desired;
use super::patch::status_patch;
use super::plan::Waiting;
use super::status::{StatusInput, status};
use super::worker::{Outcome, Worker};
use crate::context::Context;

/// A change that nobody waits for is held back so long, to go with the next one.
const COALESCE: Duration = Duration::from_millis(250);
const RETRY: Duration = Duration::from_secs(1);

/// What was made and what the API has.
#[derive(Debug)]
pub struct Report {
    /// The status made last.
    pub latest: PodStatus,
    /// As the API has it, as far as known.
    written: PodStatus,
    /// As it will be when the write under way succeeds.
    sent: Option<PodStatus>,
    /// A write is under way.
    pub writing: bool,
    changed_at: Option<Timestamp>,
    retry_at: Option<Timestamp>,
    /// Of the last write.
    revision: u64,
}

fn revision(pod: &Pod) -> Option<u64> {
    pod.metadata.resource_version.as_deref()?.parse().ok()
}

impl Report {
    /// What moves with a clock that is set.
    pub(super) fn deadlines(&mut self) -> impl Iterator<Item = &mut Timestamp> {
        self.changed_at.iter_mut().chain(&mut self.retry_at)
    }

    /// What the API has is where it begins.
    pub fn new(status: PodStatus) -> Self {
        Report {
            latest: status.clone(),
            written: status,
            sent: None,
            writing: false,
            changed_at: None,
            retry_at: None,
            revision: 0,
        }
    }

    /// The API has everything that was made.
    pub fn is_written(&self) -> bool {
        // Compared as the API has it: times there have whole seconds.
        !self.writing && status_patch("", &self.written, &self.latest).is_none()
    }

    /// The object as it came from the API: others' conditions are taken over.
    pub fn seen(&mut self, pod: &Pod) {
        // A watch may tell of a state before our last write.
        let revision = revision(pod).unwrap_or(u64::MAX);
        if let (false, true, Some(status)) = (self.writing, revision >= self.revision, &pod.status) {
            self.written = status.clone();
            let foreign = status.conditions.clone();
            if foreign.is_some() {
                merge_foreign(&mut self.latest, status);
            }
        }
    }
}

/// Conditions that are not ours come from the API's status.
fn merge_foreign(latest: &mut PodStatus, seen: &PodStatus) {
    let ours = |t: &str| {
        matches!(
            t,
            "PodReadyToStartContainers" | "Initialized" | "Ready" | "ContainersReady" | "PodScheduled"
        )
    };
    let mut list: Vec<_> = seen
        .conditions
        .iter()
        .flatten()
        .filter(|c| !ours(&c.type_))
        .cloned()
        .collect();
    list.extend(
        latest
            .conditions
            .take()
            .into_iter()
            .flatten()
            .filter(|c| ours(&c.type_)),
    );
    latest.conditions = Some(list);
}

/// Somebody may be waiting for it: a phase, a container's state, readiness, an address.
fn is_urgent(old: &PodStatus, new: &PodStatus) -> bool {
    old.phase != new.phase
        || old.container_statuses != new.container_statuses
        || old.init_container_statuses != new.init_container_statuses
        || old.ephemeral_container_statuses != new.ephemeral_container_statuses
        || old.reason != new.reason
        || ready(old) != ready(new)
}

fn ready(status: &PodStatus) -> Option<&str> {
    status
        .conditions
        .iter()
        .flatten()
        .find(|c| c.type_ == "Ready")
        .map(|c| c.status.as_str())
}

impl Worker {
    /// Makes the status and writes it if it changed; answers when to come back for that.
    pub(super) fn report(
        &mut self,
        waiting: &BTreeMap<String, Waiting>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let stop = self.stop.as_ref().map(|s| s.cause.clone());
        if matches!(stop, Some(super::stopping::StopCause::Vanished)) {
            return None;
        }
        if !self.settled {
            let next = self.make_status(waiting, now);
            if next != self.report.latest {
                self.report.latest = next;
            }
        }
        self.write(now)
    }

    fn make_status(&self, waiting: &BTreeMap<String, Waiting>, now: Timestamp) -> PodStatus {
        let ips = self
            .prepared
            .as_ref()
            .map(|p| p.ips.as_slice())
            .unwrap_or_default();
        let host_ips = [self.context.config.node_ip.to_string()];
        status(&StatusInput {
            pod: &self.pod,
            old: &self.report.latest,
            known: &self.known,
            waiting,
            probes: &self.probes,
            set_up: self.prepared.is_some(),
            pod_ips: ips,
            host_ips: &host_ips,
            runtime: &self.context.runtime_name,
            stop: self.stop.as_ref().map(|s| &s.cause),
            ended: self.ended(),
            now,
        })
    }

    fn write(&mut self, now: Timestamp) -> Option<Timestamp> {
        let report = &mut self.report;
        if report.writing {
            return None;
        }
        let Some(patch) = status_patch(self.pod.uid(), &report.written, &report.latest) else {
            // Equal as the API sees it (an empty list and an absent one, say).
            report.written = report.latest.clone();
            report.changed_at = None;
            return None;
        };
        if let Some(at) = report.retry_at.filter(|at| now < *at) {
            return Some(at);
        }
        let since = *report.changed_at.get_or_insert(now);
        let due = since.checked_add(COALESCE).unwrap_or(now);
        if !is_urgent(&report.written, &report.latest) && now < due && self.stop.is_none() {
            return Some(due);
        }
        report.changed_at = None;
        report.retry_at = None;
        report.writing = true;
        report.sent = Some(report.latest.clone());
        // The answer's pod comes by the watch anyway: only its success matters here.
        let name = self.pod.name().to_owned();
        let pods = self.context.pods(self.pod.namespace());
        self.operations.spawn(async move {
            let written = pods
                .patch_status(&name, &PatchParams::default(), &Patch::Strategic(patch))
                .await;
            Outcome::Reported(match written {
                Ok(pod) => Ok(revision(&pod)),
                // Gone, or another pod of that name: nobody is left to read it.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(None),
                // Refused for what it says: the same again would be refused again, and a pod that is
                // to go must not wait for it.
                Err(kube::Error::Api(status)) if matches!(status.code, 400 | 413 | 422) => {
                    tracing::error!(pod = %name, message = %status.message, "a pod's status was refused");
                    Ok(None)
                }
                Err(error) => Err(error.to_string()),
            })
        });
        None
    }

    pub(super) fn report_done(&mut self, result: Result<Option<u64>, String>, now: Timestamp) {
        let report = &mut self.report;
        report.writing = false;
        let sent = report.sent.take();
        match result {
            Ok(revision) => {
                report.revision = revision.unwrap_or(report.revision);
                if let Some(sent) = sent {
                    report.written = sent;
                }
            }
            Err(message) => {
                tracing::warn!(pod = %self.pod.full_name(), %message, "writing a pod's status failed");
                report.retry_at = now
                    .checked_add(SignedDuration::try_from(RETRY).unwrap_or_default())
                    .ok();
            }
        }
    }
}

/// Deletes the pod's object for good: grace 0, and only this very pod.
pub async fn delete_object(context: &Context, pod: &Desired) -> Result<(), String> {
    let pods: Api<Pod> = context.pods(pod.namespace());
    let params = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions {
            uid: Some(pod.uid().to_owned()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    match pods.delete(pod.name(), &params).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}
