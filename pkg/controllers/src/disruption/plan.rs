//! A budget's status: how many pods it expects, how many are healthy, how many may be disrupted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kobune_client::k8s_openapi::api::core::v1::Pod;
use kobune_client::k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use kobune_client::k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kobune_client::k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::deployment::size::scaled;
use crate::pod;

/// A pod whose eviction was allowed counts as disrupted for so long; then it will not be deleted any more.
const DELETION: SignedDuration = SignedDuration::from_mins(2);
const CONDITION: &str = "DisruptionAllowed";

/// What a budget's `spec` counts against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counts {
    /// The pods that are there.
    Pods,
    /// What the pods' controllers want in sum.
    Scale,
}

/// What must be known to judge this budget.
pub fn counts(budget: &PodDisruptionBudget) -> Counts {
    let spec = budget.spec.as_ref();
    let most = spec.and_then(|spec| spec.max_unavailable.as_ref());
    let least = spec.and_then(|spec| spec.min_available.as_ref());
    match (most, least) {
        (None, None | Some(IntOrString::Int(_))) => Counts::Pods,
        _ => Counts::Scale,
    }
}

/// What was decided.
#[derive(Debug)]
pub struct Verdict {
    /// The status to write.
    pub status: PodDisruptionBudgetStatus,
    /// When to look again because an eviction may turn out not to have happened.
    pub again: Option<Duration>,
    /// Pods that were to be deleted and were not.
    pub undeleted: Vec<Arc<Pod>>,
}

/// The status of a budget over the pods it selects, of which `expected` are wanted.
pub fn verdict(budget: &PodDisruptionBudget, pods: &[Arc<Pod>], expected: i32, now: Timestamp) -> Verdict {
    let (disrupted, again, undeleted) = disrupted(budget, pods, now);
    let healthy = pods.iter().filter(|pod| {
        let gone = pod
            .metadata
            .name
            .as_ref()
            .is_some_and(|name| disrupted.contains_key(name));
        pod.metadata.deletion_timestamp.is_none() && !gone && pod::is_ready(pod)
    });
    let healthy = number(healthy.count());
    let desired = desired(budget, expected);
    let allowed = if expected <= 0 {
        0
    } else {
        (healthy - desired).max(0)
    };
    let mut status = PodDisruptionBudgetStatus {
        current_healthy: Some(healthy),
        desired_healthy: Some(desired),
        expected_pods: Some(expected),
        disruptions_allowed: Some(allowed),
        disrupted_pods: (!disrupted.is_empty()).then_some(disrupted),
        observed_generation: budget.metadata.generation,
        conditions: known_conditions(budget),
    };
    let (says, reason) = if allowed > 0 {
        ("True", "SufficientPods")
    } else {
        ("False", "InsufficientPods")
    };
    set_condition(&mut status, says, reason, String::new(), now);
    Verdict {
        status,
        again,
        undeleted,
    }
}

/// The status of a budget that could not be judged: nothing may be disrupted.
pub fn failed(budget: &PodDisruptionBudget, why: String, now: Timestamp) -> PodDisruptionBudgetStatus {
    let mut status = budget.status.clone().unwrap_or_default();
    status.disruptions_allowed = Some(0);
    set_condition(&mut status, "False", "SyncFailed", why, now);
    status
}

/// How many of `expected` pods must stay healthy.
fn desired(budget: &PodDisruptionBudget, expected: i32) -> i32 {
    let spec = budget.spec.as_ref();
    if let Some(most) = spec.and_then(|spec| spec.max_unavailable.as_ref()) {
        return (expected - scaled(Some(most), expected, true)).max(0);
    }
    match spec.and_then(|spec| spec.min_available.as_ref()) {
        None => 0,
        least => scaled(least, expected, true),
    }
}

type Disrupted = BTreeMap<String, Time>;

/// Of the pods whose eviction was allowed: those that are still to be deleted, when that has to be
/// looked at again, and those that should have been deleted by now.
fn disrupted(
    budget: &PodDisruptionBudget,
    pods: &[Arc<Pod>],
    now: Timestamp,
) -> (Disrupted, Option<Duration>, Vec<Arc<Pod>>) {
    let noted = budget
        .status
        .as_ref()
        .and_then(|status| status.disrupted_pods.as_ref());
    let (mut kept, mut again, mut undeleted) = (Disrupted::new(), None::<Duration>, Vec::new());
    for pod in pods
        .iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none())
    {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let Some(time) = noted.and_then(|noted| noted.get(&name)) else {
            continue;
        };
        let left = (time.0 + DELETION).duration_since(now);
        match Duration::try_from(left) {
            Ok(left) => {
                again = Some(again.map_or(left, |sooner| sooner.min(left)));
                kept.insert(name, time.clone());
            }
            // Negative: it is over.
            Err(_) => undeleted.push(pod.clone()),
        }
    }
    (kept, again, undeleted)
}

