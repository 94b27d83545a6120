//! Decides what a ReplicaSet (or ReplicationController) does: how many pods to create, which to delete, and
//! what its status says. Pure.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kobune_client::k8s_openapi::api::apps::v1::{ReplicaSetCondition, ReplicaSetStatus};
use kobune_client::k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use kobune_client::k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::rank;
use crate::pod;

/// The most pods one round creates or deletes, as upstream.
const BURST: usize = 500;

/// A workload that keeps a number of equal pods, reduced to what the decision needs.
pub struct Desired<'a> {
    /// The workload's metadata.
    pub meta: &'a ObjectMeta,
    /// Pods wanted.
    pub replicas: i32,
    /// Seconds a pod must have been ready to count as available.
    pub min_ready_seconds: i32,
    /// What the pods look like.
    pub template: &'a PodTemplateSpec,
}

/// The change in the number of pods.
#[derive(Debug, PartialEq)]
pub enum Scale {
    /// Enough pods, or a round is still under way.
    Nothing,
    /// Create this many.
    Create(usize),
    /// Delete these.
    Delete(Vec<Arc<Pod>>),
}

/// Decides the change. `active` are the workload's active pods; `related` those of its siblings too.
pub fn scale(desired: &Desired<'_>, active: &[Arc<Pod>], related: &[Arc<Pod>], now: Timestamp) -> Scale {
    if desired.meta.deletion_timestamp.is_some() {
        return Scale::Nothing;
    }
    let wanted = usize::try_from(desired.replicas).unwrap_or_default();
    if active.len() < wanted {
        Scale::Create((wanted - active.len()).min(BURST))
    } else if active.len() > wanted {
        Scale::Delete(rank::to_delete(
            active,
            related,
            (active.len() - wanted).min(BURST),
            now,
        ))
    } else {
        Scale::Nothing
    }
}

/// Why a round did not come to its end.
#[derive(Debug, Clone)]
pub struct Failure {
    /// `FailedCreate` or `FailedDelete`.
    pub reason: &'static str,
    /// The API server's answer.
    pub message: String,
}

/// The status that the pods seen imply. `terminating` counts pods on their way out.
pub fn status(
    desired: &Desired<'_>,
    old: &ReplicaSetStatus,
    active: &[Arc<Pod>],
    terminating: usize,
    failure: Option<&Failure>,
    now: Timestamp,
) -> ReplicaSetStatus {
    let count = |test: &dyn Fn(&Pod) -> bool| active.iter().filter(|pod| test(pod)).count() as i32;
    let template_labels = desired
        .template
        .metadata
        .as_ref()
        .and_then(|meta| meta.labels.as_ref());
    let fully_labeled = |pod: &Pod| {
        template_labels.is_none_or(|wanted| {
            let labels = pod.metadata.labels.as_ref();
            wanted
                .iter()
                .all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
        })
    };
    ReplicaSetStatus {
        replicas: active.len() as i32,
        fully_labeled_replicas: non_zero(count(&fully_labeled)),
        ready_replicas: non_zero(count(&pod::is_ready)),
        available_replicas: non_zero(count(&|pod| {
            pod::is_available(pod, desired.min_ready_seconds, now)
        })),
        terminating_replicas: Some(terminating as i32),
        observed_generation: desired.meta.generation,
        conditions: conditions(old, failure, now),
    }
}

fn non_zero(count: i32) -> Option<i32> {
    Some(count).filter(|count| *count != 0)
}

/// ReplicaFailure is set by a failed round and goes with the next good one.
fn conditions(
    old: &ReplicaSetStatus,
    failure: Option<&Failure>,
    now: Timestamp,
) -> Option<Vec<ReplicaSetCondition>> {
    let mut conditions = old.conditions.clone().unwrap_or_default();
    match failure {
        None => conditions.retain(|condition| condition.type_ != "ReplicaFailure"),
        Some(_)
            if conditions
                .iter()
                .any(|condition| condition.type_ == "ReplicaFailure") => {}
        Some(failure) => conditions.push(ReplicaSetCondition {
            type_: "ReplicaFailure".into(),
            status: "True".into(),
            reason: Some(failure.reason.into()),
            message: Some(failure.message.clone()),
            last_transition_time: Some(Time(now)),
        }),
    }
    Some(conditions).filter(|conditions| !conditions.is_empty())
}

/// When the next ready pod turns available, so that nothing has to look in between.
pub fn next_available(desired: &Desired<'_>, active: &[Arc<Pod>], now: Timestamp) -> Option<Duration> {
    if desired.min_ready_seconds == 0 {
        return None;
    }
    let left = |since: Timestamp| i64::from(desired.min_ready_seconds) - pod::seconds_between(since, now);
    let soonest = active
        .iter()
        .filter_map(|pod| pod::ready_since(pod))
        .map(left)
        .filter(|left| *left > 0)
        .min()?;
    Some(Duration::from_secs(soonest as u64))
}

