//! The official Python client, as many programs use it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use kobune_test_support::{cache, run};

use crate::shared::Space;

#[test]
fn the_python_client_creates_lists_watches_and_patches() {
    let space = Space::new("python");
    assert_eq!(python(&space, include_str!("client.py")), "done\n");
}

#[test]
fn an_object_of_every_kind_lives_as_upstreams_do() {
    let space = Space::new("lives");
    assert_eq!(python(&space, include_str!("lives.py")), "done\n");
}

/// Runs a program with the official client on the shared server.
fn python(space: &Space, program: &str) -> String {
    let objects = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration/kinds.yaml");
    let mut command = Command::new(environment().join("bin/python"));
    command
        .env("KUBECONFIG", space.cluster.kubeconfig())
        .env("OBJECTS", objects)
        .arg("-");
    run(&mut command, Some(program)).ok()
}

/// The folder with the client, installed once.
fn environment() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(install)
}

fn install() -> PathBuf {
    let environment = cache().join("python");
    if !environment.join("bin/pip").exists() {
        run(
            Command::new("python3").args(["-m", "venv"]).arg(&environment),
            None,
        )
        .ok();
    }
    // Quick when it is there already.
    run(
        Command::new(environment.join("bin/pip")).args(["install", "--quiet", "kubernetes>=34"]),
        None,
    )
    .ok();
    environment
}
