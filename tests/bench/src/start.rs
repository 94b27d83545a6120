//! From exec to /readyz, to the node being Ready, to the first Running pod: first start and restart.
//!
//! Told by clients that ask again every few milliseconds, curl with the administrator's certificate, so
//! each time is up to [`curl`'s](ask) own ten milliseconds late.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use kobune_test_support::{Cluster, Options};
use serde_json::{Value, json};

use crate::round;

/// How often what is not there yet is asked for again.
const AGAIN: Duration = Duration::from_millis(3);
/// When to give up.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many first starts and restarts; the medians are told.
const ROUNDS: usize = 5;

const POD: &str = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "first"}, "spec": {
  "terminationGracePeriodSeconds": 0, "containers": [
  {"name": "pause", "image": "docker.io/library/pause:latest", "imagePullPolicy": "Never"}]}}"#;

/// The medians of several rounds, in milliseconds.
pub fn measure() -> Value {
    let options = Options {
        images: vec!["pause"],
        ..Options::default()
    };
    let mut times = Times::default();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let cluster = Cluster::start_without_waiting(&options);
        times.first_readyz.push(ready(&cluster, began));
        times.first_pod.push(first_pod(&cluster, began));
        cluster.wait_until_ready();
        times.first_node.push(node_ready(&cluster));
        cluster.stop();
        let began = Instant::now();
        cluster.launch_without_waiting();
        times.restart_readyz.push(ready(&cluster, began));
        cluster.wait_until_ready();
        times.restart_node.push(node_ready(&cluster));
    }
    json!({
        "rounds": ROUNDS,
        "first": {
            "readyz_ms": median(times.first_readyz),
            "node_ready_ms": median(times.first_node),
            "first_pod_running_ms": median(times.first_pod),
        },
        "restart": {
            "readyz_ms": median(times.restart_readyz),
            "node_ready_ms": median(times.restart_node),
        },
    })
}

#[derive(Default)]
struct Times {
    first_readyz: Vec<f64>,
    first_node: Vec<f64>,
    first_pod: Vec<f64>,
    restart_readyz: Vec<f64>,
    restart_node: Vec<f64>,
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    round(times[times.len() / 2])
}

fn since(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1000.0
}

/// Until /readyz says yes.
fn ready(cluster: &Cluster, began: Instant) -> f64 {
    loop {
        let answer = ask(cluster, "/readyz").arg("--fail").output();
        if answer.is_ok_and(|answer| answer.status.success()) {
            return since(began);
        }
        assert!(began.elapsed() < PATIENCE, "no server:\n{}", cluster.log());
        sleep(AGAIN);
    }
}

/// Until a pod that is created as soon as the API takes it runs.
fn first_pod(cluster: &Cluster, began: Instant) -> f64 {
    let pods = "/api/v1/namespaces/default/pods";
    // Until the controllers have made its service account, a pod is refused.
    loop {
        let posted = ask(cluster, pods)
            .args([
                "--fail",
                "--header",
                "Content-Type: application/json",
                "--data",
                POD,
            ])
            .output();
        if posted.is_ok_and(|answer| answer.status.success()) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "no pod is taken:\n{}", cluster.log());
        sleep(AGAIN);
    }
    let mut watch = ask(cluster, &format!("{pods}?watch=true&timeoutSeconds=60"))
        .arg("--no-buffer")
        .stdout(Stdio::piped())
        .spawn()
        .expect("curl starts");
    let events = BufReader::new(watch.stdout.take().expect("a pipe was asked for"));
    let running = events
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| serde_json::from_str::<Value>(&line).ok())
        .any(|event| event["object"]["status"]["phase"] == "Running");
    let time = since(began);
    assert!(running, "the first pod does not run:\n{}", cluster.log());
    let _ = watch.kill();
    let _ = watch.wait();
    time
}

/// When, by its own clock, the last start had its node Ready.
fn node_ready(cluster: &Cluster) -> f64 {
    let log = cluster.log();
    let line = log.lines().rev().find(|line| line.contains("the node is Ready"));
    let number = line.and_then(|line| {
        line.split("milliseconds=")
            .nth(1)?
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    });
    number.expect("the server logs when its node is Ready")
}

/// curl as the administrator.
fn ask(cluster: &Cluster, path: &str) -> Command {
    let keys = cluster.data().join("server/tls");
    let mut curl = Command::new("curl");
    curl.arg("--silent")
        .arg("--cacert")
        .arg(keys.join("server-ca.crt"));
    curl.arg("--cert").arg(keys.join("client-admin.crt"));
    curl.arg("--key").arg(keys.join("client-admin.key"));
    curl.arg(format!("https://127.0.0.1:{}{path}", cluster.port()));
    curl
}
