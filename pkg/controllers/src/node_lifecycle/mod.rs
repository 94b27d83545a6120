//! Node lifecycle: a node that falls silent becomes Unknown and tainted; pods leave a tainted node when
//! their tolerance runs out ([`eviction`]), unless no node is well.
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
use kobune_client::events::reference;
use kobune_client::k8s_openapi::api::coordination::v1::Lease;
use kobune_client::k8s_openapi::api::core::v1::{Node, ObjectReference, Pod};
use kobune_client::kube::Api;
use kobune_client::kube::api::{Patch, PatchParams};
use kobune_client::{Cache, Change, EventType, Key};
use serde_json::json;

use crate::answers::unless_gone;
use crate::controller::{Context, Controller, Doing, Next, ReconcileError, Sources};
use crate::pod;

/// The namespace of the nodes' heartbeats.
const LEASES: &str = "kube-node-lease";

/// What a node last said of itself: the Lease's renewal and the Ready heartbeat.
type Heartbeat = (Option<Timestamp>, Option<Timestamp>);

/// What is known of a node beside its object.
struct Heard {
    node: ObjectReference,
    beat: Heartbeat,
    at: Instant,
}

/// The controller.
pub struct NodeLifecycle {
    context: Context,
    nodes: Cache<Node>,
    leases: Cache<Lease>,
    pods: Cache<Pod>,
    heard: Mutex<HashMap<String, Heard>>,
}

impl NodeLifecycle {
    pub(crate) fn new(context: Context, sources: &mut Sources) -> Self {
        let nodes = context.caches.get::<Node>();
        let all = nodes.clone();
        let nodes = sources.changes(nodes, move |change| concerned(change, &all));
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
        let ready = plan::condition(node, "Ready");
        let told = ready.and_then(|ready| Some(ready.last_heartbeat_time.as_ref()?.0));
        let beat = (renewed, told);
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = heard.entry(name.to_owned()).or_insert_with(|| {
            let node = reference(node);
            self.tell(
                &node,
                "RegisteredNode",
                &format!("Registered Node {name} in Controller"),
            );
            let at = Instant::now();
            Heard { node, beat, at }
        });
        if entry.beat != beat {
            (entry.beat, entry.at) = (beat, Instant::now());
        }
        plan::GRACE.saturating_sub(entry.at.elapsed())
    }

    fn forget(&self, name: &str) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gone) = heard.remove(name) {
            let message = format!("Removing Node {name} from Controller");
            self.tell(&gone.node, "RemovingNode", &message);
        }
    }

    fn tell(&self, node: &ObjectReference, reason: &str, message: &str) {
        let name = node.name.as_deref().unwrap_or_default();
        let message = format!("Node {name} event: {message}");
        self.context
            .recorder
            .event(node, EventType::Normal, reason, message);
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
        let marked = unless_gone(patched).doing(|| format!("marking pod {key} as not ready"))?;
        if marked.is_some() {
            let message = "Node is not ready";
            self.context
                .event(pod, EventType::Warning, "NodeNotReady", message);
        }
        Ok(())
    }

    async fn write_taints(&self, name: &str, node: &Node) -> Result<(), ReconcileError> {
        let nodes = self.nodes.list();
        let evict = plan::may_evict(nodes.iter().map(|node| &**node));
        let Some(taints) = plan::taints(node, evict, Timestamp::now()) else {
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

/// The nodes to look at: the changed one, and all when whether any is well may have changed with it.
fn concerned(change: &Change<Node>, all: &Cache<Node>) -> Vec<Key> {
    let turned = match change {
        Change::Applied { object, previous } => {
            previous.as_deref().is_some_and(plan::is_ready) != plan::is_ready(object)
        }
        Change::Deleted(object) => plan::is_ready(object),
    };
    let mut keys = vec![Key::of(&**change.object())];
    if turned {
        keys.extend(all.list().iter().map(|node| Key::of(&**node)));
    }
    keys
}

#[async_trait]
impl Controller for NodeLifecycle {
    async fn reconcile(&self, key: &Key) -> Result<Next, ReconcileError> {
        let Some(node) = self.nodes.get_key(key) else {
            self.forget(&key.name);
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
