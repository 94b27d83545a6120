//! What reaches a worker: its object, its containers' states, probes' outcomes.

use jiff::Timestamp;
use kobune_runtime::{Container, ContainerState};

use super::{Outcome, Worker, logs};
use crate::mailbox::Mail;
use crate::pod::desired::{Desired, Role};
use crate::pod::termination;
use crate::probe::run::{Probed, start as start_probes};

/// Why containers wait that the runtime could not start.
const RUNTIME_ERRORS: [&str; 3] = ["ImageInspectError", "CreateContainerError", "RunContainerError"];

impl Worker {
    pub(super) async fn read(&mut self, mail: Mail) {
        let now = self.now();
        if let Some(pod) = mail.pod.and_then(Desired::new) {
            self.report.seen(pod.pod());
            let (old, new) = (&self.pod.pod().metadata, &pod.pod().metadata);
            if old.labels != new.labels || old.annotations != new.annotations {
                // They may be shown in volumes.
                self.refresh_at = Some(now);
            }
            self.pod = pod;
            self.follow_object(now, mail.gone);
        }
        if mail.objects {
            self.objects_changed(now);
        }
        for (id, kind, success) in mail.probes {
            if self.known.by_id(&id).is_some() {
                self.probes.record(&id, kind, success);
            }
        }
        if let Some(listed) = mail.listed {
            self.take_listed(listed).await;
        }
        for id in mail.containers {
            self.look_at(&id).await;
        }
    }

    fn objects_changed(&mut self, now: Timestamp) {
        self.refresh_at = Some(now);
        self.set_up_retry = None;
        self.retries
            .retain(|_, r| r.waiting.reason != "CreateContainerConfigError");
    }

    async fn take_listed(&mut self, listed: Vec<Container>) {
        let gone: Vec<String> = self
            .known
            .all()
            .map(|c| c.id.clone())
            .filter(|id| !listed.iter().any(|c| c.id == *id))
            .collect();
        for id in gone {
            self.known.remove(&id);
        }
        for container in listed {
            self.observe(container);
        }
        // The runtime is back: what failed without it need not wait.
        self.set_up_retry = None;
        self.retries
            .retain(|_, retry| !RUNTIME_ERRORS.contains(&retry.waiting.reason.as_str()));
    }

    pub(super) async fn look_at(&mut self, id: &str) {
        match self.context.runtime.container(id).await {
            Ok(container) => self.observe(container),
            Err(error) if error.is_not_found() => self.known.remove(id),
            Err(error) => {
                tracing::warn!(pod = %self.pod.full_name(), %error, "looking at a container failed")
            }
        }
    }

    /// Takes in a container's state: probes begin and end with it, its last words are read.
    pub(super) fn observe(&mut self, container: Container) {
        if self.known.is_outdated(&container) {
            return;
        }
        let id = container.id.clone();
        match &container.state {
            ContainerState::Running { .. } => self.begin_probes(&container),
            ContainerState::Created => {}
            _ => {
                self.probing.remove(&id);
                self.probes.forget(&id);
                if self.known.noted(&id).is_none() {
                    self.known.note(&id, termination::message(&container));
                }
            }
        }
        if let Some(old) = self.known.observe(container) {
            self.remove_old(old);
        }
    }

    pub(super) fn begin_probes(&mut self, container: &Container) {
        if self.probing.contains_key(&container.id) || self.stop.is_some() {
            return;
        }
        let Some(prepared) = &self.prepared else { return };
        let Some((role, spec)) = self.pod.container(&container.name) else {
            return;
        };
        if matches!(role, Role::Init | Role::Ephemeral) {
            return;
        }
        let node_ip = self.context.config.node_ip.to_string();
        let probed = Probed {
            context: self.context.clone(),
            pod: self.pod.clone(),
            container: spec.clone(),
            id: container.id.clone(),
            ip: prepared.ips.first().cloned().unwrap_or(node_ip),
            mailbox: self.mailbox.clone(),
        };
        if let Some(running) = start_probes(probed) {
            self.probing.insert(container.id.clone(), running);
        }
    }

    /// A container two attempts back goes, with its log.
    fn remove_old(&mut self, old: Container) {
        let context = self.context.clone();
        self.operations.spawn(async move {
            if let Err(error) = context.runtime.remove_container(&old.id).await {
                tracing::warn!(container = %old.id, %error, "removing an old container failed");
            }
            logs::remove_log(&old, context.config.log_links.as_deref());
            Outcome::Removed(old.id)
        });
    }

    pub(super) async fn look_for(&mut self, name: &str) {
        if self.stop.is_none() {
            return;
        }
        let uid = self.pod.uid().to_owned();
        let listed = self.context.runtime.containers().await.unwrap_or_default();
        for container in listed
            .into_iter()
            .filter(|c| c.sandbox_id == uid && c.name == name)
        {
            self.observe(container);
        }
    }
}
