//! From exec to /readyz, to the node being Ready, to the first Running pod: first start and restart.

use std::time::Instant;

use kobune_test_support::{Cluster, Options, eventually};
use serde_json::{Value, json};

use crate::round;

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: first}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: pause, image: docker.io/library/busybox:latest, imagePullPolicy: Never, command: [sleep, '3600']}
";

/// Times in milliseconds. The server's own log says when the API was up and the node Ready; the pod
/// is created as soon as the API takes it.
pub fn measure() -> Value {
    let options = Options {
        images: vec!["busybox"],
        ..Options::default()
    };
    let began = Instant::now();
    let cluster = Cluster::start_without_waiting(&options);
    eventually("the pod is taken", 60, || cluster.apply("default", POD).result());
    let running = [
        "wait",
        "--for=jsonpath={.status.phase}=Running",
        "pod/first",
        "--timeout=60s",
    ];
    cluster.kubectl(&running).ok();
    let first_pod = began.elapsed().as_secs_f64() * 1000.0;
    cluster.wait_until_ready();
    let first = times(&cluster);
    cluster.stop();
    cluster.launch();
    let restart = times(&cluster);
    json!({
        "first": {"readyz_ms": first.0, "node_ready_ms": first.1, "first_pod_running_ms": round(first_pod)},
        "restart": {"readyz_ms": restart.0, "node_ready_ms": restart.1},
    })
}

/// What the last start logged.
fn times(cluster: &Cluster) -> (Value, Value) {
    let log = cluster.log();
    let find = |text: &str| {
        let line = log.lines().rev().find(|line| line.contains(text));
        let number = line.and_then(|line| {
            line.split("milliseconds=")
                .nth(1)?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        });
        number.map_or(Value::Null, |number: u64| json!(number))
    };
    (find("the API is up"), find("the node is Ready"))
}
