//! The node as an object: its role, and what taints do to its pods.

use std::time::Instant;

use kobune_test_support::{Cluster, Options, eventually};

use crate::shared::{cluster, pod};

#[test]
fn a_servers_node_says_its_role() {
    eventually("the node has its role", 10, || {
        let shown = cluster().kubectl(&["get", "nodes"]).result()?;
        let words: Vec<&str> = shown
            .lines()
            .nth(1)
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        match words.get(2) {
            Some(&"control-plane") => Ok(()),
            _ => Err(shown),
        }
    });
}

#[test]
fn pods_leave_a_tainted_node_when_their_tolerance_runs_out() {
    let own = Cluster::start(&Options {
        images: vec!["busybox"],
        ..Options::default()
    });
    let tolerating = |name: &str, seconds: &str| {
        let toleration = format!("  tolerations: [{{key: flood, operator: Exists{seconds}}}]\n");
        own.apply("default", &pod(name, "sleep 1000", &toleration)).ok();
    };
    own.apply("default", &pod("leaves", "sleep 1000", "")).ok();
    tolerating("waits", ", effect: NoExecute, tolerationSeconds: 4");
    tolerating("saved", ", effect: NoExecute, tolerationSeconds: 600");
    tolerating("stays", "");
    own.kubectl(&["wait", "--for=condition=Ready", "pod", "--all", "--timeout=60s"])
        .ok();
    let began = Instant::now();
    own.kubectl(&["taint", "node", "node-1", "flood=now:NoExecute"])
        .ok();
    let gone = |name: &str| {
        own.kubectl(&["wait", "--for=delete", &format!("pod/{name}"), "--timeout=30s"])
            .ok();
    };
    gone("leaves");
    gone("waits");
    assert!(began.elapsed().as_secs() >= 4, "{:?}", began.elapsed());
    own.kubectl(&["taint", "node", "node-1", "flood-"]).ok();
    eventually("the eviction is called off", 20, || {
        let selector = "--field-selector=reason=TaintManagerEviction,involvedObject.name=saved";
        let told = ["get", "events", selector, "-o", "jsonpath={.items[*].message}"];
        match own.kubectl(&told).result()?.as_str() {
            "Cancelling deletion of Pod default/saved" => Ok(()),
            other => Err(other.to_owned()),
        }
    });
    let names = own.kubectl(&["get", "pods", "-o", "name"]).ok();
    assert_eq!(names, "pod/saved\npod/stays\n");
}
