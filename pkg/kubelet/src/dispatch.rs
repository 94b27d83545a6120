//! Brings news to the pods' workers: the API's pods of this node, and the runtime's events.
//!
//! ```text
//! pods of this node (watch) ─┐
//!                            ├─> Dispatcher ──> one mailbox per pod ──> Worker
//! runtime events ────────────┘
//! ```

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use kobune_client::k8s_openapi::api::core::v1::{Pod, PodSpec};
use kobune_client::kube::api::ObjectMeta;
use kobune_client::{Cache, Change};
use kobune_runtime::{Container, ContainerEvent, ContainerEventKind, Sandbox};
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::mailbox::Mailbox;
use crate::pod::desired::Desired;
use crate::pod::history::annotation;
use crate::pod::worker::{Beginning, Worker};
use crate::volume;

/// How long to wait before the runtime is asked again when it does not answer.
const RUNTIME_RETRY: Duration = Duration::from_millis(500);

/// What the runtime had when this process began.
#[derive(Default)]
struct Found {
    sandboxes: HashMap<String, Sandbox>,
    containers: HashMap<String, Vec<Container>>,
}

impl Found {
    async fn look(context: &Context) -> kobune_runtime::Result<Self> {
        let mut found = Found::default();
        for sandbox in context.runtime.sandboxes().await? {
            found.sandboxes.insert(sandbox.id.clone(), sandbox);
        }
        for container in context.runtime.containers().await? {
            found
                .containers
                .entry(container.sandbox_id.clone())
                .or_default()
                .push(container);
        }
        Ok(found)
    }

    fn uids(&self) -> HashSet<String> {
        self.sandboxes
            .keys()
            .chain(self.containers.keys())
            .cloned()
            .collect()
    }
}

struct Dispatcher {
    context: Arc<Context>,
    cancel: CancellationToken,
    mailboxes: HashMap<String, Arc<Mailbox>>,
    workers: JoinSet<String>,
    found: Found,
}

/// Runs the pods of this node until cancelled. Containers go on running then.
pub async fn run(context: Arc<Context>, pods: Cache<Pod>, cancel: CancellationToken) {
    // Before the first look, so that nothing in between is missed.
    let mut events = context.runtime.events();
    let found = tokio::select! {
        found = look_until_found(&context) => found,
        () = cancel.cancelled() => return,
    };
    tokio::select! {
        known = pods.ready() => if !known { return },
        () = cancel.cancelled() => return,
    }
    let mut dispatcher = Dispatcher {
        context,
        cancel: cancel.clone(),
        mailboxes: HashMap::new(),
        workers: JoinSet::new(),
        found,
    };
    dispatcher.sweep(&pods).await;
    let mut changes = pods.subscribe();
    loop {
        tokio::select! {
            () = cancel.cancelled() => break,
            change = changes.next() => match change {
                Some(change) => dispatcher.pod_changed(change),
                None => break,
            },
            event = events.recv() => dispatcher.runtime_event(event).await,
            Some(ended) = dispatcher.workers.join_next(), if !dispatcher.workers.is_empty() => {
                if let Ok(uid) = ended {
                    dispatcher.mailboxes.remove(&uid);
                }
            }
        }
    }
    // Workers see the cancellation themselves; what they were doing is given up.
    while dispatcher.workers.join_next().await.is_some() {}
}

async fn look_until_found(context: &Context) -> Found {
    loop {
        match Found::look(context).await {
            Ok(found) => return found,
            Err(error) => {
                tracing::warn!(%error, "looking for containers of an earlier run failed");
                tokio::time::sleep(RUNTIME_RETRY).await;
            }
        }
    }
}

impl Dispatcher {
    /// What belongs to no pod of the API any more: stopped and removed.
    async fn sweep(&mut self, pods: &Cache<Pod>) {
        let alive: HashSet<String> = pods
            .list()
            .iter()
            .filter_map(|p| p.metadata.uid.clone())
            .collect();
        for uid in self.found.uids().difference(&alive) {
            let Some(orphan) = self.orphan(uid) else { continue };
            tracing::info!(pod = %orphan.full_name(), "a pod that is gone from the API is removed");
            self.begin(orphan, true);
        }
        let keep: HashSet<String> = alive.union(&self.found.uids()).cloned().collect();
        if let Err(error) = self.context.network.retain(&keep).await {
            tracing::warn!(%error, "freeing addresses of pods that are gone failed");
        }
        let context = self.context.clone();
        tokio::task::spawn_blocking(move || remove_leftovers(&context, &keep));
    }

