//! What to do next for a pod: a pure function of what is known. The worker carries it out and asks
//! again whenever something changed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kobune_client::k8s_openapi::api::core::v1::{Container, PodStatus};

use super::backoff::{BackOff, go_duration};
use super::desired::{Desired, Role, init_role, probe_grace};
use super::history::{Histories, Life, annotation, life};
use super::stopping::{Stop, stopping};
use crate::probe::book::ProbeBook;

/// Why a container that should run does not: `state.waiting`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// `ErrImagePull`, `CrashLoopBackOff`, ...
    pub reason: String,
    /// For people.
    pub message: String,
}

/// A start (or set-up) that failed and is tried again later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Not before.
    pub at: Timestamp,
    /// What to show meanwhile.
    pub waiting: Waiting,
}

/// What the worker is doing at the moment and must not be asked for again.
#[derive(Debug, Clone, Default)]
pub struct Busy {
    /// Sandbox, network and volumes are being made (or taken down).
    pub setting_up: bool,
    /// This container is being started.
    pub starting: Option<String>,
    /// Containers being stopped, by id, with the grace given.
    pub stopping: BTreeMap<String, i64>,
}

/// Everything the plan depends on.
pub struct Facts<'a> {
    /// The pod.
    pub pod: &'a Desired,
    /// Its newest status.
    pub status: &'a PodStatus,
    /// Sandbox, network and volumes are there.
    pub set_up: bool,
    /// Which of its sandboxes that is, once it is there: after a reboot the pod gets another one, and
    /// its init containers run again.
    pub sandbox: Option<u32>,
    /// Set-up failed and is tried again then.
    pub set_up_retry: Option<Timestamp>,
    /// Its containers.
    pub known: &'a Histories,
    /// Results of its probes.
    pub probes: &'a ProbeBook,
    /// Crash back-off by [`crash_key`].
    pub crash: &'a BackOff,
    /// Failed starts by container name.
    pub retries: &'a BTreeMap<String, Retry>,
    /// What is being done.
    pub busy: &'a Busy,
    /// The pod is to end.
    pub stop: Option<&'a Stop>,
    /// Everything of the pod was taken down.
    pub torn_down: bool,
    /// Now.
    pub now: Timestamp,
}

impl<'a> Facts<'a> {
    /// The newest attempt of a container, if it was made in the sandbox that is there now.
    fn here(&self, name: &str) -> Option<&'a kobune_runtime::Container> {
        let made_in = |c: &kobune_runtime::Container| {
            let attempt = c.annotations.get(annotation::SANDBOX);
            attempt.and_then(|a| a.parse().ok()).unwrap_or(0)
        };
        let current = self.known.current(name);
        current.filter(|c| self.sandbox.is_none_or(|sandbox| made_in(c) == sandbox))
    }
}

/// Why one container is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KillReason {
    /// The pod ends.
    PodEnds,
    /// Its definition changed.
    Changed,
    /// Its liveness probe failed.
    Liveness,
    /// Its startup probe failed.
    Startup,
    /// Nobody knows its state.
    Unknown,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make sandbox, network and volumes.
    SetUp,
    /// Pull, create and start a container.
    Start {
        /// Its name.
        name: String,
        /// It ended before, at this time: the crash back-off counts from it.
        after: Option<Timestamp>,
    },
    /// Run the preStop hook, stop a container.
    Kill {
        /// The container's id.
        id: String,
        /// Its name.
        name: String,
        /// Why.
        reason: KillReason,
        /// The `Killing` event's text.
        message: String,
        /// Seconds it has to end by itself.
        grace: i64,
    },
    /// Detach the network, remove the sandbox, unmount the volumes.
    TearDown,
    /// Nothing is left on this node: the API object can go, or the pod is Succeeded or Failed.
    Finish,
}

/// What to do now, and when to look again though nothing happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// In order; all may run at the same time.
    pub steps: Vec<Step>,
    /// `state.waiting` of containers that wait for their back-off.
    pub waiting: BTreeMap<String, Waiting>,
    /// The next moment at which time alone changes the plan.
    pub wake_at: Option<Timestamp>,
    /// Every container has ended for good: the pod is Succeeded or Failed.
    pub completed: bool,
}

impl Plan {
    pub(super) fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |w| w.min(at)));
    }
}

/// Key of a container's crash back-off; another image starts it over.
pub fn crash_key(container: &Container) -> String {
    format!(
        "{}_{}",
        container.name,
        container.image.as_deref().unwrap_or_default()
    )
}

