//! A chart's life with helm: with hooks and a test, applied by the server and by the client.

use std::path::Path;
use std::process::Command;

use kobune_test_support::{Output, cache, run};

use crate::shared::Space;

fn helm(space: &Space, line: &str) -> Output {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration/chart");
    let words = line.split_whitespace().map(|word| match word {
        "CHART" => chart.display().to_string(),
        word => word.to_owned(),
    });
    let fetched = cache().join("bin/helm");
    let mut command = Command::new(if fetched.exists() { fetched } else { "helm".into() });
    command
        .args(words)
        .args(["--namespace", &space.name])
        .env("KUBECONFIG", space.cluster.kubeconfig())
        .env("HELM_DATA_HOME", space.cluster.folder().join("helm"));
    run(&mut command, None)
}

#[test]
fn a_release_is_installed_upgraded_rolled_back_tested_and_removed() {
    let space = Space::new("helm");
    helm(&space, "install shop CHART").ok();
    assert_eq!(space.field("configmap/shop", ".data.color"), "blue");
    // A hook that is kept, and one that went when it had succeeded.
    space.ok("get configmap shop-before");
    space.fails("get configmap shop-after");
    helm(&space, "upgrade shop CHART --set color=red --set image=redis").ok();
    assert_eq!(space.field("configmap/shop", ".data.color"), "red");
    let image = ".spec.template.spec.containers[0].image";
    assert_eq!(space.field("deployment/shop", image), "redis");
    helm(&space, "rollback shop 1").ok();
    assert_eq!(space.field("configmap/shop", ".data.color"), "blue");
    assert_eq!(space.field("deployment/shop", image), "nginx");
    let tested = helm(&space, "test shop").ok();
    assert!(tested.contains("Succeeded"), "{tested}");
    let history = helm(&space, "history shop").ok();
    assert!(history.contains("Rollback to 1"), "{history}");
    let planned = helm(&space, "upgrade shop CHART --set color=green --dry-run=server").ok();
    assert!(planned.contains("color: green"), "{planned}");
    assert_eq!(space.field("configmap/shop", ".data.color"), "blue");
    helm(&space, "uninstall shop --wait").ok();
    let left = space.ok("get deployments,services,ingresses,secrets,serviceaccounts -o name");
    assert_eq!(left, "serviceaccount/default\n");
}

#[test]
fn a_release_may_be_applied_by_the_client_and_by_the_server() {
    let space = Space::new("helm-apply");
    helm(&space, "install shop CHART --server-side=false").ok();
    helm(
        &space,
        "upgrade shop CHART --server-side=true --force-conflicts --set color=red",
    )
    .ok();
    assert_eq!(space.field("configmap/shop", ".data.color"), "red");
    helm(&space, "upgrade shop CHART --server-side=false --set color=green").ok();
    assert_eq!(space.field("configmap/shop", ".data.color"), "green");
    helm(&space, "uninstall shop").ok();
}
