//! The Deployment's status: counts, and the conditions Available, Progressing and ReplicaFailure.

use std::time::Duration;

use jiff::Timestamp;
use kobune_client::k8s_openapi::api::apps::v1::{
    Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet,
};
use kobune_client::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::size::{actual, available, max_unavailable, replicas, wanted};
use crate::pod::seconds_between;

/// Reasons of the Progressing condition.
pub mod reason {
    /// A ReplicaSet was made for the template.
    pub const NEW_SET: &str = "NewReplicaSetCreated";
    /// A ReplicaSet with the template was there already.
    pub const FOUND_SET: &str = "FoundNewReplicaSet";
    /// The rollout is under way.
    pub const UPDATED: &str = "ReplicaSetUpdated";
    /// The rollout is complete.
    pub const AVAILABLE: &str = "NewReplicaSetAvailable";
    /// No progress within progressDeadlineSeconds.
    pub const TIMED_OUT: &str = "ProgressDeadlineExceeded";
    /// The ReplicaSet could not be made.
    pub const FAILED_CREATE: &str = "ReplicaSetCreateError";
    /// `spec.paused` was set.
    pub const PAUSED: &str = "DeploymentPaused";
    /// `spec.paused` was cleared.
    pub const RESUMED: &str = "DeploymentResumed";
}

/// The condition of type `name`.
pub fn condition<'a>(status: &'a DeploymentStatus, name: &str) -> Option<&'a DeploymentCondition> {
    status
        .conditions
        .as_deref()?
        .iter()
        .find(|condition| condition.type_ == name)
}

/// A condition of now.
pub fn new_condition(
    name: &str,
    status: &str,
    reason: &str,
    message: String,
    now: Timestamp,
) -> DeploymentCondition {
    DeploymentCondition {
        type_: name.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message),
        last_update_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }
}

/// Sets a condition. The same status and reason again change nothing; the same status keeps its time of
/// transition.
pub fn set_condition(status: &mut DeploymentStatus, mut new: DeploymentCondition) {
    let conditions = status.conditions.get_or_insert_default();
    if let Some(old) = conditions.iter().find(|old| old.type_ == new.type_) {
        if old.status == new.status && old.reason == new.reason {
            return;
        }
        if old.status == new.status {
            new.last_transition_time = old.last_transition_time.clone();
        }
    }
    conditions.retain(|old| old.type_ != new.type_);
    conditions.push(new);
}

fn remove_condition(status: &mut DeploymentStatus, name: &str) {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|condition| condition.type_ != name);
    }
}

/// The seconds without progress that are too many; `None` when the Deployment has no deadline.
fn deadline(deployment: &Deployment) -> Option<i32> {
    let seconds = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.progress_deadline_seconds);
    seconds.filter(|seconds| *seconds != i32::MAX)
}

/// Counts and Available, from what the ReplicaSets report. `sets` includes the new one.
pub fn counted(
    deployment: &Deployment,
    sets: &[ReplicaSet],
    new: Option<&ReplicaSet>,
    now: Timestamp,
) -> DeploymentStatus {
    let old = deployment.status.clone().unwrap_or_default();
    let total: i32 = sets.iter().map(wanted).sum();
    let available_now: i32 = sets.iter().map(available).sum();
    let sum = |count: &dyn Fn(&ReplicaSet) -> i32| Some(sets.iter().map(count).sum::<i32>());
    let status_count = |set: &ReplicaSet,
                        count: fn(
        &kobune_client::k8s_openapi::api::apps::v1::ReplicaSetStatus,
    ) -> Option<i32>| { set.status.as_ref().and_then(count).unwrap_or_default() };
    let non_zero = |count: Option<i32>| count.filter(|count| *count != 0);
    let mut status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: non_zero(sum(&actual)),
        updated_replicas: non_zero(new.map(actual)),
        ready_replicas: non_zero(sum(&|set| status_count(set, |status| status.ready_replicas))),
        available_replicas: non_zero(Some(available_now)),
        unavailable_replicas: non_zero(Some((total - available_now).max(0))),
        terminating_replicas: sum(&|set| status_count(set, |status| status.terminating_replicas)),
        collision_count: old.collision_count,
        conditions: old.conditions,
    };
    let enough = available_now >= replicas(deployment) - max_unavailable(deployment);
    let (state, reason, has) = match enough {
        true => ("True", "MinimumReplicasAvailable", "has"),
        false => ("False", "MinimumReplicasUnavailable", "does not have"),
    };
    let message = format!("Deployment {has} minimum availability.");
    set_condition(
        &mut status,
        new_condition("Available", state, reason, message, now),
    );
    status
}

/// Everything is rolled out and available.
pub fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = replicas(deployment);
    status.updated_replicas.unwrap_or_default() == wanted
        && status.replicas.unwrap_or_default() == wanted
        && status.available_replicas.unwrap_or_default() == wanted
        && status.observed_generation >= deployment.metadata.generation
}

fn has_progressed(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    let count = |value: Option<i32>| value.unwrap_or_default();
    let outdated = |status: &DeploymentStatus| count(status.replicas) - count(status.updated_replicas);
    count(new.updated_replicas) > count(old.updated_replicas)
        || outdated(new) < outdated(old)
        || count(new.ready_replicas) > count(old.ready_replicas)
        || count(new.available_replicas) > count(old.available_replicas)
}

