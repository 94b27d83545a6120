//! The scheduler's task: it alone owns the queue and the view of the nodes.
//!
//! Channels: in come the changes of the shared pod and node caches and the outcomes of bindings; out go
//! binding requests, each its own task, so that a burst of pods is bound concurrently. A deadline exists
//! only while a pod waits.

use std::sync::Arc;
use std::time::Instant;

use kobune_client::events::reference;
use kobune_client::k8s_openapi::api::core::v1::{Node, Pod};
use kobune_client::{Change, EventType, Key, Recorder, kube};
use tokio::task::JoinSet;

use crate::bind;
use crate::nodes::Nodes;
use crate::plan::{self, Unfit};
use crate::plugins::ClusterEvent;
use crate::queue::SchedulingQueue;

/// What came of a binding.
pub struct Outcome {
    pod: Arc<Pod>,
    result: Result<(), kube::Error>,
}

/// The state of the task.
pub struct Scheduler {
    name: String,
    client: kube::Client,
    recorder: Recorder,
    queue: SchedulingQueue,
    nodes: Nodes,
    bindings: JoinSet<Outcome>,
    turn: usize,
}

impl Scheduler {
    /// A scheduler for pods whose `spec.schedulerName` is `name`.
    pub fn new(name: &str, client: kube::Client) -> Self {
        let recorder = Recorder::new(client.clone(), name, "");
        Scheduler {
            name: name.to_owned(),
            client,
            recorder,
            queue: SchedulingQueue::default(),
            nodes: Nodes::default(),
            bindings: JoinSet::new(),
            turn: 0,
        }
    }

    /// Takes note of a node's change.
    pub fn node_changed(&mut self, change: Change<Node>) {
        match change {
            Change::Applied { object, previous } => {
                self.nodes.set_node(object.clone());
                let node = self
                    .nodes
                    .get(object.metadata.name.as_deref().unwrap_or_default());
                let fits = |pod: &Pod| node.is_some_and(|node| plan::fits(pod, node));
                let event = ClusterEvent::Node {
                    node: object.clone(),
                    before: previous,
                };
                self.queue.happened(&event, fits, Instant::now());
            }
            Change::Deleted(node) => self
                .nodes
                .remove_node(node.metadata.name.as_deref().unwrap_or_default()),
        }
    }

    /// Takes note of a pod's change.
    pub fn pod_changed(&mut self, change: Change<Pod>) {
        let (pod, gone) = match change {
            Change::Applied { object, .. } => (object, false),
            Change::Deleted(object) => (object, true),
        };
        let key = Key::of(&*pod);
        let node = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.node_name.as_deref())
            .filter(|node| !node.is_empty());
        if gone || has_ended(&pod) {
            self.queue.remove(&pod);
            if let Some(node) = self.nodes.remove_pod(&key) {
                self.pod_left(&node, pod);
            }
        } else if let Some(node) = node {
            self.queue.remove(&pod);
            self.nodes.confirm(&pod, node);
        } else if self.is_ours(&pod) && !self.nodes.is_assumed(&key) {
            self.queue.set(pod, Instant::now());
        } else if pod.metadata.deletion_timestamp.is_some() {
            self.queue.remove(&pod);
        }
    }

    /// A pod left the node: there may be room for another.
    fn pod_left(&mut self, node: &str, gone: Arc<Pod>) {
        let node = self.nodes.get(node);
        let fits = |pod: &Pod| node.is_some_and(|node| plan::fits(pod, node));
        self.queue
            .happened(&ClusterEvent::PodGone(gone), fits, Instant::now());
    }

    fn is_ours(&self, pod: &Pod) -> bool {
        let Some(spec) = &pod.spec else { return false };
        pod.metadata.deletion_timestamp.is_none()
            && spec.scheduler_name.as_deref().unwrap_or(crate::DEFAULT_NAME) == self.name
            && spec
                .scheduling_gates
                .as_ref()
                .is_none_or(|gates| gates.is_empty())
    }

    /// Places every pod whose turn it is; answers when to come again.
    pub fn place_all(&mut self) -> Option<Instant> {
        let deadline = self.queue.advance(Instant::now());
        while let Some(pod) = self.queue.pop(Instant::now()) {
            self.turn = self.turn.wrapping_add(1);
            match plan::choose(&pod, &self.nodes, self.turn) {
                Ok(node) => self.begin_binding(pod, node),
                Err(unfit) => self.give_up(&pod, unfit),
            }
        }
        // A failure just now may have set an earlier deadline.
        self.queue.advance(Instant::now()).or(deadline)
    }

    fn begin_binding(&mut self, pod: Arc<Pod>, node: String) {
        self.nodes.assume(&pod, &node);
        let (client, recorder) = (self.client.clone(), self.recorder.clone());
        self.bindings.spawn(async move {
            let result = bind::bind(&client, &pod, &node).await;
            if result.is_ok() {
                let message = format!("Successfully assigned {} to {node}", Key::of(&*pod));
                recorder.event(&reference(&*pod), EventType::Normal, "Scheduled", message);
            }
            Outcome { pod, result }
        });
    }

    fn give_up(&mut self, pod: &Arc<Pod>, unfit: Unfit) {
        let Unfit { message, rejected_by } = unfit;
        self.queue.failed(pod, rejected_by, Instant::now());
        self.recorder.event(
            &reference(&**pod),
            EventType::Warning,
            "FailedScheduling",
            message.as_str(),
        );
        if !bind::is_marked_unschedulable(pod, &message) {
            let (client, pod) = (self.client.clone(), pod.clone());
            self.bindings.spawn(async move {
                bind::mark_unschedulable(&client, &pod, &message).await;
                Outcome { pod, result: Ok(()) }
            });
        }
    }

    /// The next finished binding; never answers while there is none under way.
    pub async fn next_outcome(&mut self) -> Outcome {
        loop {
            match self.bindings.join_next().await {
                Some(Ok(outcome)) => return outcome,
                Some(Err(error)) => tracing::error!(%error, "a binding task broke"),
                None => std::future::pending().await,
            }
        }
    }

    /// Takes note of a binding's outcome.
    pub fn bound(&mut self, outcome: Outcome) {
        let Outcome { pod, result } = outcome;
        let Err(error) = result else { return };
        let key = Key::of(&*pod);
        self.nodes.forget(&key);
        if bind::is_moot(&error) {
            // Gone, or bound by somebody else: the watch tells the rest.
            self.queue.remove(&pod);
            return;
        }
        tracing::warn!(pod = %key, %error, "a pod could not be bound");
        let message = format!("binding rejected: {error}");
        self.recorder
            .event(&reference(&*pod), EventType::Warning, "FailedScheduling", message);
        self.queue.failed(&pod, Vec::new(), Instant::now());
    }
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}
