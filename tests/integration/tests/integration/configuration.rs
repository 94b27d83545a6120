//! Flags and files: what is refused and how it is told, restarts, a second server beside the first.

use std::process::Command;
use std::time::Instant;

use kobune_test_support::{Cluster, Options, kobune, run};

use crate::shared::{cluster, without_node};

/// Starts a server that should refuse to start, with a configuration file of this content.
#[track_caller]
fn refused(file: &str, flags: &[&str]) -> String {
    let folder = std::env::temp_dir().join(format!(
        "kobune-refused-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    std::fs::create_dir_all(&folder).expect("the temporary folder is writable");
    let path = folder.join("config.yaml");
    std::fs::write(&path, file).expect("it was just made");
    let mut command = Command::new(kobune());
    command.arg("server").arg(format!("--config={}", path.display()));
    command
        .arg(format!("--data-dir={}", folder.join("data").display()))
        .arg("--disable-agent");
    let began = Instant::now();
    let said = run(command.args(flags), None).fails();
    assert!(began.elapsed().as_secs() < 10, "{said}");
    std::fs::remove_dir_all(&folder).expect("it is ours");
    said
}

#[test]
fn a_wrong_flag_is_named_with_its_value() {
    for (flag, value) in [
        ("--https-listen-port", "seventy"),
        ("--cluster-cidr", "10.42.0.0/99"),
        ("--service-cidr", "nonsense"),
        ("--service-node-port-range", "9-1"),
        ("--bind-address", "here"),
        ("--node-label", "-=-=-"),
    ] {
        let said = refused("", &[&format!("{flag}={value}")]);
        assert!(said.contains(flag) && said.contains(value), "{said}");
    }
    assert!(refused("", &["--nonsense"]).contains("--nonsense"));
}

#[test]
fn a_wrong_line_is_named_with_its_file_and_number() {
    let said = refused(
        "# first\nbind-address: 127.0.0.1\nhttps-listen-port: seventy\n",
        &[],
    );
    assert!(
        said.contains("config.yaml")
            && said.contains('3')
            && said.contains("https-listen-port")
            && said.contains("seventy"),
        "{said}"
    );
    let said = refused("bind-address: 127.0.0.1\nbnd-address: x\n", &[]);
    assert!(
        said.contains("config.yaml") && said.contains('2') && said.contains("bnd-address"),
        "{said}"
    );
    let said = refused("a: [\n", &[]);
    assert!(said.contains("config.yaml"), "{said}");
}

#[test]
fn a_wrong_variable_is_named() {
    let mut command = Command::new(kobune());
    command.env("KOBUNE_HTTPS_LISTEN_PORT", "seventy");
    let said = run(
        command.args(["server", "--disable-agent", "--data-dir=/tmp/kobune-never-made"]),
        None,
    )
    .fails();
    assert!(
        said.contains("KOBUNE_HTTPS_LISTEN_PORT") || said.contains("--https-listen-port"),
        "{said}"
    );
    assert!(said.contains("seventy"), "{said}");
}

#[test]
fn a_second_server_lives_beside_the_first() {
    let second = Cluster::start(&Options {
        flags: vec![
            "--write-kubeconfig-mode=640".into(),
            "--tls-san=kobune.example.com".into(),
        ],
        ..without_node()
    });
    second.kubectl(&["create", "namespace", "only-here"]).ok();
    assert!(
        cluster()
            .kubectl(&["get", "namespace", "only-here"])
            .fails()
            .contains("not found")
    );
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(second.kubeconfig())
            .expect("it is there")
            .permissions(),
    );
    assert_eq!(mode & 0o777, 0o640);
    // The first server does not know the second's users.
    let stranger = second.kubectl(&[
        "--server",
        &format!("https://127.0.0.1:{}", cluster().port()),
        "--insecure-skip-tls-verify",
        "get",
        "pods",
    ]);
    assert!(stranger.code != 0, "{stranger:?}");
}

#[test]
fn objects_versions_and_keys_survive_a_restart_and_a_crash() {
    let own = Cluster::start(&without_node());
    own.kubectl(&["create", "configmap", "a", "--from-literal=k=v"])
        .ok();
    let object = || own.kubectl(&["get", "configmap", "a", "-o", "yaml"]).ok();
    let before = object();
    own.stop();
    own.launch();
    assert_eq!(object(), before, "and with the kubeconfig of before");
    own.kubectl(&["create", "configmap", "b"]).ok();
    own.kill();
    own.launch();
    assert_eq!(object(), before);
    let version = |name: &str| -> u64 {
        let text = own
            .kubectl(&[
                "get",
                "configmap",
                name,
                "-o",
                "jsonpath={.metadata.resourceVersion}",
            ])
            .ok();
        text.parse().expect("a number")
    };
    own.kubectl(&["create", "configmap", "c"]).ok();
    assert!(version("a") < version("b") && version("b") < version("c"));
}

#[test]
fn the_programs_own_words_are_there() {
    let says = |line: &str| run(Command::new(kobune()).args(line.split(' ')), None).ok();
    assert!(says("version").contains("v1.36"));
    assert!(says("completion bash").contains("kobune"));
    for flag in [
        "--config",
        "--data-dir",
        "--tls-san",
        "--service-node-port-range",
        "--private-registry",
        "--disable-agent",
    ] {
        assert!(says("server --help").contains(flag), "{flag}");
    }
}
