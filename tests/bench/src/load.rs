//! Load on the API, by apibench: operations, lists, watches, pods. Each suite has a fresh cluster, so that
//! memory is that of what it did itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use kobune_test_support::{Cluster, Options};
use serde_json::{Map, Value};

/// The suites of apibench.
pub const SUITES: [&str; 4] = ["crud", "list", "watch", "pods"];

/// What apibench reports of some of its suites; `None` without it.
pub fn measure(suites: &[&str]) -> Option<Value> {
    let program = apibench()?;
    let reports = suites
        .iter()
        .map(|suite| ((*suite).to_owned(), run(&program, suite)))
        .collect::<Map<_, _>>();
    Some(Value::Object(reports))
}

/// The program: named, or built from the sources beside the checkout.
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

fn run(program: &Path, suite: &str) -> Value {
    let cluster = Cluster::start(&Options {
        images: vec!["pause"],
        ..Options::default()
    });
    let report = cluster.folder().join("apibench.json");
    let status = Command::new(program)
        .arg("--kubeconfig")
        .arg(cluster.kubeconfig())
        .arg("--out")
        .arg(&report)
        .arg("--pids")
        .arg(format!("kobune={}", cluster.pid()))
        .args(["--image", "docker.io/library/pause:latest", suite])
        .status()
        .expect("apibench starts");
    assert!(status.success(), "apibench {suite} failed with {status}");
    let text = std::fs::read_to_string(report).expect("apibench wrote its report");
    let report: Value = serde_json::from_str(&text).expect("apibench writes JSON");
    report[suite].clone()
}
