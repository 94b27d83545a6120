//! Load on the API, by apibench: operations, lists, watches, pods.

use std::path::{Path, PathBuf};
use std::process::Command;

use kobune_test_support::{Cluster, Options};
use serde_json::Value;

fn apibench() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("KOBUNE_APIBENCH") {
        return Some(named.into());
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(3)?
        .join("shared/bench/apibench");
    if !source.join("Cargo.toml").exists() {
        return None;
    }
    let target = kobune_test_support::cache().join("apibench");
    let built = Command::new("cargo")
        .args(["build", "--quiet", "--release", "--manifest-path"])
        .arg(source.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .current_dir("/")
        .status()
        .is_ok_and(|status| status.success());
    built.then(|| target.join("release/apibench"))
}

/// What apibench reports; `None` without it.
pub fn measure() -> Option<Value> {
    let program = apibench()?;
    let cluster = Cluster::start(&Options {
        images: vec!["busybox", "pause"],
        ..Options::default()
    });
    let report = cluster.folder().join("apibench.json");
    let status = Command::new(program)
        .arg("--kubeconfig")
        .arg(cluster.kubeconfig())
        .arg("--out")
        .arg(&report)
        .arg(format!("--pids=kobune={}", cluster.pid()))
        .args([
            "--image",
            "docker.io/library/pause:latest",
            "crud",
            "list",
            "watch",
            "pods",
        ])
        .status()
        .expect("apibench starts");
    assert!(status.success(), "apibench failed with {status}");
    let text = std::fs::read_to_string(report).expect("apibench wrote its report");
    Some(serde_json::from_str(&text).expect("apibench writes JSON"))
}
