//! The subcommands that are about a server: they find it as it finds its own flags.

use std::process::Command;

use kobune_test_support::{Cluster, eventually, kobune, run as finish};

use crate::shared::{cluster, without_node};

#[test]
fn a_kubeconfig_leads_to_the_port_that_the_server_has() {
    let cluster = cluster();
    let text = cluster.kobune(&["kubeconfig"]).ok();
    let url = format!("server: https://127.0.0.1:{}\n", cluster.port());
    assert!(text.contains(&url), "{text}");
    let file = cluster.folder().join("printed-kubeconfig");
    std::fs::write(&file, text).expect("the folder is ours");
    let mut kubectl = Command::new("kubectl");
    kubectl.env("KUBECONFIG", &file).args(["get", "namespaces"]);
    assert!(finish(&mut kubectl, None).ok().contains("kube-system"));
    let elsewhere = cluster.kobune(&["kubeconfig", "--server=https://kobune.example.com:8443"]);
    assert!(
        elsewhere
            .ok()
            .contains("server: https://kobune.example.com:8443\n")
    );
}

#[test]
fn a_reset_honours_the_configuration_file() {
    let own = Cluster::start(&without_node());
    let config = own.folder().join("reset.yaml");
    let text = format!("data-dir: {}\nnode-name: other\n", own.data().display());
    std::fs::write(&config, text).expect("the folder is ours");
    let reset = || {
        let mut command = Command::new(kobune());
        command
            .args(["reset", "--yes"])
            .arg(format!("--config={}", config.display()));
        finish(&mut command, None)
    };
    assert!(reset().fails().contains("stop it first"));
    own.stop();
    reset().ok();
    assert!(!own.data().exists());
}

#[test]
fn a_server_without_a_node_leaves_no_run_folder_when_it_stops() {
    let own = Cluster::start(&without_node());
    let run = own.run_folder();
    let is_up = || {
        eventually("the server says that it is ready", 10, || {
            let there = ["server.pid", "ready"].map(|name| run.join(name).exists());
            if there == [true, true] {
                Ok(())
            } else {
                Err(format!("{there:?}"))
            }
        });
    };
    is_up();
    own.stop();
    assert!(!run.exists());
    own.launch();
    is_up();
}
