//! What a server's end, orderly or not, does to what runs: nothing.

use kobune_test_support::{Cluster, Options, eventually};

use crate::leftovers::inventory;
use crate::shared::pod;

fn cluster_with_pod() -> Cluster {
    let cluster = Cluster::start(&Options {
        images: vec!["busybox"],
        ..Options::default()
    });
    cluster
        .apply(
            "default",
            &pod(
                "stays",
                "n=0; while :; do n=$((n+1)); echo $n; sleep 0.2; done",
                "",
            ),
        )
        .ok();
    cluster
        .kubectl(&["wait", "--for=condition=Ready", "pod/stays", "--timeout=60s"])
        .ok();
    cluster
}

fn container(cluster: &Cluster) -> (String, String) {
    let path =
        "jsonpath={.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}";
    let found = cluster.kubectl(&["get", "pod", "stays", "-o", path]).ok();
    let (id, count) = found.split_once(' ').expect("two words");
    (id.to_owned(), count.to_owned())
}

#[test]
fn a_restarted_server_adopts_what_runs() {
    let cluster = cluster_with_pod();
    let before = container(&cluster);
    cluster.stop();
    cluster.launch();
    cluster
        .kubectl(&["wait", "--for=condition=Ready", "pod/stays", "--timeout=60s"])
        .ok();
    assert_eq!(container(&cluster), before);
    assert_eq!(
        cluster.kubectl(&["exec", "stays", "--", "echo", "here"]).ok(),
        "here\n"
    );
}

#[test]
fn a_killed_server_loses_neither_objects_nor_containers_nor_output() {
    let cluster = cluster_with_pod();
    let before = container(&cluster);
    cluster
        .kubectl(&["create", "configmap", "kept", "--from-literal=a=b"])
        .ok();
    cluster.kill();
    cluster.launch();
    cluster
        .kubectl(&["wait", "--for=condition=Ready", "pod/stays", "--timeout=60s"])
        .ok();
    assert_eq!(container(&cluster), before);
    assert_eq!(
        cluster
            .kubectl(&["get", "configmap", "kept", "-o", "jsonpath={.data.a}"])
            .ok(),
        "b"
    );
    let numbers = |text: &str| {
        text.lines()
            .filter_map(|line| line.parse::<u32>().ok())
            .collect::<Vec<_>>()
    };
    eventually("the output goes on where it was", 30, || {
        let lines = numbers(&cluster.kubectl(&["logs", "stays"]).result()?);
        let gap = lines.windows(2).find(|pair| pair[1] != pair[0] + 1);
        assert_eq!(gap, None, "lines were lost");
        if lines.len() > 20 {
            Ok(())
        } else {
            Err(format!("{} lines", lines.len()))
        }
    });
}

/// Pods that use what a node can leave behind: a tmpfs, an init process, a port of the node, an
/// image's volume, files of a ConfigMap.
const BUSY: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: busy}
spec:
  replicas: 1
  selector: {matchLabels: {app: busy}}
  template:
    metadata: {labels: {app: busy}}
    spec:
      terminationGracePeriodSeconds: 1
      shareProcessNamespace: true
      initContainers:
      - {name: first, image: busybox, imagePullPolicy: Never, command: [sh, -c, 'sleep 0.1']}
      containers:
      - name: main
        image: shelf
        imagePullPolicy: Never
        command: [sh, -c, 'trap exit TERM; while :; do echo on; sleep 0.1; done']
        volumeMounts: [{name: memory, mountPath: /memory}, {name: files, mountPath: /files}]
      - {name: second, image: busybox, imagePullPolicy: Never, command: [sleep, '1000']}
      volumes:
      - {name: memory, emptyDir: {medium: Memory}}
      - {name: files, configMap: {name: kube-root-ca.crt}}
---
apiVersion: v1
kind: Service
metadata: {name: busy}
spec: {selector: {app: busy}, ports: [{port: 80}]}
";

/// How often the server ends; many more by hand: `KOBUNE_TEST_ENDS=50`.
fn ends() -> u64 {
    let wanted = std::env::var("KOBUNE_TEST_ENDS").ok();
    wanted.and_then(|text| text.parse().ok()).unwrap_or(6)
}

#[test]
fn a_server_that_ends_in_the_middle_of_work_leaves_nothing_behind() {
    let cluster = Cluster::start(&Options {
        images: vec!["busybox", "shelf"],
        ..Options::default()
    });
    let empty = inventory(&cluster);
    let stays = pod("stays", "while :; do echo here; sleep 0.2; done", "");
    cluster.apply("default", &stays).ok();
    cluster
        .kubectl(&["wait", "--for=condition=Ready", "pod/stays", "--timeout=60s"])
        .ok();
    let before = container(&cluster);
    cluster.namespace("storm");
    cluster.apply("storm", BUSY).ok();
    for number in 0..ends() {
        let replicas = ["--replicas=6", "--replicas=1"][(number % 2) as usize];
        cluster
            .kubectl(&["scale", "-n", "storm", "deployment/busy", replicas])
            .ok();
        if number % 3 == 0 {
            let all = ["delete", "pods", "-n", "storm", "--all", "--wait=false"];
            cluster.kubectl(&all).ok();
        }
        // Another moment each time.
        std::thread::sleep(std::time::Duration::from_millis(number * 137 % 900));
        match number % 4 {
            3 => cluster.stop(),
            _ => cluster.kill(),
        }
        cluster.launch();
    }
    assert_eq!(container(&cluster), before, "restarted needlessly");
    let rollout = [
        "rollout",
        "status",
        "-n",
        "storm",
        "deployment/busy",
        "--timeout=120s",
    ];
    cluster.kubectl(&rollout).ok();
    cluster.kubectl(&["delete", "namespace", "storm"]).ok();
    cluster.kubectl(&["delete", "pod", "stays"]).ok();
    eventually("nothing is left", 30, || {
        let now = inventory(&cluster);
        let left: Vec<&String> = now.difference(&empty).collect();
        let lost: Vec<&String> = empty.difference(&now).collect();
        match left.is_empty() && lost.is_empty() {
            true => Ok(()),
            false => Err(format!("left: {left:#?}\nlost: {lost:#?}")),
        }
    });
}

#[test]
fn a_second_server_on_the_same_folder_is_refused() {
    let cluster = Cluster::start(&Options {
        without_node: true,
        ..Options::default()
    });
    let data = format!("--data-dir={}", cluster.data().display());
    let refused = cluster
        .kobune(&["server", &data, "--config=/dev/null", "--https-listen-port=39999"])
        .fails();
    assert!(
        refused.contains("another server") && refused.contains("--data-dir"),
        "{refused}"
    );
    let port = format!("--https-listen-port={}", cluster.port());
    let refused = cluster
        .kobune(&[
            "server",
            "--data-dir=/tmp/kobune-e2e-port",
            "--config=/dev/null",
            &port,
        ])
        .fails();
    assert!(refused.contains("--https-listen-port"), "{refused}");
    std::fs::remove_dir_all("/tmp/kobune-e2e-port").expect("the refused server made its folder");
}
