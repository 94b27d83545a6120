//! How a pod ends: its containers in order, then its sandbox and volumes. Pure, as `plan`.
//!
//! ```text
//! main, init, ephemeral containers -> sidecars, last first -> TearDown -> Finish
//! ```

use jiff::{SignedDuration, Timestamp};
use kobune_runtime::Container;

use super::desired::Role;
use super::plan::{Facts, KillReason, Plan, Step};

/// Sidecars get at least so many seconds, whatever the others used up.
const MINIMUM_GRACE: i64 = 2;

/// Why and since when a pod is to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// What ended it.
    pub cause: StopCause,
    /// When it began.
    pub since: Timestamp,
    /// Seconds the containers have in all.
    pub grace: i64,
}

/// What ended a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopCause {
    /// The API object is marked for deletion.
    Deleted,
    /// The API object is gone already.
    Vanished,
    /// All containers ended for good.
    Completed,
    /// The kubelet ends it: `status.reason` and `status.message` (`DeadlineExceeded`, `Evicted`,
    /// an admission failure); the phase becomes Failed.
    Failed {
        /// `status.reason`
        reason: String,
        /// `status.message`
        message: String,
    },
}

/// The steps of a pod that is to end.
pub fn stopping(facts: &Facts<'_>, stop: &Stop) -> Plan {
    let mut plan = Plan::default();
    if facts.torn_down {
        plan.steps.push(Step::Finish);
        return plan;
    }
    let (sidecars, others): (Vec<&Container>, Vec<&Container>) =
        facts.known.alive().partition(|c| role(facts, c) == Role::Sidecar);
    for container in &others {
        kill(facts, stop.grace, container, &mut plan);
    }
    if others.is_empty() {
        // One after the other, the last declared first; each may use what is left of the time.
        let order = |c: &&&Container| facts.pod.init().iter().position(|i| i.name == c.name);
        if let Some(last) = sidecars.iter().max_by_key(order) {
            let elapsed = facts.now.duration_since(stop.since).as_secs();
            kill(
                facts,
                (stop.grace - elapsed).max(MINIMUM_GRACE.min(stop.grace)),
                last,
                &mut plan,
            );
        }
    }
    let idle = facts.busy.starting.is_none() && facts.busy.stopping.is_empty() && !facts.busy.setting_up;
    if others.is_empty() && sidecars.is_empty() && idle {
        match facts.set_up_retry {
            Some(at) if facts.now < at => plan.wake(at),
            _ => plan.steps.push(Step::TearDown),
        }
    }
    plan
}

fn role(facts: &Facts<'_>, container: &Container) -> Role {
    facts
        .pod
        .container(&container.name)
        .map_or(Role::Main, |(role, _)| role)
}

/// Asks for a kill, or for a shorter grace of the kill under way.
fn kill(facts: &Facts<'_>, grace: i64, container: &Container, plan: &mut Plan) {
    let starting = facts.busy.starting.as_deref() == Some(container.name.as_str());
    let enough = facts
        .busy
        .stopping
        .get(&container.id)
        .is_some_and(|given| *given <= grace);
    if starting || enough {
        return;
    }
    plan.steps.push(Step::Kill {
        id: container.id.clone(),
        name: container.name.clone(),
        reason: KillReason::PodEnds,
        message: format!("Stopping container {}", container.name),
        grace,
    });
}

/// Seconds of grace a pod has now: what the deletion says, at least one second as upstream.
pub fn grace_of(deletion_grace: Option<i64>, termination_grace: i64) -> i64 {
    deletion_grace.unwrap_or(termination_grace).max(1)
}

/// The moment at which a stop's grace is used up.
pub fn deadline(stop: &Stop) -> Timestamp {
    stop.since
        .checked_add(SignedDuration::from_secs(stop.grace))
        .unwrap_or(stop.since)
}
