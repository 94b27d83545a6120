use serde_json::{Value, json};

use super::super::desired::tests::pod;
use super::super::history::tests::{at, container, exited, running};
use super::super::stopping::StopCause;
use super::*;
use crate::probe::book::ProbeKind;

struct World {
    pod: Desired,
    status: PodStatus,
    set_up: bool,
    sandbox: u32,
    known: Histories,
    probes: ProbeBook,
    crash: BackOff,
    retries: BTreeMap<String, Retry>,
    busy: Busy,
    stop: Option<Stop>,
    torn_down: bool,
    now: Timestamp,
}

fn world(spec: Value) -> World {
    World {
        pod: pod(json!({"spec": spec})),
        status: PodStatus::default(),
        set_up: true,
        sandbox: 0,
        known: Histories::default(),
        probes: ProbeBook::default(),
        crash: BackOff::kubelet(),
        retries: BTreeMap::new(),
        busy: Busy::default(),
        stop: None,
        torn_down: false,
        now: at(100),
    }
}

impl World {
    fn plan(&self) -> Plan {
        plan(&Facts {
            pod: &self.pod,
            status: &self.status,
            set_up: self.set_up,
            sandbox: self.set_up.then_some(self.sandbox),
            set_up_retry: None,
            known: &self.known,
            probes: &self.probes,
            crash: &self.crash,
            retries: &self.retries,
            busy: &self.busy,
            stop: self.stop.as_ref(),
            torn_down: self.torn_down,
            now: self.now,
        })
    }
    fn starts(&self) -> Vec<String> {
        let names = self.plan().steps.into_iter().filter_map(|s| match s {
            Step::Start { name, .. } => Some(name),
            _ => None,
        });
        names.collect()
    }
    fn kills(&self) -> Vec<(String, String, i64)> {
        let kills = self.plan().steps.into_iter().filter_map(|s| match s {
            Step::Kill {
                name, message, grace, ..
            } => Some((name, message, grace)),
            _ => None,
        });
        kills.collect()
    }
    fn stopped(mut self, cause: StopCause, grace: i64) -> Self {
        self.stop = Some(Stop {
            cause,
            since: at(100),
            grace,
        });
        self
    }
}

