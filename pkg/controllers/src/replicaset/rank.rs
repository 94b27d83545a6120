//! Which pods go first when there are too many: those whose loss hurts least.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use kobune_client::k8s_openapi::api::core::v1::Pod;

use crate::pod;

/// The annotation by which a user ranks pods: the lower, the earlier it goes.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The `count` pods to delete of `candidates`. `related` are all active pods of the same workload (for a
/// Deployment those of all its ReplicaSets): of two equal pods the one with more relatives on its node goes.
pub fn to_delete(
    candidates: &[Arc<Pod>],
    related: &[Arc<Pod>],
    count: usize,
    now: Timestamp,
) -> Vec<Arc<Pod>> {
    if count >= candidates.len() {
        return candidates.to_vec();
    }
    let mut relatives: HashMap<&str, usize> = HashMap::new();
    for pod in related.iter().filter(|pod| pod::is_active(pod)) {
        *relatives.entry(node(pod)).or_default() += 1;
    }
    let mut ranked: Vec<&Arc<Pod>> = candidates.iter().collect();
    ranked.sort_by(|a, b| order(a, b, &relatives, now));
    ranked.into_iter().take(count).cloned().collect()
}

/// Upstream's order: unassigned, then less started, then not ready, then cheap, then crowded, then younger
/// in readiness (by powers of two, so that nobody is always the victim), then restarted more, then younger.
fn order(a: &Pod, b: &Pod, relatives: &HashMap<&str, usize>, now: Timestamp) -> Ordering {
    let crowd = |pod: &Pod| relatives.get(node(pod)).copied().unwrap_or_default();
    let by_ready_time = || {
        if !(pod::is_ready(a) && pod::is_ready(b)) {
            return Ordering::Equal;
        }
        by_age(pod::ready_since(a), pod::ready_since(b), now)
    };
    node(a)
        .is_empty()
        .cmp(&node(b).is_empty())
        .reverse()
        .then_with(|| phase_rank(a).cmp(&phase_rank(b)))
        .then_with(|| pod::is_ready(a).cmp(&pod::is_ready(b)))
        .then_with(|| deletion_cost(a).cmp(&deletion_cost(b)))
        .then_with(|| crowd(b).cmp(&crowd(a)))
        .then_with(by_ready_time)
        .then_with(|| restarts(b).cmp(&restarts(a)))
        .then_with(|| by_age(created(a), created(b), now))
        .then_with(|| a.metadata.uid.cmp(&b.metadata.uid))
}

fn node(pod: &Pod) -> &str {
    pod.spec
        .as_ref()
        .and_then(|spec| spec.node_name.as_deref())
        .unwrap_or_default()
}

fn phase_rank(pod: &Pod) -> u8 {
    match pod::phase(pod) {
        "Running" => 2,
        "Unknown" => 1,
        _ => 0,
    }
}

fn deletion_cost(pod: &Pod) -> i32 {
    let cost = pod
        .metadata
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(DELETION_COST));
    cost.and_then(|cost| cost.parse().ok()).unwrap_or_default()
}

fn restarts(pod: &Pod) -> i32 {
    let containers = pod
        .status
        .as_ref()
        .and_then(|status| status.container_statuses.as_deref())
        .unwrap_or_default();
    containers
        .iter()
        .map(|container| container.restart_count)
        .max()
        .unwrap_or_default()
}

fn created(pod: &Pod) -> Option<Timestamp> {
    pod.metadata.creation_timestamp.as_ref().map(|time| time.0)
}

/// Younger first; ages that share a power of two are equal. An unknown time counts as youngest.
fn by_age(a: Option<Timestamp>, b: Option<Timestamp>, now: Timestamp) -> Ordering {
    let bucket = |time: Option<Timestamp>| {
        time.map(|time| {
            (pod::seconds_between(time, now).max(0) as u64)
                .checked_ilog2()
                .map_or(0, |log| log + 1)
        })
    };
    match (bucket(a), bucket(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kobune_client::k8s_openapi::api::core::v1::{PodCondition, PodSpec, PodStatus};
    use kobune_client::k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn pod(name: &str, node: &str, ready_at: Option<i64>) -> Arc<Pod> {
        Arc::new(Pod {
            metadata: ObjectMeta {
                name: Some(name.into()),
                uid: Some(name.into()),
                creation_timestamp: Some(Time(at(0))),
                ..Default::default()
            },
            spec: Some(PodSpec {
                node_name: Some(node.into()).filter(|n: &String| !n.is_empty()),
                ..Default::default()
            }),
            status: Some(PodStatus {
                phase: Some(if ready_at.is_some() { "Running" } else { "Pending" }.into()),
                conditions: ready_at.map(|second| {
                    vec![PodCondition {
                        type_: "Ready".into(),
                        status: "True".into(),
                        last_transition_time: Some(Time(at(second))),
                        ..Default::default()
                    }]
                }),
                ..Default::default()
            }),
        })
    }

    fn names(pods: Vec<Arc<Pod>>) -> Vec<String> {
        pods.iter().filter_map(|pod| pod.metadata.name.clone()).collect()
    }

    #[test]
    fn an_unassigned_pod_goes_before_a_running_one() {
        let pods = [pod("runs", "n1", Some(1)), pod("waits", "", None)];
        assert_eq!(names(to_delete(&pods, &pods, 1, at(100))), ["waits"]);
    }

    #[test]
    fn the_newly_ready_goes_before_the_long_ready() {
        let pods = [pod("old", "n1", Some(1)), pod("new", "n2", Some(990))];
        assert_eq!(names(to_delete(&pods, &pods, 1, at(1000))), ["new"]);
    }

    #[test]
    fn a_low_deletion_cost_goes_first_whatever_its_age() {
        let mut cheap = (*pod("cheap", "n1", Some(1))).clone();
        cheap.metadata.annotations = Some([(DELETION_COST.to_owned(), "-5".to_owned())].into());
        let pods = [pod("dear", "n1", Some(990)), Arc::new(cheap)];
        assert_eq!(names(to_delete(&pods, &pods, 1, at(1000))), ["cheap"]);
    }

    #[test]
    fn the_crowded_node_loses_first() {
        let pods = [
            pod("a", "n1", Some(1)),
            pod("b", "n2", Some(1)),
            pod("c", "n2", Some(1)),
        ];
        assert_eq!(names(to_delete(&pods, &pods, 1, at(1000))), ["b"]);
    }

    #[test]
    fn never_more_than_asked() {
        let pods = [pod("a", "n1", Some(1)), pod("b", "n2", Some(1))];
        assert_eq!(to_delete(&pods, &pods, 0, at(10)).len(), 0);
        assert_eq!(to_delete(&pods, &pods, 5, at(10)).len(), 2);
    }
}