/// What to do next.
pub fn plan(facts: &Facts<'_>) -> Plan {
    if let Some(stop) = facts.stop {
        return stopping(facts, stop);
    }
    let mut plan = Plan::default();
    let deadline = active_deadline(facts.pod, facts.status);
    if let Some(deadline) = deadline {
        plan.wake(deadline);
    }
    let stage = Stage::of(facts);
    if stage.completed(facts) {
        plan.completed = true;
        return plan;
    }
    if !facts.set_up {
        match facts.set_up_retry {
            Some(at) if facts.now < at => plan.wake(at),
            _ if facts.busy.setting_up => {}
            _ => plan.steps.push(Step::SetUp),
        }
        return plan;
    }
    let mut starts = Vec::new();
    kill_unstarted(facts, &mut plan);
    init_containers(facts, &stage, &mut plan, &mut starts);
    if stage.initialized {
        main_containers(facts, &mut plan, &mut starts);
    }
    ephemeral_containers(facts, &mut starts);
    choose_start(facts, starts, &mut plan);
    plan
}

/// The moment `activeDeadlineSeconds` after the pod's start.
pub fn active_deadline(pod: &Desired, status: &PodStatus) -> Option<Timestamp> {
    let seconds = pod.spec().active_deadline_seconds?;
    let start = status.start_time.as_ref()?.0;
    start.checked_add(jiff::SignedDuration::from_secs(seconds)).ok()
}

/// How far the init containers are.
struct Stage {
    initialized: bool,
    init_failed: bool,
}

impl Stage {
    fn of(facts: &Facts<'_>) -> Stage {
        let started = |c: &Container| {
            facts
                .here(&c.name)
                .is_some_and(|c| c.state != kobune_runtime::ContainerState::Created)
        };
        if facts.pod.main().iter().any(started) {
            // A main container ran in this sandbox: the init containers are done.
            return Stage {
                initialized: true,
                init_failed: false,
            };
        }
        for container in facts.pod.init() {
            let role = init_role(container);
            let life = life(facts.known, facts.status, &container.name);
            // A new sandbox runs the init containers again.
            let here = facts.here(&container.name);
            let passed = match (role, &life) {
                (Role::Sidecar, Life::Running) => {
                    here.is_some_and(|c| facts.probes.started(&c.id, container.startup_probe.is_some()))
                }
                (_, Life::Ended { exit_code, .. }) => here.is_some() && role == Role::Init && *exit_code == 0,
                _ => false,
            };
            if passed {
                continue;
            }
            let failed = match life {
                Life::Ended { exit_code, .. } => {
                    (here.is_some() || !facts.set_up)
                        && exit_code != 0
                        && !facts.pod.restarts(role, container, exit_code)
                }
                _ => false,
            };
            return Stage {
                initialized: false,
                init_failed: failed,
            };
        }
        Stage {
            initialized: true,
            init_failed: false,
        }
    }

    /// Nothing runs and nothing will be started again.
    fn completed(&self, facts: &Facts<'_>) -> bool {
        if self.init_failed {
            return true;
        }
        facts
            .pod
            .main()
            .iter()
            .all(|c| match life(facts.known, facts.status, &c.name) {
                Life::Ended { exit_code, .. } => !facts.pod.restarts(Role::Main, c, exit_code),
                _ => false,
            })
    }
}

/// A container to start, and the end of its life before.
struct Wanted<'a> {
    role: Role,
    container: &'a Container,
    after: Option<Timestamp>,
}

/// Containers that were created by an earlier run and not started.
fn kill_unstarted(facts: &Facts<'_>, plan: &mut Plan) {
    for (_, container) in facts.pod.containers() {
        let Some(current) = facts.known.current(&container.name) else {
            continue;
        };
        let unstarted = current.state == kobune_runtime::ContainerState::Created
            && facts.busy.starting.as_deref() != Some(container.name.as_str());
        if unstarted && !facts.busy.stopping.contains_key(&current.id) {
            plan.steps.push(Step::Kill {
                id: current.id.clone(),
                name: container.name.clone(),
                reason: KillReason::Unknown,
                message: "Container is in unknown state, try killing it before restart".into(),
                grace: 2,
            });
        }
    }
}

fn init_containers<'a>(facts: &Facts<'a>, stage: &Stage, plan: &mut Plan, starts: &mut Vec<Wanted<'a>>) {
    for container in facts.pod.init() {
        let role = init_role(container);
        if stage.initialized && role == Role::Init {
            continue;
        }
        let here = facts.here(&container.name);
        let life = match here {
            Some(_) => life(facts.known, facts.status, &container.name),
            None => Life::Never,
        };
        match (role, life) {
            (_, Life::Never) => starts.push(Wanted {
                role,
                container,
                after: None,
            }),
            (Role::Init, Life::Ended { exit_code: 0, .. }) => continue,
            (_, Life::Ended { at, .. }) => starts.push(Wanted {
                role,
                container,
                after: at,
            }),
            (Role::Sidecar, Life::Running) => {
                check_running(facts, role, container, plan);
                let id = here.map(|c| c.id.as_str()).unwrap_or_default();
                if facts.probes.started(id, container.startup_probe.is_some()) {
                    continue;
                }
            }
            _ => {}
        }
        if !stage.initialized {
            return;
        }
    }
}

