//! Pod garbage collection: pods whose node is gone, pods that are leaving without ever having had a node,
//! and ended pods beyond a threshold.
//!
//! Keys: `""/node` looks at the pods of a node, `namespace/pod` at a leaving pod, `""/""` at the ended pods.

mod plan;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::try_join_all;
use jiff::Timestamp;
use kobune_client::k8s_openapi::api::core::v1::{Node, Pod};
use kobune_client::kube::Api;
use kobune_client::kube::api::{DeleteParams, Patch, PatchParams};
use kobune_client::{Cache, Change, Key};

use crate::answers::{delete_exactly, unless_gone};
use crate::controller::{Context, Controller, Doing, Next, ReconcileError, Sources, keys_of_change};
use crate::pod;

/// A node must have been gone this long: it may only be renamed or registered anew.
const QUARANTINE: Duration = Duration::from_secs(40);

/// The controller.
pub struct PodCollector {
    context: Context,
    pods: Cache<Pod>,
    nodes: Cache<Node>,
    missing_since: Mutex<HashMap<String, Instant>>,
}

impl PodCollector {
    pub(crate) fn new(context: Context, sources: &mut Sources) -> Self {
        let nodes = context.caches.get::<Node>();
        let nodes = sources.changes(nodes, |change| match change {
            Change::Deleted(node) => vec![Key::new("", node.metadata.name.clone().unwrap_or_default())],
            Change::Applied { .. } => Vec::new(),
        });
        let known = nodes.clone();
        let pods = context.caches.get::<Pod>();
        let pods = sources.changes(pods, keys_of_change(move |pod| concerned(pod, &known)));
        PodCollector {
            context,
            pods,
            nodes,
            missing_since: Mutex::default(),
        }
    }

    fn quarantine_left(&self, node: &str) -> Duration {
        let mut missing = self.missing_since.lock().unwrap_or_else(PoisonError::into_inner);
        let since = missing.entry(node.to_owned()).or_insert_with(Instant::now);
        QUARANTINE.saturating_sub(since.elapsed())
    }

    fn node_is_fine(&self, node: &str) {
        self.missing_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(node);
    }

    async fn collect_orphans(&self, node: &str) -> Result<Next, ReconcileError> {
        let orphans = self.pods.filter(|_, pod| plan::node_of(pod) == node);
        if orphans.is_empty() || self.nodes.get("", node).is_some() {
            self.node_is_fine(node);
            return Ok(Next::Changed);
        }
        let left = self.quarantine_left(node);
        if !left.is_zero() {
            return Ok(Next::After(left));
        }
        let live = Api::<Node>::all(self.context.client.clone())
            .get_metadata_opt(node)
            .await;
        if live.doing(|| format!("looking at node {node}"))?.is_none() {
            try_join_all(orphans.iter().map(|pod| self.end(pod))).await?;
        }
        self.node_is_fine(node);
        Ok(Next::Changed)
    }

    /// Marks a pod that can no longer end by itself as failed, then removes it.
    async fn end(&self, pod: &Pod) -> Result<(), ReconcileError> {
        let key = Key::of(pod);
        if !pod::is_terminal(pod) {
            let api = Api::<Pod>::namespaced(self.context.client.clone(), &key.namespace);
            let patch = Patch::Strategic(plan::disruption(pod, Timestamp::now()));
            let patched = api.patch_status(&key.name, &PatchParams::default(), &patch).await;
            unless_gone(patched).doing(|| format!("marking pod {key} as failed"))?;
        }
        self.remove(pod).await
    }

    async fn remove(&self, pod: &Pod) -> Result<(), ReconcileError> {
        let key = Key::of(pod);
        let params = DeleteParams::default().grace_period(0);
        let api = Api::<Pod>::namespaced(self.context.client.clone(), &key.namespace);
        delete_exactly(&api, &pod.metadata, params)
            .await
            .map(drop)
            .doing(|| format!("removing pod {key}"))
    }

    async fn collect_ended(&self) -> Result<Next, ReconcileError> {
        let ended = self.pods.filter(|_, pod| pod::is_terminal(pod));
        let surplus = plan::surplus(ended);
        try_join_all(surplus.iter().map(|pod| self.remove(pod))).await?;
        Ok(Next::Changed)
    }
}

/// A pod concerns us when its node is unknown, when it leaves without a node, and when it has ended.
fn concerned(pod: &Pod, nodes: &Cache<Node>) -> Vec<Key> {
    let node = plan::node_of(pod);
    let mut keys = Vec::new();
    if pod::is_terminal(pod) {
        keys.push(Key::default());
    }
    if node.is_empty() {
        if pod.metadata.deletion_timestamp.is_some() {
            keys.push(Key::of(pod));
        }
    } else if nodes.get("", node).is_none() {
        keys.push(Key::new("", node));
    }
    keys
}

#[async_trait]
impl Controller for PodCollector {
    async fn reconcile(&self, key: &Key) -> Result<Next, ReconcileError> {
        match (key.namespace.as_str(), key.name.as_str()) {
            ("", "") => self.collect_ended().await,
            ("", node) => self.collect_orphans(node).await,
            _ => match self.pods.get_key(key) {
                Some(pod) if plan::leaves_unscheduled(&pod) => self.end(&pod).await.map(|()| Next::Changed),
                _ => Ok(Next::Changed),
            },
        }
    }
}
