//! What a server's end, orderly or not, does to what runs: nothing.

use kobune_test_support::{Cluster, Options, eventually};

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
