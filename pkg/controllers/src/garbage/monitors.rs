//! Feeds the graph: a metadata watch of every kind that can be deleted, and the process' caches for the
//! kinds that are cached anyway.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, PoisonError};

use futures_util::StreamExt;
use kobune_client::cache::Cached;
use kobune_client::k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kobune_client::k8s_openapi::api::core::v1::{Namespace, Node, Pod, ReplicationController, Service};
use kobune_client::k8s_openapi::api::discovery::v1::EndpointSlice;
use kobune_client::kube::api::DynamicObject;
use kobune_client::kube::core::PartialObjectMeta;
use kobune_client::kube::runtime::{WatchStreamExt, watcher};
use kobune_client::kube::{Api, Resource};
use kobune_client::{Change, Key, WorkQueue};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::graph::Identity;
use super::{Shared, key};
use crate::controller::{Context, Sources};
use crate::kinds::{self, Kind};

/// Kinds that take no part in ownership but change often.
const IGNORED: [&str; 1] = ["events"];
/// Kinds that the caches feed.
const CACHED: [&str; 8] = [
    "pods",
    "replicasets",
    "deployments",
    "replicationcontrollers",
    "nodes",
    "namespaces",
    "services",
    "endpointslices",
];

/// Starts everything that feeds the graph.
pub fn start(context: &Context, sources: &mut Sources, shared: Arc<Shared>) {
    cached::<Pod>(context, sources, &shared);
    cached::<ReplicaSet>(context, sources, &shared);
    cached::<Deployment>(context, sources, &shared);
    cached::<ReplicationController>(context, sources, &shared);
    cached::<Node>(context, sources, &shared);
    cached::<Namespace>(context, sources, &shared);
    cached::<Service>(context, sources, &shared);
    cached::<EndpointSlice>(context, sources, &shared);
    tokio::spawn(keep_up(context.clone(), sources.queue(), shared));
}

fn cached<K: Cached>(context: &Context, sources: &mut Sources, shared: &Arc<Shared>) {
    let shared = shared.clone();
    sources.changes(context.caches.get::<K>(), move |change| {
        let meta = change.object().meta();
        let attention = match change {
            Change::Applied { .. } => {
                let identity = Identity {
                    api_version: K::api_version(&()).into_owned(),
                    kind: K::kind(&()).into_owned(),
                    namespace: meta.namespace.clone().unwrap_or_default(),
                    name: meta.name.clone().unwrap_or_default(),
                };
                shared.graph().observe(identity, meta)
            }
            Change::Deleted(_) => shared.graph().forget(meta.uid.as_deref().unwrap_or_default()),
        };
        attention.into_iter().map(key).collect()
    });
}

/// Watches every served kind; when custom resource definitions change, the kinds are asked for anew.
async fn keep_up(context: Context, queue: WorkQueue<Key>, shared: Arc<Shared>) {
    let changed = Arc::new(Notify::new());
    let mut watched: HashMap<(String, String), CancellationToken> = HashMap::new();
    let mut patience = std::time::Duration::from_millis(100);
    loop {
        match kinds::discover(&context.client).await {
            Ok(kinds) => {
                patience = std::time::Duration::from_millis(100);
                watch_all(&context, &queue, &shared, &changed, &mut watched, &kinds);
                *shared.kinds.write().unwrap_or_else(PoisonError::into_inner) = kinds;
                shared.discovered.send_replace(true);
            }
            Err(error) => {
                tracing::debug!(%error, "the kinds could not be asked for");
                changed.notify_one();
                patience = (patience * 2).min(std::time::Duration::from_secs(30));
            }
        }
        tokio::select! {
            () = context.cancel.cancelled() => return,
            () = changed.notified() => {}
        }
        // A failed discovery is retried with growing patience; a burst of new kinds is asked for once.
        tokio::time::sleep(patience).await;
    }
}

