//! A pod's status: a pure function of what is known of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kobune_client::k8s_openapi::api::core::v1::{
    Container, ContainerState as ApiState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus, ContainerUser, HostIP, LinuxContainerUser, PodIP, PodStatus,
    VolumeMountStatus,
};
use kobune_client::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kobune_runtime as runtime;

use super::conditions::{self, conditions, has_started};
use super::desired::{Desired, Role};
use super::history::{Histories, annotation, status_of};
use super::phase::phase;
use super::plan::Waiting;
use super::resources::qos;
use super::stopping::StopCause;
use crate::probe::book::ProbeBook;

/// What a status is made of.
pub struct StatusInput<'a> {
    /// The pod.
    pub pod: &'a Desired,
    /// The status made last, or the API's.
    pub old: &'a PodStatus,
    /// Its containers.
    pub known: &'a Histories,
    /// Why containers wait.
    pub waiting: &'a BTreeMap<String, Waiting>,
    /// Its probes.
    pub probes: &'a ProbeBook,
    /// Sandbox and network are there.
    pub set_up: bool,
    /// The pod's addresses.
    pub pod_ips: &'a [String],
    /// The node's addresses.
    pub host_ips: &'a [String],
    /// The runtime's name, for `containerID`.
    pub runtime: &'a str,
    /// What ended the pod, if it ends.
    pub stop: Option<&'a StopCause>,
    /// It ends and no container is alive any more.
    pub ended: bool,
    /// Now.
    pub now: Timestamp,
}

/// The pod's status now.
pub fn status(input: &StatusInput<'_>) -> PodStatus {
    let pod = input.pod;
    let mut main: Vec<ContainerStatus> = pod.main().iter().map(|c| one(input, Role::Main, c)).collect();
    main.sort_by(|a, b| a.name.cmp(&b.name));
    let mut init: Vec<ContainerStatus> = pod
        .init()
        .iter()
        .map(|c| one(input, super::desired::init_role(c), c))
        .collect();
    let ephemeral: Vec<ContainerStatus> = pod
        .ephemeral()
        .iter()
        .map(|c| one(input, Role::Ephemeral, c))
        .collect();
    infer_init(pod, &mut init, &main);

    let all: Vec<ContainerStatus> = main.iter().chain(&init).cloned().collect();
    let initialized = main.iter().any(has_started);
    let Verdict {
        mut phase,
        reason,
        message,
    } = verdict(input, &all, initialized);
    if input.ended && matches!(input.stop, Some(StopCause::Deleted)) {
        end_all(&mut main);
        end_all(&mut init);
        if phase != "Succeeded" {
            phase = "Failed".into();
        }
    }
    let conditions = conditions(&conditions::Input {
        pod,
        old: input.old.conditions.as_deref().unwrap_or_default(),
        init: &init,
        main: &main,
        phase: &phase,
        set_up: input.set_up,
        now: input.now,
    });
    let ips = addresses(input);
    PodStatus {
        conditions: Some(conditions),
        phase: Some(phase),
        reason,
        message,
        host_ip: input.host_ips.first().cloned(),
        host_ips: Some(
            input
                .host_ips
                .iter()
                .map(|ip| HostIP { ip: ip.clone() })
                .collect(),
        ),
        pod_ip: ips.first().cloned(),
        pod_ips: (!ips.is_empty()).then(|| ips.iter().map(|ip| PodIP { ip: ip.clone() }).collect()),
        start_time: Some(input.old.start_time.clone().unwrap_or(Time(input.now))),
        qos_class: Some(qos(pod).as_str().to_owned()),
        container_statuses: Some(main),
        init_container_statuses: (!init.is_empty()).then_some(init),
        ephemeral_container_statuses: (!ephemeral.is_empty()).then_some(ephemeral),
        observed_generation: pod.generation(),
        nominated_node_name: input.old.nominated_node_name.clone(),
        resource_claim_statuses: input.old.resource_claim_statuses.clone(),
        ..PodStatus::default()
    }
}

/// What the whole pod has come to.
struct Verdict {
    phase: String,
    reason: Option<String>,
    message: Option<String>,
}

