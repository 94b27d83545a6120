//! Node lifecycle: a node that falls silent becomes Unknown and tainted; pods leave a tainted node when
//! their tolerance runs out ([`eviction`]).
//!
//! Silence is measured by our own clock since the last change of the node's Lease or its Ready heartbeat, so
//! clocks that differ do no harm. The only timer is the next deadline.

pub mod eviction;
mod plan;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::try_join_all;
use jiff::Timestamp;
use kobune_client::k8s_openapi::api::coordination::v1::Lease;
use kobune_client::k8s_openapi::api::core::v1::{Node, Pod};
use kobune_client::kube::Api;
use kobune_client::kube::api::{Patch, PatchParams};
use kobune_client::{Cache, EventType, Key};
use serde_json::json;

use crate::controller::{Context, Controller, Doing, Next, ReconcileError, Sources, unless_gone};
use crate::pod;

/// The namespace of the nodes' heartbeats.
const LEASES: &str = "kube-node-lease";

/// What a node last said of itself: the Lease's renewal and the Ready heartbeat.
type Heartbeat = (Option<Timestamp>, Option<Timestamp>);

/// The controller.
pub struct NodeLifecycle {
    context: Context,
    nodes: Cache<Node>,
    leases: Cache<Lease>,
    pods: Cache<Pod>,
    heard: Mutex<HashMap<String, (Heartbeat, Instant)>>,
}

impl NodeLifecycle {
    pub(crate) fn new(context: Context, sources: &mut Sources) -> Self {
        let nodes = sources.objects::<Node>();
        let leases = sources.keys(|lease: &Lease| match lease.metadata.namespace.as_deref() {
            Some(LEASES) => vec![Key::new("", lease.metadata.name.clone().unwrap_or_default())],
            _ => Vec::new(),
        });
        NodeLifecycle {
            context,
            nodes,
            leases,
            pods: sources.reads(),
            heard: Mutex::default(),
        }
    }

    /// How long the node may still be silent; zero: too long already.
    fn patience(&self, name: &str, node: &Node) -> Duration {
        let lease = self.leases.get(LEASES, name);
        let renewed = lease.and_then(|lease| Some(lease.spec.as_ref()?.renew_time.as_ref()?.0));
        let beat = plan::condition(node, "Ready")
            .and_then(|ready| ready.last_heartbeat_time.as_ref())
            .map(|time| time.0);
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = heard
            .entry(name.to_owned())
            .or_insert_with(|| ((renewed, beat), Instant::now()));
        if entry.0 != (renewed, beat) {
            *entry = ((renewed, beat), Instant::now());
        }
        plan::GRACE.saturating_sub(entry.1.elapsed())
    }

    async fn mark_unknown(&self, name: &str, node: &Node) -> Result<bool, ReconcileError> {
        let Some(conditions) = plan::silent(node, Timestamp::now()) else {
            return Ok(false);
        };
        let patch = Patch::Strategic(json!({"status": {"conditions": conditions}}));
        let patched = Api::<Node>::all(self.context.client.clone())
            .patch_status(name, &PatchParams::default(), &patch)
            .await;
        unless_gone(patched).doing(|| format!("marking node {name} as unknown"))?;
        self.context.event(
            node,
            EventType::Normal,
            "NodeNotReady",
            format!("Node {name} status is now: NodeNotReady"),
        );
        let pods = self.pods.filter(|_, pod| {
            pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(name) && pod::is_ready(pod)
        });
        try_join_all(pods.iter().map(|pod| self.mark_pod_not_ready(pod))).await?;
        Ok(true)
    }

    /// Services must not send to pods of a node that nobody hears of.
    async fn mark_pod_not_ready(&self, pod: &Pod) -> Result<(), ReconcileError> {
        let key = Key::of(pod);
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let patch = Patch::Strategic(json!({"metadata": {"uid": pod.metadata.uid},
            "status": {"conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": now}]}}));
        let api = Api::<Pod>::namespaced(self.context.client.clone(), &key.namespace);
        let patched = api.patch_status(&key.name, &PatchParams::default(), &patch).await;
        unless_gone(patched).doing(|| format!("marking pod {key} as not ready"))?;
        Ok(())
    }

    async fn write_taints(&self, name: &str, node: &Node) -> Result<(), ReconcileError> {
        let Some(taints) = plan::taints(node, Timestamp::now()) else {
            return Ok(());
        };
        let patch = Patch::Merge(
            json!({"metadata": {"resourceVersion": node.metadata.resource_version},
            "spec": {"taints": taints}}),
        );
        let patched = Api::<Node>::all(self.context.client.clone())
            .patch_metadata(name, &PatchParams::default(), &patch)
            .await;
        unless_gone(patched).doing(|| format!("tainting node {name}"))?;
        Ok(())
    }
}

#[async_trait]
impl Controller for NodeLifecycle {
    async fn reconcile(&self, key: &Key) -> Result<Next, ReconcileError> {
        let Some(node) = self.nodes.get_key(key) else {
            self.heard
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&key.name);
            return Ok(Next::Changed);
        };
        let patience = self.patience(&key.name, &node);
        if patience.is_zero() && self.mark_unknown(&key.name, &node).await? {
            // The change comes back by the watch and brings the taints.
            return Ok(Next::Changed);
        }
        self.write_taints(&key.name, &node).await?;
        Ok(if patience.is_zero() {
            Next::Changed
        } else {
            Next::After(patience)
        })
    }
}