/// A new pod of the workload: the template's labels, annotations, finalizers and spec. The name is given,
/// so that its maker knows which pod to expect in the watch before the API server has answered.
pub fn new_pod(
    desired: &Desired<'_>,
    owner: kobune_client::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference,
    suffix: &str,
) -> Pod {
    let template = desired.template.metadata.as_ref();
    let prefix = generate_name(desired.meta.name.as_deref().unwrap_or_default());
    Pod {
        metadata: ObjectMeta {
            name: Some(format!("{prefix}{suffix}")),
            generate_name: Some(prefix),
            namespace: desired.meta.namespace.clone(),
            labels: template.and_then(|meta| meta.labels.clone()),
            annotations: template.and_then(|meta| meta.annotations.clone()),
            finalizers: template.and_then(|meta| meta.finalizers.clone()),
            owner_references: Some(vec![owner]),
            ..Default::default()
        },
        spec: desired.template.spec.clone(),
        status: None,
    }
}

/// The prefix of generated names; cut so that prefix and suffix stay within 63 characters.
fn generate_name(owner: &str) -> String {
    let mut prefix: String = owner.chars().take(57).collect();
    prefix.push('-');
    prefix
}

#[cfg(test)]
mod tests {
    use super::*;
    use kobune_client::k8s_openapi::api::core::v1::{PodCondition, PodStatus};

    fn now() -> Timestamp {
        Timestamp::from_second(1000).unwrap()
    }

    fn pods(count: usize, ready_at: Option<i64>) -> Vec<Arc<Pod>> {
        let ready = |second| PodCondition {
            type_: "Ready".into(),
            status: "True".into(),
            last_transition_time: Some(Time(Timestamp::from_second(second).unwrap())),
            ..Default::default()
        };
        let status = PodStatus {
            phase: Some("Running".into()),
            conditions: ready_at.map(|second| vec![ready(second)]),
            ..Default::default()
        };
        let pod = |index: usize| Pod {
            metadata: ObjectMeta {
                name: Some(format!("p{index}")),
                ..Default::default()
            },
            status: Some(status.clone()),
            spec: None,
        };
        (0..count).map(|index| Arc::new(pod(index))).collect()
    }

    fn desired<'a>(
        replicas: i32,
        min_ready: i32,
        meta: &'a ObjectMeta,
        template: &'a PodTemplateSpec,
    ) -> Desired<'a> {
        Desired {
            meta,
            replicas,
            min_ready_seconds: min_ready,
            template,
        }
    }

    #[test]
    fn missing_pods_are_created_and_surplus_deleted() {
        let (meta, template) = Default::default();
        let want = desired(3, 0, &meta, &template);
        assert_eq!(scale(&want, &pods(1, None), &[], now()), Scale::Create(2));
        assert_eq!(scale(&want, &pods(3, None), &[], now()), Scale::Nothing);
        assert!(matches!(scale(&want, &pods(5, None), &[], now()), Scale::Delete(gone) if gone.len() == 2));
    }

    #[test]
    fn a_leaving_owner_creates_nothing() {
        let meta = ObjectMeta {
            deletion_timestamp: Some(Time(now())),
            ..Default::default()
        };
        let template = Default::default();
        assert_eq!(
            scale(&desired(3, 0, &meta, &template), &[], &[], now()),
            Scale::Nothing
        );
    }

    #[test]
    fn a_ready_pod_is_available_only_after_min_ready_seconds() {
        let (meta, template) = Default::default();
        let want = desired(2, 10, &meta, &template);
        let seen = pods(2, Some(995));
        let status = status(&want, &Default::default(), &seen, 0, None, now());
        assert_eq!(
            (status.ready_replicas, status.available_replicas),
            (Some(2), None)
        );
        assert_eq!(next_available(&want, &seen, now()), Some(Duration::from_secs(5)));
        assert_eq!(next_available(&want, &pods(2, Some(900)), now()), None);
    }

    #[test]
    fn a_failed_round_shows_until_a_good_one() {
        let (meta, template) = Default::default();
        let want = desired(1, 0, &meta, &template);
        let failure = Failure {
            reason: "FailedCreate",
            message: "quota".into(),
        };
        let failed = status(&want, &Default::default(), &[], 0, Some(&failure), now());
        assert_eq!(
            failed.conditions.as_ref().unwrap()[0].reason.as_deref(),
            Some("FailedCreate")
        );
        assert_eq!(status(&want, &failed, &[], 0, None, now()).conditions, None);
    }

    #[test]
    fn long_names_leave_room_for_the_suffix() {
        let meta = ObjectMeta {
            name: Some("x".repeat(80)),
            ..Default::default()
        };
        let template = Default::default();
        let pod = new_pod(&desired(1, 0, &meta, &template), Default::default(), "abcde");
        assert_eq!(pod.metadata.name.unwrap().len(), 63);
    }
}