fn verdict(input: &StatusInput<'_>, all: &[ContainerStatus], initialized: bool) -> Verdict {
    let before = input.old.phase.as_deref();
    let kept = |phase: &str| Verdict {
        phase: phase.to_owned(),
        reason: input.old.reason.clone(),
        message: input.old.message.clone(),
    };
    let phase = phase(input.pod, all, input.ended, initialized);
    let now = match input.stop {
        // Not before its containers have stopped: whoever sees Failed starts another pod in its place.
        Some(StopCause::Failed { reason, message }) if input.ended => Verdict {
            phase: "Failed".into(),
            reason: Some(reason.clone()),
            message: Some(message.clone()),
        },
        _ if before == Some(phase) => kept(phase),
        _ => Verdict {
            phase: phase.to_owned(),
            reason: None,
            message: None,
        },
    };
    match before {
        // A terminal phase is never left.
        Some(before @ ("Succeeded" | "Failed")) if now.phase != before => kept(before),
        _ => now,
    }
}

fn addresses(input: &StatusInput<'_>) -> Vec<String> {
    if input.pod.host_network() {
        return input.host_ips.to_vec();
    }
    if !input.pod_ips.is_empty() || !input.ended {
        return input.pod_ips.to_vec();
    }
    // What it had, for those who look at a finished pod.
    input
        .old
        .pod_ips
        .iter()
        .flatten()
        .map(|ip| ip.ip.clone())
        .collect()
}

/// The status of one container.
fn one(input: &StatusInput<'_>, role: Role, container: &Container) -> ContainerStatus {
    let name = &container.name;
    let old = status_of(input.old, name);
    let mut status = match input.known.current(name) {
        Some(current) => from_runtime(input, role, container, current, old),
        None => without_container(input, container, old),
    };
    if let Some(waiting) = input.waiting.get(name)
        && !input.ended
        && status.state.as_ref().is_none_or(|s| s.running.is_none())
    {
        if let Some(state) = status.state.take().filter(|s| s.terminated.is_some()) {
            status.last_state = Some(state);
        }
        status.state = Some(wait(&waiting.reason, &waiting.message));
    }
    status.resources = container.resources.clone();
    status.allocated_resources = container.resources.as_ref().and_then(|r| r.requests.clone());
    status.volume_mounts = mounts(container);
    status
}

fn wait(reason: &str, message: &str) -> ApiState {
    let text = |t: &str| (!t.is_empty()).then(|| t.to_owned());
    let waiting = ContainerStateWaiting {
        reason: text(reason),
        message: text(message),
    };
    ApiState {
        waiting: Some(waiting),
        ..ApiState::default()
    }
}

fn default_waiting(pod: &Desired) -> &'static str {
    if pod.init().is_empty() {
        "ContainerCreating"
    } else {
        "PodInitializing"
    }
}

fn from_runtime(
    input: &StatusInput<'_>,
    role: Role,
    container: &Container,
    current: &runtime::Container,
    old: Option<&ContainerStatus>,
) -> ContainerStatus {
    let id = format!("{}://{}", input.runtime, current.id);
    let annotated = |key: &str| current.annotations.get(key).cloned();
    let mut status = ContainerStatus {
        name: container.name.clone(),
        image: annotated(annotation::IMAGE).unwrap_or_else(|| current.image.clone()),
        image_id: annotated(annotation::IMAGE_ID).unwrap_or_else(|| current.image_id.clone()),
        container_id: Some(id),
        restart_count: i32::try_from(current.attempt).unwrap_or(i32::MAX),
        started: Some(false),
        state: Some(api_state(input, current)),
        stop_signal: container.lifecycle.as_ref().and_then(|l| l.stop_signal.clone()),
        user: current.user.as_ref().map(user),
        ..ContainerStatus::default()
    };
    status.last_state = match input.known.previous(&container.name) {
        Some(previous) => Some(api_state(input, previous)).filter(|s| s.terminated.is_some()),
        None => old.and_then(|o| o.last_state.clone()),
    }
    .or_else(|| Some(ApiState::default()));
    match &current.state {
        runtime::ContainerState::Running { .. } => {
            let started = input
                .probes
                .started(&current.id, container.startup_probe.is_some());
            let ready = input
                .probes
                .ready(&current.id, container.readiness_probe.is_some());
            status.started = Some(started);
            status.ready = started && ready && matches!(role, Role::Main | Role::Sidecar);
        }
        runtime::ContainerState::Exited { exit_code, .. } => {
            status.ready = role == Role::Init && *exit_code == 0;
        }
        _ => {}
    }
    status
}

fn user(user: &runtime::ProcessUser) -> ContainerUser {
    let linux = LinuxContainerUser {
        uid: user.uid.into(),
        gid: user.gid.into(),
        supplemental_groups: Some(user.groups.iter().map(|gid| i64::from(*gid)).collect()),
    };
    ContainerUser { linux: Some(linux) }
}