fn watch_all(
    context: &Context,
    queue: &WorkQueue<Key>,
    shared: &Arc<Shared>,
    changed: &Arc<Notify>,
    watched: &mut HashMap<(String, String), CancellationToken>,
    kinds: &[Kind],
) {
    let name = |kind: &Kind| (kind.resource.group.clone(), kind.resource.plural.clone());
    watched.retain(|known, cancel| {
        let served = kinds.iter().any(|kind| name(kind) == *known);
        if !served {
            cancel.cancel();
        }
        served
    });
    for kind in kinds {
        let plural = kind.resource.plural.as_str();
        let skipped = IGNORED.contains(&plural) || CACHED.contains(&plural);
        if skipped || !kind.can("watch") || !kind.can("delete") || watched.contains_key(&name(kind)) {
            continue;
        }
        let cancel = context.cancel.child_token();
        watched.insert(name(kind), cancel.clone());
        let feed = Feed {
            queue: queue.clone(),
            shared: shared.clone(),
            kind: kind.clone(),
            known: HashMap::new(),
        };
        let changed = (plural == "customresourcedefinitions").then(|| changed.clone());
        tokio::spawn(feed.run(
            Api::all_with(context.client.clone(), &kind.resource),
            changed,
            cancel,
        ));
    }
}

/// One kind's watch.
struct Feed {
    queue: WorkQueue<Key>,
    shared: Arc<Shared>,
    kind: Kind,
    /// Uids of the objects that were seen to take part in ownership, to notice what a new list lacks.
    known: HashMap<String, u64>,
}

impl Feed {
    async fn run(
        mut self,
        api: Api<PartialObjectMeta<DynamicObject>>,
        changed: Option<Arc<Notify>>,
        cancel: CancellationToken,
    ) {
        let mut events = pin!(watcher(api, watcher::Config::default()).default_backoff());
        let mut round = 0;
        let mut complete = false;
        loop {
            let event = tokio::select! {
                () = cancel.cancelled() => return,
                event = events.next() => event,
            };
            let Some(event) = event else { return };
            match event {
                Ok(watcher::Event::Init) => round += 1,
                Ok(watcher::Event::InitApply(object)) => self.observe(&object, round),
                Ok(watcher::Event::InitDone) => {
                    self.forget_unlisted(round);
                    complete = true;
                }
                Ok(watcher::Event::Apply(object)) => {
                    self.observe(&object, round);
                    changed
                        .iter()
                        .filter(|_| complete)
                        .for_each(|changed| changed.notify_one());
                }
                Ok(watcher::Event::Delete(object)) => {
                    self.forget(object.meta().uid.clone().unwrap_or_default());
                    changed.iter().for_each(|changed| changed.notify_one());
                }
                Err(error) => {
                    tracing::debug!(kind = self.kind.resource.kind, %error, "a watch ended and is begun again");
                }
            }
        }
    }

    fn observe(&mut self, object: &PartialObjectMeta<DynamicObject>, round: u64) {
        let meta = object.meta();
        let identity = Identity {
            api_version: self.kind.resource.api_version.clone(),
            kind: self.kind.resource.kind.clone(),
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
        };
        let uid = meta.uid.clone().unwrap_or_default();
        let mut graph = self.shared.graph();
        let attention = graph.observe(identity, meta);
        let takes_part = graph.get(&uid).is_some();
        drop(graph);
        match takes_part {
            true => self.known.insert(uid, round),
            false => self.known.remove(&uid),
        };
        self.attend(attention);
    }

    fn forget(&mut self, uid: String) {
        self.known.remove(&uid);
        let attention = self.shared.graph().forget(&uid);
        self.attend(attention);
    }

    /// What an earlier list had and this one has not is gone.
    fn forget_unlisted(&mut self, round: u64) {
        let gone: Vec<String> = self
            .known
            .iter()
            .filter(|(_, seen)| **seen < round)
            .map(|(uid, _)| uid.clone())
            .collect();
        gone.into_iter().for_each(|uid| self.forget(uid));
    }

    fn attend(&self, uids: Vec<String>) {
        uids.into_iter().for_each(|uid| self.queue.add(key(uid)));
    }
}
