//! `status.conditions` of a pod.

use jiff::Timestamp;
use kobune_client::k8s_openapi::api::core::v1::{ContainerStatus, PodCondition};
use kobune_client::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::desired::{Desired, Role, init_role};

/// Conditions that the kubelet owns; others are kept as they are.
const OURS: [&str; 5] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
];

struct Verdict {
    status: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Verdict {
    fn yes() -> Self {
        Verdict {
            status: true,
            reason: None,
            message: None,
        }
    }
    fn no(reason: &'static str, message: Option<String>) -> Self {
        Verdict {
            status: false,
            reason: Some(reason),
            message,
        }
    }
}

/// What the conditions are made of.
pub struct Input<'a> {
    /// The pod.
    pub pod: &'a Desired,
    /// The conditions before; a transition time is kept while the status stays the same.
    pub old: &'a [PodCondition],
    /// Statuses of init containers.
    pub init: &'a [ContainerStatus],
    /// Statuses of the main containers.
    pub main: &'a [ContainerStatus],
    /// The phase.
    pub phase: &'a str,
    /// Sandbox and network are there.
    pub set_up: bool,
    /// Now.
    pub now: Timestamp,
}

/// All conditions, foreign ones first.
pub fn conditions(input: &Input<'_>) -> Vec<PodCondition> {
    let foreign = input.old.iter().filter(|c| !OURS.contains(&c.type_.as_str()));
    let mut list: Vec<PodCondition> = foreign.cloned().collect();
    let ready_to_start = Verdict {
        status: input.set_up,
        reason: None,
        message: None,
    };
    let containers_ready = containers_ready(input);
    let ready = ready(input, &containers_ready);
    let all = [
        (OURS[0], ready_to_start),
        (OURS[1], initialized(input)),
        (OURS[2], ready),
        (OURS[3], containers_ready),
        (OURS[4], Verdict::yes()),
    ];
    list.extend(
        all.into_iter()
            .map(|(type_, verdict)| condition(input, type_, verdict)),
    );
    list
}

fn condition(input: &Input<'_>, type_: &str, verdict: Verdict) -> PodCondition {
    let status = if verdict.status { "True" } else { "False" };
    let before = input.old.iter().find(|c| c.type_ == type_);
    let since = before
        .filter(|c| c.status == status)
        .and_then(|c| c.last_transition_time.clone());
    PodCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: verdict.reason.map(str::to_owned),
        message: verdict.message,
        last_transition_time: Some(since.unwrap_or(Time(input.now))),
        last_probe_time: None,
        observed_generation: input.pod.generation(),
    }
}

fn find<'a>(list: &'a [ContainerStatus], name: &str) -> Option<&'a ContainerStatus> {
    list.iter().find(|s| s.name == name)
}

/// As Go prints a list of strings: `[a b]`.
fn listed(what: &str, names: &[&str]) -> Option<String> {
    (!names.is_empty()).then(|| format!("containers with {what} status: [{}]", names.join(" ")))
}

fn joined(parts: [Option<String>; 2]) -> Option<String> {
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn containers_ready(input: &Input<'_>) -> Verdict {
    let (mut unknown, mut unready) = (Vec::new(), Vec::new());
    let sidecars = input.pod.init().iter().filter(|c| init_role(c) == Role::Sidecar);
    for (container, list) in sidecars
        .map(|c| (c, input.init))
        .chain(input.pod.main().iter().map(|c| (c, input.main)))
    {
        match find(list, &container.name) {
            None => unknown.push(container.name.as_str()),
            Some(s) if !s.ready => unready.push(container.name.as_str()),
            Some(_) => {}
        }
    }
    match input.phase {
        "Succeeded" if unknown.is_empty() => return Verdict::no("PodCompleted", None),
        "Failed" => return Verdict::no("PodFailed", None),
        _ => {}
    }
    match joined([listed("unknown", &unknown), listed("unready", &unready)]) {
        Some(message) => Verdict::no("ContainersNotReady", Some(message)),
        None => Verdict::yes(),
    }
}

fn ready(input: &Input<'_>, containers: &Verdict) -> Verdict {
    if !containers.status {
        return Verdict {
            status: false,
            reason: containers.reason,
            message: containers.message.clone(),
        };
    }
    let mut missing = Vec::new();
    for gate in input.pod.spec().readiness_gates.iter().flatten() {
        let name = &gate.condition_type;
        match input.old.iter().find(|c| c.type_ == *name) {
            None => missing.push(format!(
                "corresponding condition of pod readiness gate {name:?} does not exist."
            )),
            Some(c) if c.status != "True" => missing.push(format!(
                "the status of pod readiness gate {name:?} is not \"True\", but {}",
                c.status
            )),
            Some(_) => {}
        }
    }
    if missing.is_empty() {
        Verdict::yes()
    } else {
        Verdict::no("ReadinessGatesNotReady", Some(missing.join(", ")))
    }
}

fn initialized(input: &Input<'_>) -> Verdict {
    let (mut unknown, mut incomplete) = (Vec::new(), Vec::new());
    for container in input.pod.init() {
        let Some(status) = find(input.init, &container.name) else {
            unknown.push(container.name.as_str());
            continue;
        };
        let done = match init_role(container) {
            Role::Sidecar => status.started == Some(true),
            _ => status.ready,
        };
        if !done {
            incomplete.push(container.name.as_str());
        }
    }
    if input.phase == "Succeeded" && unknown.is_empty() {
        return Verdict {
            status: true,
            reason: Some("PodCompleted"),
            message: None,
        };
    }
    // Once a main container has started, the pod stays initialized while a sidecar restarts.
    if input.main.iter().any(has_started) {
        return Verdict::yes();
    }
    match joined([listed("unknown", &unknown), listed("incomplete", &incomplete)]) {
        Some(message) => Verdict::no("ContainersNotInitialized", Some(message)),
        None => Verdict::yes(),
    }
}

/// The container runs, or ran.
pub fn has_started(status: &ContainerStatus) -> bool {
    let ran = |s: &Option<kobune_client::k8s_openapi::api::core::v1::ContainerState>| {
        s.as_ref()
            .is_some_and(|s| s.running.is_some() || s.terminated.is_some())
    };
    ran(&status.state) || ran(&status.last_state)
}
