use serde_json::{Value, json};

use super::super::desired::tests::pod;
use super::super::history::tests::{at, container, exited, running};
use super::*;
use crate::probe::book::ProbeKind;

struct World {
    pod: Desired,
    old: PodStatus,
    known: Histories,
    waiting: BTreeMap<String, Waiting>,
    probes: ProbeBook,
    set_up: bool,
    stop: Option<StopCause>,
    ended: bool,
}

fn world(over: Value) -> World {
    World {
        pod: pod(over),
        old: PodStatus::default(),
        known: Histories::default(),
        waiting: BTreeMap::new(),
        probes: ProbeBook::default(),
        set_up: true,
        stop: None,
        ended: false,
    }
}

impl World {
    fn status(&self) -> PodStatus {
        status(&StatusInput {
            pod: &self.pod,
            old: &self.old,
            known: &self.known,
            waiting: &self.waiting,
            probes: &self.probes,
            set_up: self.set_up,
            pod_ips: &["10.42.0.7".into()],
            host_ips: &["192.168.0.2".into()],
            runtime: "containerd",
            stop: self.stop.as_ref(),
            ended: self.ended,
            now: at(100),
        })
    }
}

fn condition(status: &PodStatus, type_: &str) -> (String, String, String) {
    let c = status
        .conditions
        .iter()
        .flatten()
        .find(|c| c.type_ == type_)
        .unwrap();
    (
        c.status.clone(),
        c.reason.clone().unwrap_or_default(),
        c.message.clone().unwrap_or_default(),
    )
}

fn first(status: &PodStatus) -> Value {
    serde_json::to_value(&status.container_statuses.as_ref().unwrap()[0]).unwrap()
}

#[test]
fn a_new_pod_is_pending_and_says_what_it_waits_for() {
    let mut w = world(json!({}));
    w.set_up = false;
    let s = w.status();
    assert_eq!(s.phase.as_deref(), Some("Pending"));
    assert_eq!(first(&s)["state"]["waiting"]["reason"], "ContainerCreating");
    assert_eq!(condition(&s, "PodReadyToStartContainers").0, "False");
    assert_eq!(condition(&s, "Initialized").0, "True");
    assert_eq!(
        condition(&s, "Ready"),
        (
            "False".into(),
            "ContainersNotReady".into(),
            "containers with unready status: [a]".into()
        )
    );
    assert_eq!(condition(&s, "PodScheduled").0, "True");
    assert_eq!(s.start_time, Some(Time(at(100))));
    assert_eq!(s.qos_class.as_deref(), Some("BestEffort"));
    assert_eq!(s.observed_generation, Some(1));
}

#[test]
fn a_running_pod_is_ready_once_its_probe_says_so() {
    let mut w = world(json!({"spec": {"containers": [{"name": "a", "image": "x", "readinessProbe": {}}]}}));
    w.known.observe(container("a", 2, running()));
    let s = w.status();
    assert_eq!(s.phase.as_deref(), Some("Running"));
    assert_eq!(condition(&s, "Ready").0, "False");
    assert_eq!(first(&s)["restartCount"], 2);
    assert_eq!(first(&s)["containerID"], "containerd://a-2");
    w.probes.record("a-2", ProbeKind::Readiness, true);
    w.old = s.clone();
    let s = w.status();
    assert_eq!(condition(&s, "Ready").0, "True");
    assert_eq!(first(&s)["started"], true);
    assert_eq!(s.pod_ip.as_deref(), Some("10.42.0.7"));
}

#[test]
fn a_crashing_container_shows_its_last_state() {
    let mut w = world(json!({}));
    let mut c = container("a", 1, exited(137, 50));
    if let runtime::ContainerState::Exited { oom_killed, .. } = &mut c.state {
        *oom_killed = true;
    }
    w.known.observe(c);
    w.waiting.insert(
        "a".into(),
        Waiting {
            reason: "CrashLoopBackOff".into(),
            message: "back-off".into(),
        },
    );
    let s = w.status();
    assert_eq!(first(&s)["state"]["waiting"]["reason"], "CrashLoopBackOff");
    assert_eq!(first(&s)["lastState"]["terminated"]["reason"], "OOMKilled");
    assert_eq!(s.phase.as_deref(), Some("Running"));
}