fn has_timed_out(status: &DeploymentStatus, deadline: i32, now: Timestamp) -> bool {
    let Some(progressing) = condition(status, "Progressing") else {
        return false;
    };
    match progressing.reason.as_deref() {
        Some(reason::AVAILABLE) => false,
        Some(reason::TIMED_OUT) => true,
        _ => progressing
            .last_update_time
            .as_ref()
            .is_some_and(|updated| seconds_between(updated.0, now) > i64::from(deadline)),
    }
}

/// The status during a rollout: counts, Progressing and ReplicaFailure.
pub fn rolling(
    deployment: &Deployment,
    sets: &[ReplicaSet],
    new: Option<&ReplicaSet>,
    now: Timestamp,
) -> DeploymentStatus {
    let mut status = counted(deployment, sets, new, now);
    note_progress(deployment, &mut status, new, now);
    match replica_failure(sets, new, now) {
        Some(failure) => set_condition(&mut status, failure),
        None => remove_condition(&mut status, "ReplicaFailure"),
    }
    status
}

fn note_progress(
    deployment: &Deployment,
    status: &mut DeploymentStatus,
    new: Option<&ReplicaSet>,
    now: Timestamp,
) {
    let Some(deadline) = deadline(deployment) else {
        return remove_condition(status, "Progressing");
    };
    let old = deployment.status.clone().unwrap_or_default();
    let current = condition(status, "Progressing").cloned();
    let was_complete = status.replicas == status.updated_replicas
        && current
            .as_ref()
            .is_some_and(|current| current.reason.as_deref() == Some(reason::AVAILABLE));
    if was_complete {
        return;
    }
    let subject = match new {
        Some(set) => format!(
            "ReplicaSet {:?}",
            set.metadata.name.as_deref().unwrap_or_default()
        ),
        None => format!(
            "Deployment {:?}",
            deployment.metadata.name.as_deref().unwrap_or_default()
        ),
    };
    if is_complete(deployment, status) {
        let message = format!("{subject} has successfully progressed.");
        set_condition(
            status,
            new_condition("Progressing", "True", reason::AVAILABLE, message, now),
        );
    } else if has_progressed(&old, status) {
        let message = format!("{subject} is progressing.");
        let mut progressing = new_condition("Progressing", "True", reason::UPDATED, message, now);
        if let Some(current) = current.filter(|current| current.status == "True") {
            progressing.last_transition_time = current.last_transition_time;
        }
        // The time of the update is the point: the deadline counts from it.
        remove_condition(status, "Progressing");
        set_condition(status, progressing);
    } else if has_timed_out(status, deadline, now) {
        let message = format!("{subject} has timed out progressing.");
        set_condition(
            status,
            new_condition("Progressing", "False", reason::TIMED_OUT, message, now),
        );
    }
}

fn replica_failure(
    sets: &[ReplicaSet],
    new: Option<&ReplicaSet>,
    now: Timestamp,
) -> Option<DeploymentCondition> {
    let of = |set: &ReplicaSet| {
        let conditions = set.status.as_ref()?.conditions.as_deref()?;
        conditions
            .iter()
            .find(|condition| condition.type_ == "ReplicaFailure")
            .cloned()
    };
    let failure = new.and_then(of).or_else(|| sets.iter().find_map(of))?;
    let mut condition = new_condition(
        "ReplicaFailure",
        &failure.status,
        "",
        failure.message.unwrap_or_default(),
        now,
    );
    condition.reason = failure.reason;
    condition.last_transition_time = failure.last_transition_time.clone();
    condition.last_update_time = failure.last_transition_time;
    Some(condition)
}

/// Pausing and resuming show in Progressing, so that the deadline does not count while paused.
pub fn note_pause(deployment: &Deployment, status: &mut DeploymentStatus, now: Timestamp) {
    let paused = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.paused)
        .unwrap_or_default();
    if deadline(deployment).is_none() {
        return;
    }
    let reason = condition(status, "Progressing").and_then(|current| current.reason.clone());
    let shown = reason.as_deref() == Some(reason::PAUSED);
    if reason.as_deref() == Some(reason::TIMED_OUT) || paused == shown {
        return;
    }
    let (reason, message) = match paused {
        true => (reason::PAUSED, "Deployment is paused"),
        false => (reason::RESUMED, "Deployment is resumed"),
    };
    set_condition(
        status,
        new_condition("Progressing", "Unknown", reason, message.into(), now),
    );
}

/// When the deadline has to be looked at, if the rollout is still on.
pub fn deadline_in(deployment: &Deployment, status: &DeploymentStatus, now: Timestamp) -> Option<Duration> {
    let deadline = deadline(deployment)?;
    let progressing = condition(status, "Progressing")?;
    let over = matches!(
        progressing.reason.as_deref(),
        Some(reason::TIMED_OUT | reason::AVAILABLE | reason::PAUSED)
    );
    if over || is_complete(deployment, status) {
        return None;
    }
    let updated = progressing.last_update_time.as_ref()?.0;
    let left = i64::from(deadline) - seconds_between(updated, now);
    Some(Duration::from_secs(left.max(0) as u64 + 1))
}