fn known_conditions(budget: &PodDisruptionBudget) -> Option<Vec<Condition>> {
    budget
        .status
        .as_ref()
        .and_then(|status| status.conditions.clone())
}

fn set_condition(
    status: &mut PodDisruptionBudgetStatus,
    says: &str,
    reason: &str,
    message: String,
    now: Timestamp,
) {
    let conditions = status.conditions.get_or_insert_default();
    let known = conditions
        .iter()
        .position(|condition| condition.type_ == CONDITION);
    let same = known.filter(|at| conditions[*at].status == says);
    // Written with seconds.
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let fresh = Condition {
        type_: CONDITION.to_owned(),
        status: says.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: status.observed_generation,
        last_transition_time: same.map_or(Time(now), |at| conditions[at].last_transition_time.clone()),
    };
    match known {
        Some(at) => conditions[at] = fresh,
        None => conditions.push(fresh),
    }
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn budget(spec: Value, status: Value) -> PodDisruptionBudget {
        serde_json::from_value(
            json!({"metadata": {"name": "b", "generation": 3}, "spec": spec, "status": status}),
        )
        .unwrap()
    }

    fn pods(ready: &[bool]) -> Vec<Arc<Pod>> {
        let pod = |(at, ready): (usize, &bool)| {
            let status = if *ready { "True" } else { "False" };
            let pod = json!({"metadata": {"name": format!("p{at}")},
                "status": {"conditions": [{"type": "Ready", "status": status}]}});
            Arc::new(serde_json::from_value(pod).unwrap())
        };
        ready.iter().enumerate().map(pod).collect()
    }

    fn numbers(spec: Value, ready: &[bool], expected: i32) -> (i32, i32, i32) {
        let status = verdict(
            &budget(spec, json!({})),
            &pods(ready),
            expected,
            Timestamp::UNIX_EPOCH,
        )
        .status;
        (
            status.current_healthy.unwrap(),
            status.desired_healthy.unwrap(),
            status.disruptions_allowed.unwrap(),
        )
    }

    #[test]
    fn what_is_healthy_beyond_what_must_be_may_be_disrupted() {
        assert_eq!(
            numbers(json!({"minAvailable": 1}), &[true, true, false], 3),
            (2, 1, 1)
        );
        assert_eq!(
            numbers(json!({"minAvailable": "50%"}), &[true, true], 3),
            (2, 2, 0)
        );
        assert_eq!(
            numbers(json!({"maxUnavailable": 1}), &[true, true, true], 3),
            (3, 2, 1)
        );
        assert_eq!(
            numbers(json!({"maxUnavailable": "10%"}), &[true, true, true], 3),
            (3, 2, 1)
        );
        assert_eq!(numbers(json!({"minAvailable": 0}), &[], 0), (0, 0, 0));
    }

    #[test]
    fn only_shares_and_unavailability_ask_for_the_controllers_scale() {
        let of = |spec| counts(&budget(spec, json!({})));
        assert_eq!(of(json!({"minAvailable": 1})), Counts::Pods);
        assert_eq!(of(json!({"minAvailable": "10%"})), Counts::Scale);
        assert_eq!(of(json!({"maxUnavailable": 1})), Counts::Scale);
    }

    #[test]
    fn an_evicted_pod_is_not_healthy_until_it_turns_out_to_stay() {
        let noted = json!({"disruptedPods": {"p0": "2026-01-01T00:00:00Z"}, "expectedPods": 0,
            "currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0});
        let budget = budget(json!({"minAvailable": 1}), noted);
        let soon: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let early = verdict(&budget, &pods(&[true, true]), 2, soon);
        assert_eq!(
            (early.status.current_healthy, early.status.disruptions_allowed),
            (Some(1), Some(0))
        );
        assert_eq!(early.again, Some(Duration::from_secs(60)));
        let late = verdict(
            &budget,
            &pods(&[true, true]),
            2,
            soon + SignedDuration::from_mins(2),
        );
        assert_eq!((late.status.current_healthy, late.undeleted.len()), (Some(2), 1));
    }

    #[test]
    fn the_condition_keeps_its_time_while_it_says_the_same() {
        let first = verdict(&budget(json!({}), json!({})), &[], 0, Timestamp::UNIX_EPOCH).status;
        let mut again = budget(json!({}), json!({}));
        again.status = Some(first.clone());
        let later = Timestamp::UNIX_EPOCH + SignedDuration::from_mins(5);
        assert_eq!(verdict(&again, &[], 0, later).status, first);
        let condition = &first.conditions.unwrap()[0];
        assert_eq!(
            (condition.reason.as_str(), condition.observed_generation),
            ("InsufficientPods", Some(3))
        );
    }
}
