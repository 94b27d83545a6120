//! Taint eviction: a pod leaves a node with a NoExecute taint at once, or when its tolerationSeconds are
//! over, counted from when the two were first seen together. Keys are pods.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;
use kobune_client::k8s_openapi::api::core::v1::{Node, Pod};
use kobune_client::kube::Api;
use kobune_client::kube::api::{DeleteParams, Patch, PatchParams};
use kobune_client::{Cache, Change, EventType, Key};
use serde_json::json;

use super::plan::{self, Tolerance};
use crate::answers::{delete_exactly, unless_gone};
use crate::controller::{Context, Controller, Doing, Next, ReconcileError, Sources};

/// The controller.
pub struct TaintEviction {
    context: Context,
    nodes: Cache<Node>,
    pods: Cache<Pod>,
    /// Pods that have to leave some day: who they are, and since when that is so.
    leaving: Mutex<HashMap<Key, (Option<String>, Instant)>>,
}

impl TaintEviction {
    pub(crate) fn new(context: Context, sources: &mut Sources) -> Self {
        let nodes = context.caches.get::<Node>();
        let known = nodes.clone();
        let pods = sources.keys(move |pod: &Pod| {
            let tainted = known
                .get("", node_of(pod))
                .is_some_and(|node| !plan::evicting(&node).is_empty());
            if tainted { vec![Key::of(pod)] } else { Vec::new() }
        });
        let all = pods.clone();
        let nodes = sources.changes(nodes, move |change| match change {
            Change::Applied { object, previous } => pods_if_tainted(object, previous.as_deref(), &all),
            Change::Deleted(node) => pods_of(node, &all),
        });
        TaintEviction {
            context,
            nodes,
            pods,
            leaving: Mutex::default(),
        }
    }

    /// Since when this pod has to leave some day: now, if it is news.
    fn since(&self, key: &Key, pod: &Pod) -> Instant {
        let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || (pod.metadata.uid.clone(), Instant::now());
        let entry = leaving.entry(key.clone()).or_insert_with(fresh);
        if entry.0 != pod.metadata.uid {
            *entry = fresh();
        }
        entry.1
    }

    /// The pod need not leave (any more).
    fn stays(&self, key: &Key, pod: Option<&Pod>) {
        let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        let was_to_leave = leaving.remove(key).is_some();
        if let Some(pod) = pod.filter(|_| was_to_leave) {
            let message = format!("Cancelling deletion of Pod {key}");
            self.context
                .event(pod, EventType::Normal, "TaintManagerEviction", message);
        }
    }

    async fn evict(&self, pod: &Pod) -> Result<(), ReconcileError> {
        let key = Key::of(pod);
        let api = Api::<Pod>::namespaced(self.context.client.clone(), &key.namespace);
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let patch = Patch::Strategic(
            json!({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [{
            "type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint", "lastTransitionTime": now}]}}),
        );
        let patched = api.patch_status(&key.name, &PatchParams::default(), &patch).await;
        unless_gone(patched).doing(|| format!("announcing the eviction of pod {key}"))?;
        self.context.event(
            pod,
            EventType::Normal,
            "TaintManagerEviction",
            format!("Marking for deletion Pod {key}"),
        );
        delete_exactly(&api, &pod.metadata, DeleteParams::default())
            .await
            .map(drop)
            .doing(|| format!("evicting pod {key}"))
    }
}

fn node_of(pod: &Pod) -> &str {
    pod.spec
        .as_ref()
        .and_then(|spec| spec.node_name.as_deref())
        .unwrap_or_default()
}

/// The pods of a node whose evicting taints have changed.
fn pods_if_tainted(node: &Node, previous: Option<&Node>, pods: &Cache<Pod>) -> Vec<Key> {
    if previous.map(plan::evicting).unwrap_or_default() == plan::evicting(node) {
        return Vec::new();
    }
    pods_of(node, pods)
}

fn pods_of(node: &Node, pods: &Cache<Pod>) -> Vec<Key> {
    let name = node.metadata.name.as_deref().unwrap_or_default();
    pods.filter(|_, pod| node_of(pod) == name)
        .iter()
        .map(|pod| Key::of(&**pod))
        .collect()
}

#[async_trait]
impl Controller for TaintEviction {
    async fn reconcile(&self, key: &Key) -> Result<Next, ReconcileError> {
        let Some(pod) = self
            .pods
            .get_key(key)
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
        else {
            self.stays(key, None);
            return Ok(Next::Changed);
        };
        let node = self.nodes.get("", node_of(&pod));
        let taints = node.as_deref().map(plan::evicting).unwrap_or_default();
        let left = match plan::tolerance(&pod, &taints) {
            Tolerance::Forever => {
                self.stays(key, Some(&pod));
                return Ok(Next::Changed);
            }
            Tolerance::None => Duration::ZERO,
            Tolerance::For(long) => long.saturating_sub(self.since(key, &pod).elapsed()),
        };
        if !left.is_zero() {
            return Ok(Next::After(left));
        }
        self.evict(&pod).await?;
        self.stays(key, None);
        Ok(Next::Changed)
    }
}