    fn orphan(&self, uid: &str) -> Option<Desired> {
        let containers = self.found.containers.get(uid);
        let first = containers.and_then(|c| c.first());
        let sandbox = self.found.sandboxes.get(uid).map(|s| &s.spec);
        let name = sandbox.map(|s| &s.pod_name).or(first.map(|c| &c.pod_name));
        let namespace = sandbox
            .map(|s| &s.pod_namespace)
            .or(first.map(|c| &c.pod_namespace));
        let grace = first
            .and_then(|c| c.annotations.get(annotation::GRACE))
            .and_then(|g| g.parse().ok());
        Desired::new(Arc::new(Pod {
            metadata: ObjectMeta {
                name: name.cloned(),
                namespace: namespace.cloned(),
                uid: Some(uid.to_owned()),
                ..ObjectMeta::default()
            },
            spec: Some(PodSpec {
                termination_grace_period_seconds: grace,
                ..PodSpec::default()
            }),
            status: None,
        }))
    }

    fn pod_changed(&mut self, change: Change<Pod>) {
        let uid = change.object().metadata.uid.clone().unwrap_or_default();
        match change {
            Change::Applied { object, .. } => match self.mailboxes.get(&uid) {
                Some(mailbox) => mailbox.pod(object),
                None => {
                    if let Some(pod) = Desired::new(object) {
                        self.begin(pod, false);
                    }
                }
            },
            Change::Deleted(object) => {
                if let Some(mailbox) = self.mailboxes.get(&uid) {
                    mailbox.gone(object);
                }
            }
        }
    }

    fn begin(&mut self, pod: Desired, orphan: bool) {
        let uid = pod.uid().to_owned();
        let mailbox = Arc::new(Mailbox::default());
        self.mailboxes.insert(uid.clone(), mailbox.clone());
        let beginning = Beginning {
            context: self.context.clone(),
            sandbox: self.found.sandboxes.remove(&uid),
            containers: self.found.containers.remove(&uid).unwrap_or_default(),
            mailbox,
            orphan,
            pod,
        };
        let cancel = self.cancel.clone();
        self.workers.spawn(async move {
            Worker::new(beginning).run(cancel).await;
            uid
        });
    }

    async fn runtime_event(&mut self, event: Result<ContainerEvent, RecvError>) {
        match event {
            Ok(event) => match event.kind {
                // The worker that starts a container looks at it itself.
                ContainerEventKind::Started => {}
                ContainerEventKind::Exited | ContainerEventKind::OutOfMemory => {
                    if let Some(mailbox) = self.mailboxes.get(&event.sandbox_id) {
                        mailbox.container(event.container_id);
                    }
                }
                ContainerEventKind::Resync => self.relist().await,
            },
            Err(RecvError::Lagged(_)) => self.relist().await,
            // The runtime's end is the process's end.
            Err(RecvError::Closed) => self.cancel.cancelled().await,
        }
    }

    async fn relist(&mut self) {
        let mut by_pod = look_until_found(&self.context).await.containers;
        for (uid, mailbox) in &self.mailboxes {
            mailbox.listed(by_pod.remove(uid).unwrap_or_default());
        }
    }
}

/// Folders and cgroups that a crash left.
fn remove_leftovers(context: &Context, keep: &HashSet<String>) {
    let pods = context.config.root_dir.join("pods");
    for entry in std::fs::read_dir(pods).into_iter().flatten().flatten() {
        let uid = entry.file_name().to_string_lossy().into_owned();
        if !keep.contains(&uid)
            && let Err(error) = volume::mount::remove_tree(&entry.path())
        {
            tracing::warn!(pod = %uid, %error, "removing the folder of a pod that is gone failed");
        }
    }
    for (uid, path) in context.cgroups.pods(&context.config.cgroup_root()) {
        if !keep.contains(&uid)
            && let Err(error) = context.cgroups.remove(&path)
        {
            tracing::warn!(pod = %uid, %error, "removing the cgroup of a pod that is gone failed");
        }
    }
}