fn main_containers<'a>(facts: &Facts<'a>, plan: &mut Plan, starts: &mut Vec<Wanted<'a>>) {
    for container in facts.pod.main() {
        let role = Role::Main;
        match life(facts.known, facts.status, &container.name) {
            Life::Running => check_running(facts, role, container, plan),
            Life::Never => starts.push(Wanted {
                role,
                container,
                after: None,
            }),
            Life::Ended { exit_code, at } if facts.pod.restarts(role, container, exit_code) => {
                starts.push(Wanted {
                    role,
                    container,
                    after: at,
                });
            }
            Life::Created | Life::Ended { .. } => {}
        }
    }
}

fn ephemeral_containers<'a>(facts: &Facts<'a>, starts: &mut Vec<Wanted<'a>>) {
    for container in facts.pod.ephemeral() {
        if life(facts.known, facts.status, &container.name) == Life::Never {
            starts.push(Wanted {
                role: Role::Ephemeral,
                container,
                after: None,
            });
        }
    }
}

/// Kills a running container whose definition changed or whose probes failed.
fn check_running(facts: &Facts<'_>, role: Role, container: &Container, plan: &mut Plan) {
    let Some(current) = facts.known.current(&container.name) else {
        return;
    };
    if facts.busy.stopping.contains_key(&current.id) {
        return;
    }
    let what = if role == Role::Sidecar {
        "Init container"
    } else {
        "Container"
    };
    let name = &container.name;
    let changed = current
        .annotations
        .get(annotation::HASH)
        .is_some_and(|h| *h != definition_hash(container));
    let (reason, mut message, probe) = if changed {
        (
            KillReason::Changed,
            format!("{what} {name} definition changed"),
            None,
        )
    } else if facts.probes.liveness_failed(&current.id) {
        let probe = container.liveness_probe.as_ref();
        (
            KillReason::Liveness,
            format!("{what} {name} failed liveness probe"),
            probe,
        )
    } else if facts.probes.startup_failed(&current.id) {
        let probe = container.startup_probe.as_ref();
        (
            KillReason::Startup,
            format!("{what} {name} failed startup probe"),
            probe,
        )
    } else {
        return;
    };
    if changed || facts.pod.restarts(role, container, 137) {
        message.push_str(", will be restarted");
    }
    plan.steps.push(Step::Kill {
        id: current.id.clone(),
        name: name.clone(),
        reason,
        message,
        grace: probe_grace(probe).unwrap_or(facts.pod.termination_grace()),
    });
}

/// One container is started at a time, in order; those in back-off wait and do not hold up others.
fn choose_start(facts: &Facts<'_>, wanted: Vec<Wanted<'_>>, plan: &mut Plan) {
    let mut chosen = facts.busy.starting.is_some();
    let mut seen = BTreeSet::new();
    for Wanted {
        role,
        container,
        after,
    } in wanted
    {
        let name = &container.name;
        if !seen.insert(name.clone()) || facts.busy.starting.as_deref() == Some(name) {
            continue;
        }
        let current = facts.known.current(name);
        if current.is_some_and(|c| facts.busy.stopping.contains_key(&c.id)) {
            continue;
        }
        if let Some(retry) = facts.retries.get(name)
            && facts.now < retry.at
        {
            plan.waiting.insert(name.clone(), retry.waiting.clone());
            plan.wake(retry.at);
            continue;
        }
        let key = crash_key(container);
        let blocked = after.and_then(|at| facts.crash.blocked_until(&key, at, facts.now));
        if let Some(until) = blocked.filter(|_| role != Role::Ephemeral) {
            let message = format!(
                "back-off {} restarting failed container={name} pod={}",
                go_duration(facts.crash.delay(&key)),
                facts.pod.full_name()
            );
            plan.waiting.insert(
                name.clone(),
                Waiting {
                    reason: "CrashLoopBackOff".into(),
                    message,
                },
            );
            plan.wake(until);
            continue;
        }
        if !chosen {
            chosen = true;
            plan.steps.push(Step::Start {
                name: name.clone(),
                after,
            });
        }
    }
}

/// A hash over what makes a container another one when it changes: name and image.
pub fn definition_hash(container: &Container) -> String {
    // FNV-1a: must not change between versions of the program, unlike std's hasher.
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let image = container.image.as_deref().unwrap_or_default();
    for byte in container.name.bytes().chain([0]).chain(image.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{hash:016x}")
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