#[test]
fn the_termination_message_is_shown() {
    let mut w = world(json!({"spec": {"restartPolicy": "Never"}}));
    w.known.observe(container("a", 0, exited(3, 50)));
    w.known.note("a-0", "bye".into());
    let s = w.status();
    assert_eq!(first(&s)["state"]["terminated"]["message"], "bye");
    assert_eq!(first(&s)["state"]["terminated"]["reason"], "Error");
    assert_eq!(s.phase.as_deref(), Some("Failed"));
    assert_eq!(condition(&s, "Ready").1, "PodFailed");
}

#[test]
fn a_completed_pod_keeps_its_status_when_its_containers_are_removed() {
    let mut w = world(json!({"spec": {"restartPolicy": "Never"}}));
    w.known.observe(container("a", 0, exited(0, 50)));
    w.old = w.status();
    w.known.clear();
    w.set_up = false;
    w.ended = true;
    let s = w.status();
    assert_eq!(s.phase.as_deref(), Some("Succeeded"));
    assert_eq!(first(&s)["state"]["terminated"]["exitCode"], 0);
    assert_eq!(condition(&s, "Ready").1, "PodCompleted");
}

#[test]
fn a_deleted_pod_ends_failed_unless_it_succeeded() {
    let mut w = world(json!({"metadata": {"deletionTimestamp": "2024-01-01T00:00:00Z"}}));
    w.stop = Some(StopCause::Deleted);
    w.ended = true;
    let s = w.status();
    assert_eq!(s.phase.as_deref(), Some("Failed"));
    assert_eq!(
        first(&s)["state"]["terminated"]["reason"],
        "ContainerStatusUnknown"
    );
    w.known.observe(container("a", 0, exited(0, 50)));
    assert_eq!(w.status().phase.as_deref(), Some("Succeeded"));
}

#[test]
fn a_transition_time_changes_with_the_status_only() {
    let mut w = world(json!({}));
    w.old = w.status();
    let before = w.old.clone();
    w.known.observe(container("a", 0, running()));
    for c in w.old.conditions.iter_mut().flatten() {
        c.last_transition_time = Some(Time(at(1)));
    }
    let s = w.status();
    let time = |s: &PodStatus, t: &str| {
        s.conditions
            .iter()
            .flatten()
            .find(|c| c.type_ == t)
            .unwrap()
            .last_transition_time
            .clone()
    };
    assert_eq!(time(&s, "PodScheduled"), Some(Time(at(1))));
    assert_eq!(time(&s, "Ready"), Some(Time(at(100))));
    assert_eq!(before.start_time, s.start_time);
}

#[test]
fn a_readiness_gate_holds_the_pod_back() {
    let mut w = world(json!({"spec": {"readinessGates": [{"conditionType": "example.com/x"}]}}));
    w.known.observe(container("a", 0, running()));
    assert_eq!(condition(&w.status(), "Ready").1, "ReadinessGatesNotReady");
    w.old =
        serde_json::from_value(json!({"conditions": [{"type": "example.com/x", "status": "True"}]})).unwrap();
    let s = w.status();
    assert_eq!(condition(&s, "Ready").0, "True");
    assert_eq!(condition(&s, "example.com/x").0, "True");
}

#[test]
fn an_evicted_pod_is_failed_with_its_reason() {
    let mut w = world(json!({}));
    w.known.observe(container("a", 0, running()));
    w.stop = Some(StopCause::Failed {
        reason: "DeadlineExceeded".into(),
        message: "too long".into(),
    });
    // Its container still runs.
    let s = w.status();
    assert_eq!((s.phase.as_deref(), s.reason.as_deref()), (Some("Running"), None));
    w.old = s;
    w.known.observe(container("a", 0, exited(137, 90)));
    w.ended = true;
    let s = w.status();
    assert_eq!(
        (s.phase.as_deref(), s.reason.as_deref()),
        (Some("Failed"), Some("DeadlineExceeded"))
    );
}

#[test]
fn a_container_lost_by_the_runtime_is_counted_as_a_restart() {
    let mut w = world(json!({}));
    w.known.observe(container("a", 0, running()));
    w.old = w.status();
    w.known.clear();
    let s = w.status();
    assert_eq!(first(&s)["restartCount"], 1);
    assert_eq!(
        first(&s)["lastState"]["terminated"]["reason"],
        "ContainerStatusUnknown"
    );
    w.old = s;
    assert_eq!(first(&w.status())["restartCount"], 1);
}
