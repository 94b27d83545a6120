//! Which pods the pod garbage collector takes. Pure.

use std::sync::Arc;

use jiff::Timestamp;
use kobune_client::k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

/// Ended pods that are kept (`--terminated-pod-gc-threshold`).
const KEPT: usize = 12_500;

/// The pod's node, empty without one.
pub fn node_of(pod: &Pod) -> &str {
    pod.spec
        .as_ref()
        .and_then(|spec| spec.node_name.as_deref())
        .unwrap_or_default()
}

/// Nobody will ever stop it: it is being deleted and has no node.
pub fn leaves_unscheduled(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some() && node_of(pod).is_empty()
}

/// The oldest of the ended pods beyond the threshold.
pub fn surplus(mut ended: Vec<Arc<Pod>>) -> Vec<Arc<Pod>> {
    let count = ended.len().saturating_sub(KEPT);
    if count > 0 {
        let age = |pod: &Arc<Pod>| (pod.metadata.creation_timestamp.clone(), pod.metadata.name.clone());
        ended.sort_by_key(age);
    }
    ended.truncate(count);
    ended
}

/// The status of a pod whose node is gone.
pub fn disruption(pod: &Pod, now: Timestamp) -> Value {
    json!({"metadata": {"uid": pod.metadata.uid}, "status": {"phase": "Failed", "conditions": [{
        "type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC",
        "message": "PodGC: node no longer exists",
        "lastTransitionTime": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    }]}})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(second: i64) -> Arc<Pod> {
        let created = Timestamp::from_second(second).unwrap().to_string();
        Arc::new(
            serde_json::from_value(
                json!({"metadata": {"name": format!("p{second}"), "creationTimestamp": created}}),
            )
            .unwrap(),
        )
    }

    #[test]
    fn only_the_oldest_beyond_the_threshold_go() {
        assert!(surplus((0..100).map(pod).collect()).is_empty());
        let gone = surplus((0..12_502).rev().map(pod).collect());
        let names: Vec<_> = gone
            .iter()
            .filter_map(|pod| pod.metadata.name.as_deref())
            .collect();
        assert_eq!(names, ["p0", "p1"]);
    }

    #[test]
    fn a_leaving_pod_with_a_node_is_its_nodes_business() {
        let leaving = |node: &str| -> Pod {
            serde_json::from_value(json!({"metadata": {"deletionTimestamp": "1970-01-01T00:00:00Z"}, "spec": {"containers": [], "nodeName": node}})).unwrap()
        };
        assert!(leaves_unscheduled(&leaving("")));
        assert!(!leaves_unscheduled(&leaving("n1")));
    }
}
