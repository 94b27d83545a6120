//! Why containers wait: what is shown of it, and the events that say it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use kobune_client::EventType;
use kobune_runtime::ContainerState;

use super::{PULL_ERROR_SHOWN, Worker};
use crate::pod::history::status_of;
use crate::pod::plan::{Plan, Step, Waiting};

impl Worker {
    /// After a while a failed pull is shown as what it is now: waiting for the next one.
    pub(super) fn soften_pull_errors(&mut self, now: Timestamp) {
        let due: Vec<String> = self
            .pull_errors
            .iter()
            .filter(|(_, t)| {
                now.duration_since(**t) >= SignedDuration::try_from(PULL_ERROR_SHOWN).unwrap_or_default()
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in due {
            self.pull_errors.remove(&name);
            let image = self
                .pod
                .container(&name)
                .and_then(|(_, c)| c.image.clone())
                .unwrap_or_default();
            let Some(retry) = self.retries.get_mut(&name) else {
                continue;
            };
            let message = format!("Back-off pulling image {image:?}");
            retry.waiting = Waiting {
                reason: "ImagePullBackOff".into(),
                message: format!("{message}: {}: {}", retry.waiting.reason, retry.waiting.message),
            };
            self.context
                .tell_container(&self.pod, &name, EventType::Normal, "BackOff", message);
            self.context.tell_container(
                &self.pod,
                &name,
                EventType::Warning,
                "Failed",
                "Error: ImagePullBackOff",
            );
        }
    }

    /// A container that is tried again shows why it waited until the outcome is known.
    pub(super) fn keep_shown(&self, plan: &mut Plan) {
        let begun = plan.steps.iter().filter_map(|step| match step {
            Step::Start { name, .. } => Some(name),
            _ => None,
        });
        for name in begun.chain(&self.busy.starting) {
            let state = status_of(&self.report.latest, name).and_then(|s| s.state.as_ref());
            let Some(shown) = state.and_then(|s| s.waiting.as_ref()) else {
                continue;
            };
            let reason = shown.reason.clone().unwrap_or_default();
            if matches!(reason.as_str(), "ContainerCreating" | "PodInitializing") {
                continue;
            }
            plan.waiting.entry(name.clone()).or_insert_with(|| Waiting {
                reason,
                message: shown.message.clone().unwrap_or_default(),
            });
        }
    }

    /// One event for each time a container begins to wait.
    pub(super) fn tell_back_off(&mut self, waiting: &BTreeMap<String, Waiting>) {
        for (name, waiting) in waiting {
            if waiting.reason != "CrashLoopBackOff" {
                continue;
            }
            let ended = match self.known.current(name).map(|c| &c.state) {
                Some(ContainerState::Exited { finished_at, .. }) => *finished_at,
                _ => continue,
            };
            if self.told_back_off.insert(name.clone(), ended) != Some(ended) {
                let message = format!(
                    "Back-off restarting failed container {name} in pod {}",
                    self.pod.full_name()
                );
                self.context
                    .tell_container(&self.pod, name, EventType::Warning, "BackOff", message);
            }
        }
    }
}