fn api_state(input: &StatusInput<'_>, container: &runtime::Container) -> ApiState {
    match &container.state {
        runtime::ContainerState::Created => wait(default_waiting(input.pod), ""),
        runtime::ContainerState::Running { started_at, .. } => ApiState {
            running: Some(ContainerStateRunning {
                started_at: Some(Time(*started_at)),
            }),
            ..ApiState::default()
        },
        runtime::ContainerState::Exited {
            started_at,
            finished_at,
            exit_code,
            oom_killed,
            message,
            lost,
        } => {
            let reason = match (oom_killed, message, exit_code) {
                _ if *lost => "Unknown",
                (true, ..) => "OOMKilled",
                (_, Some(_), _) => "StartError",
                (_, _, 0) => "Completed",
                _ => "Error",
            };
            let noted = input
                .known
                .noted(&container.id)
                .filter(|n| !n.is_empty())
                .map(str::to_owned);
            terminated(ContainerStateTerminated {
                exit_code: *exit_code,
                reason: Some(reason.into()),
                message: message.clone().or(noted),
                started_at: Some(Time(started_at.unwrap_or(*finished_at))),
                finished_at: Some(Time(*finished_at)),
                container_id: Some(format!("{}://{}", input.runtime, container.id)),
                signal: None,
            })
        }
    }
}

fn terminated(state: ContainerStateTerminated) -> ApiState {
    ApiState {
        terminated: Some(state),
        ..ApiState::default()
    }
}

fn lost(message: &str) -> ApiState {
    terminated(ContainerStateTerminated {
        exit_code: 137,
        reason: Some("ContainerStatusUnknown".into()),
        message: Some(message.into()),
        ..ContainerStateTerminated::default()
    })
}

/// The runtime has no such container: it never ran, or it ended and was removed, or it was lost.
fn without_container(
    input: &StatusInput<'_>,
    container: &Container,
    old: Option<&ContainerStatus>,
) -> ContainerStatus {
    let mut status = ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        started: Some(false),
        state: Some(wait(default_waiting(input.pod), "")),
        last_state: Some(ApiState::default()),
        ..ContainerStatus::default()
    };
    let Some(old) = old else { return status };
    let state = old.state.as_ref();
    if state.is_some_and(|s| s.terminated.is_some()) {
        return ContainerStatus {
            ready: old.ready && !input.set_up,
            started: Some(false),
            ..old.clone()
        };
    }
    status.restart_count = old.restart_count;
    status.last_state = old.last_state.clone().or(status.last_state);
    if state.is_some_and(|s| s.running.is_some()) {
        status.last_state = Some(lost(
            "The container could not be located when the pod was deleted.  The container used to be Running",
        ));
        if !input.pod.is_deleted() {
            status.restart_count += 1;
        }
    }
    status
}

/// An init container whose record the runtime dropped must have succeeded when a main one started.
fn infer_init(pod: &Desired, init: &mut [ContainerStatus], main: &[ContainerStatus]) {
    if !main.iter().any(has_started) {
        return;
    }
    for status in init {
        let plain = pod
            .container(&status.name)
            .is_some_and(|(role, _)| role == Role::Init);
        let waiting = status.state.as_ref().is_some_and(|s| s.waiting.is_some());
        if plain && waiting && status.container_id.is_none() {
            status.ready = true;
            status.state = Some(terminated(ContainerStateTerminated {
                reason: Some("Completed".into()),
                message: Some(
                    "Unable to get init container status from container runtime and pod has been \
                     initialized, treat it as exited normally"
                        .into(),
                ),
                ..ContainerStateTerminated::default()
            }));
        }
    }
}

/// A deleted pod's containers are all shown as terminated.
fn end_all(statuses: &mut [ContainerStatus]) {
    for status in statuses {
        if status.state.as_ref().is_none_or(|s| s.terminated.is_none()) {
            status.state = Some(lost(
                "The container could not be located when the pod was terminated",
            ));
            status.ready = false;
            status.started = Some(false);
        }
    }
}

fn mounts(container: &Container) -> Option<Vec<VolumeMountStatus>> {
    let mounts = container.volume_mounts.as_ref().filter(|m| !m.is_empty())?;
    let status = |m: &kobune_client::k8s_openapi::api::core::v1::VolumeMount| VolumeMountStatus {
        name: m.name.clone(),
        mount_path: m.mount_path.clone(),
        read_only: m.read_only.filter(|r| *r),
        recursive_read_only: m.read_only.filter(|r| *r).map(|_| {
            let wanted = matches!(m.recursive_read_only.as_deref(), Some("Enabled" | "IfPossible"));
            if wanted {
                "Enabled".into()
            } else {
                "Disabled".into()
            }
        }),
        volume_status: None,
    };
    Some(mounts.iter().map(status).collect())
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
