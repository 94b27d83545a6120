//! The official Python client, as many programs use it.

use std::process::Command;

use kobune_test_support::{cache, run};

use crate::shared::Space;

#[test]
fn the_python_client_creates_lists_watches_and_patches() {
    let space = Space::new("python");
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
    let mut command = Command::new(environment.join("bin/python"));
    command.env("KUBECONFIG", space.cluster.kubeconfig()).arg("-");
    let said = run(&mut command, Some(include_str!("client.py"))).ok();
    assert_eq!(said, "done\n");
}
