//! Taint eviction: a pod leaves a node with a NoExecute taint at once, or when its tolerationSeconds are
//! over. Keys are pods.

use async_trait::async_trait;
use jiff::Timestamp;
use kobune_client::k8s_openapi::api::core::v1::{Node, Pod};
use kobune_client::kube::Api;
use kobune_client::kube::api::{DeleteParams, Patch, PatchParams};
use kobune_client::{Cache, Change, EventType, Key};
use serde_json::json;

use super::plan::{self, Eviction};
use crate::controller::{
    Context, Controller, Doing, Next, ReconcileError, Sources, delete_exactly, unless_gone,
};

/// The controller.
pub struct TaintEviction {
    context: Context,
    nodes: Cache<Node>,
    pods: Cache<Pod>,
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
            Change::Deleted(_) => Vec::new(),
        });
        TaintEviction { context, nodes, pods }
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
    let taints = plan::evicting(node);
    if taints.is_empty() || previous.is_some_and(|previous| plan::evicting(previous) == taints) {
        return Vec::new();
    }
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
            return Ok(Next::Changed);
        };
        let Some(node) = self.nodes.get("", node_of(&pod)) else {
            return Ok(Next::Changed);
        };
        match plan::eviction(&pod, &plan::evicting(&node), Timestamp::now()) {
            Eviction::Never => Ok(Next::Changed),
            Eviction::In(left) => Ok(Next::After(left)),
            Eviction::Now => self.evict(&pod).await.map(|()| Next::Changed),
        }
    }
}
