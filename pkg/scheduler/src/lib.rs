//! The scheduler: a queue of pods without a node, a pure cycle that chooses one, plugins that know the
//! reasons.
//!
//! To learn how a node is chosen, open `plan.rs`; why a pod waits, `queue.rs`; what the watch does to the
//! scheduler's view, `scheduler.rs`. A plugin is one file in `plugins/` and one line in its table.
//!
//! **Invariant**: one task owns all state; nothing runs unless a watch, a binding's answer or the deadline of
//! a waiting pod wakes it.

mod bind;
mod nodes;
mod plan;
mod plugins;
mod queue;
mod request;
mod scheduler;
#[cfg(test)]
mod test_objects;

use std::time::Instant;

use kobune_client::k8s_openapi::api::core::v1::{Node, Pod};
use kobune_client::{Caches, kube};
use tokio_util::sync::CancellationToken;

use crate::scheduler::Scheduler;

/// The `spec.schedulerName` of pods that name none.
pub const DEFAULT_NAME: &str = "default-scheduler";

/// Places pods until `cancel`. `client` carries the identity `system:kube-scheduler`.
pub async fn run(client: kube::Client, caches: Caches, cancel: CancellationToken) {
    let (pods, nodes) = (caches.get::<Pod>(), caches.get::<Node>());
    let complete = async { pods.ready().await && nodes.ready().await };
    let complete = tokio::select! {
        () = cancel.cancelled() => false,
        complete = complete => complete,
    };
    if !complete {
        return;
    }
    let (mut pod_changes, mut node_changes) = (pods.subscribe(), nodes.subscribe());
    let mut scheduler = Scheduler::new(DEFAULT_NAME, client);
    loop {
        // Nodes and the places already taken first, or the first pods would be placed blindly.
        while let Some(change) = node_changes.try_next() {
            scheduler.node_changed(change);
        }
        while let Some(change) = pod_changes.try_next() {
            scheduler.pod_changed(change);
        }
        let deadline = scheduler.place_all();
        tokio::select! {
            () = cancel.cancelled() => return,
            change = pod_changes.next() => match change {
                Some(change) => scheduler.pod_changed(change),
                None => return,
            },
            change = node_changes.next() => match change {
                Some(change) => scheduler.node_changed(change),
                None => return,
            },
            outcome = scheduler.next_outcome() => scheduler.bound(outcome),
            () = until(deadline) => {}
        }
    }
}

/// Ends at the deadline; without one, never.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