fn two() -> Value {
    json!({"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "x"}]})
}

fn with_init(restart: &str) -> Value {
    json!({"restartPolicy": restart, "initContainers": [
        {"name": "i1", "image": "x"},
        {"name": "s", "image": "x", "restartPolicy": "Always", "startupProbe": {"exec": {"command": ["true"]}}},
        {"name": "i2", "image": "x"}]})
}

#[test]
fn a_new_pod_is_set_up_before_anything_starts() {
    let mut w = world(two());
    w.set_up = false;
    assert_eq!(w.plan().steps, [Step::SetUp]);
    w.busy.setting_up = true;
    assert_eq!(w.plan().steps, []);
}

#[test]
fn containers_start_one_after_the_other() {
    let mut w = world(two());
    assert_eq!(w.starts(), ["a"]);
    w.busy.starting = Some("a".into());
    assert_eq!(w.starts(), Vec::<String>::new());
    w.busy.starting = None;
    w.known.observe(container("a", 0, running()));
    assert_eq!(w.starts(), ["b"]);
}

#[test]
fn a_container_in_back_off_does_not_hold_up_the_next() {
    let mut w = world(two());
    let waiting = Waiting {
        reason: "ErrImagePull".into(),
        message: "no".into(),
    };
    w.retries.insert(
        "a".into(),
        Retry {
            at: at(110),
            waiting: waiting.clone(),
        },
    );
    let p = w.plan();
    assert_eq!(w.starts(), ["b"]);
    assert_eq!(p.waiting["a"], waiting);
    assert_eq!(p.wake_at, Some(at(110)));
}

#[test]
fn init_containers_run_in_order_and_a_sidecar_must_have_started() {
    let mut w = world(with_init("Always"));
    assert_eq!(w.starts(), ["i1"]);
    w.known.observe(container("i1", 0, running()));
    assert_eq!(w.starts(), Vec::<String>::new());
    w.known.observe(container("i1", 0, exited(0, 1)));
    assert_eq!(w.starts(), ["s"]);
    w.known.observe(container("s", 0, running()));
    assert_eq!(w.starts(), Vec::<String>::new());
    w.probes.record("s-0", ProbeKind::Startup, true);
    assert_eq!(w.starts(), ["i2"]);
    w.known.observe(container("i2", 0, exited(0, 2)));
    assert_eq!(w.starts(), ["a"]);
}

#[test]
fn a_failed_init_container_is_repeated_or_fails_the_pod() {
    let mut w = world(with_init("Always"));
    w.known.observe(container("i1", 0, exited(1, 1)));
    assert_eq!(w.starts(), ["i1"]);
    let mut w = world(with_init("Never"));
    w.known.observe(container("i1", 0, exited(1, 1)));
    assert!(w.plan().completed);
}

#[test]
fn a_sidecar_that_ended_is_restarted_while_the_pod_runs() {
    let mut w = world(with_init("Never"));
    w.known.observe(container("i1", 0, exited(0, 1)));
    w.known.observe(container("s", 0, exited(0, 50)));
    w.known.observe(container("i2", 0, exited(0, 2)));
    w.known.observe(container("a", 0, running()));
    assert_eq!(w.starts(), ["s"]);
}

#[test]
fn a_crashing_container_waits_longer_each_time() {
    let mut w = world(json!({}));
    w.known.observe(container("a", 0, exited(1, 99)));
    assert_eq!(w.starts(), ["a"]);
    let key = crash_key(&w.pod.main()[0]);
    w.crash.next(&key, at(99), at(99));
    let p = w.plan();
    assert_eq!(p.steps, []);
    assert_eq!(p.waiting["a"].reason, "CrashLoopBackOff");
    assert_eq!(
        p.waiting["a"].message,
        "back-off 10s restarting failed container=a pod=web_default(u1)"
    );
    assert_eq!(p.wake_at, Some(at(109)));
    w.now = at(109);
    assert_eq!(w.starts(), ["a"]);
}

#[test]
fn restart_policies_decide_when_a_pod_is_complete() {
    for (policy, code, complete) in [
        ("Always", 0, false),
        ("OnFailure", 0, true),
        ("OnFailure", 1, false),
        ("Never", 0, true),
        ("Never", 1, true),
    ] {
        let mut w = world(json!({"restartPolicy": policy}));
        w.known.observe(container("a", 0, exited(code, 1)));
        assert_eq!(w.plan().completed, complete, "{policy} {code}");
    }
}

#[test]
fn a_complete_pod_gets_no_new_sandbox() {
    let mut w = world(json!({"restartPolicy": "Never"}));
    w.set_up = false;
    w.known.observe(container("a", 0, exited(0, 1)));
    let p = w.plan();
    assert!(p.completed && p.steps.is_empty());
}

#[test]
fn a_pod_that_must_not_restart_is_complete_when_its_container_was_lost() {
    let mut w = world(json!({"restartPolicy": "Never"}));
    w.set_up = false;
    w.status = serde_json::from_value(
        json!({"containerStatuses": [{"name": "a", "image": "", "imageID": "",
        "ready": true, "restartCount": 0, "state": {"running": {}}}]}),
    )
    .unwrap();
    assert!(w.plan().completed);
}

#[test]
fn failed_probes_and_new_definitions_kill_with_the_reason() {
    let mut w = world(json!({"containers": [{"name": "a", "image": "x",
        "livenessProbe": {"terminationGracePeriodSeconds": 7}}]}));
    w.known.observe(container("a", 0, running()));
    assert_eq!(w.kills(), []);
    w.probes.record("a-0", ProbeKind::Liveness, false);
    assert_eq!(
        w.kills(),
        [(
            "a".into(),
            "Container a failed liveness probe, will be restarted".into(),
            7
        )]
    );
    w.busy.stopping.insert("a-0".into(), 7);
    assert_eq!(w.kills(), []);
    let mut w = world(json!({}));
    let mut c = container("a", 0, running());
    c.annotations.insert(annotation::HASH.into(), "other".into());
    w.known.observe(c);
    assert_eq!(
        w.kills(),
        [(
            "a".into(),
            "Container a definition changed, will be restarted".into(),
            30
        )]
    );
}

#[test]
fn an_ephemeral_container_starts_once() {
    let mut w = world(json!({"ephemeralContainers": [{"name": "d", "image": "x"}]}));
    w.known.observe(container("a", 0, running()));
    assert_eq!(w.starts(), ["d"]);
    w.known.observe(container("d", 0, exited(1, 1)));
    assert_eq!(w.starts(), Vec::<String>::new());
}

#[test]
fn a_deleted_pod_stops_its_containers_then_its_sidecars_then_goes() {
    let mut w = world(with_init("Always")).stopped(StopCause::Deleted, 30);
    w.known.observe(container("s", 0, running()));
    w.known.observe(container("a", 0, running()));
    assert_eq!(w.kills(), [("a".into(), "Stopping container a".into(), 30)]);
    w.busy.stopping.insert("a-0".into(), 30);
    assert_eq!(w.kills(), []);
    w.busy.stopping.clear();
    w.known.observe(container("a", 0, exited(0, 105)));
    w.now = at(110);
    assert_eq!(w.kills(), [("s".into(), "Stopping container s".into(), 20)]);
    w.known.observe(container("s", 0, exited(0, 111)));
    assert_eq!(w.plan().steps, [Step::TearDown]);
    w.torn_down = true;
    assert_eq!(w.plan().steps, [Step::Finish]);
}

#[test]
fn a_shorter_grace_period_is_passed_on() {
    let mut w = world(json!({})).stopped(StopCause::Deleted, 1);
    w.known.observe(container("a", 0, running()));
    w.busy.stopping.insert("a-0".into(), 30);
    assert_eq!(w.kills(), [("a".into(), "Stopping container a".into(), 1)]);
}

#[test]
fn nothing_is_torn_down_while_a_start_is_under_way() {
    let mut w = world(json!({})).stopped(StopCause::Deleted, 1);
    w.busy.starting = Some("a".into());
    assert_eq!(w.plan().steps, []);
}

#[test]
fn an_active_deadline_wakes_the_worker() {
    let mut w = world(json!({"activeDeadlineSeconds": 60}));
    w.status.start_time = Some(kobune_client::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(90)));
    w.known.observe(container("a", 0, running()));
    assert_eq!(w.plan().wake_at, Some(at(150)));
}

#[test]
fn a_new_sandbox_runs_the_init_containers_again() {
    let spec =
        json!({"initContainers": [{"name": "i", "image": "i"}], "containers": [{"name": "a", "image": "i"}]});
    let mut w = world(spec);
    w.known.observe(container("i", 0, exited(0, 1)));
    w.known.observe(container("a", 0, exited(255, 2)));
    assert_eq!(w.starts(), ["a"]);
    w.sandbox = 1;
    assert_eq!(w.starts(), ["i"]);
    let mut again = container("i", 1, exited(0, 101));
    again.annotations.insert(annotation::SANDBOX.into(), "1".into());
    w.known.observe(again);
    assert_eq!(w.starts(), ["a"]);
}
