//! kubectl apply, from the client's side and the server's, diff and replace.

use crate::http;
use crate::shared::{Space, deployment, map};

#[test]
fn apply_creates_configures_and_leaves_unchanged() {
    let space = Space::new("applied");
    let web = deployment("web", "nginx:1", 1);
    let apply = |object: &str| space.with("apply -f -", object).ok();
    assert_eq!(apply(&web), "deployment.apps/web created\n");
    assert_eq!(apply(&web), "deployment.apps/web unchanged\n");
    assert_eq!(
        apply(&web.replace("nginx:1", "nginx:2")),
        "deployment.apps/web configured\n"
    );
    assert_eq!(
        space.field("deployment/web", ".spec.template.spec.containers[0].image"),
        "nginx:2"
    );
    // What another wrote and the manifest does not name stays; what the manifest no longer names goes.
    space.ok("scale deployment web --replicas=0");
    space.ok("annotate deployment web mine=1");
    let without = web.replace(r#""replicas":1,"#, "");
    apply(&without);
    assert_eq!(
        space.field("deployment/web", ".spec.replicas"),
        "1",
        "its default"
    );
    assert_eq!(space.field("deployment/web", ".metadata.annotations.mine"), "1");
    assert!(
        space
            .ok("apply view-last-applied deployment/web")
            .contains("nginx:1")
    );
}

#[test]
fn diff_tells_what_apply_would_change() {
    let space = Space::new("diffs");
    space.with("apply -f -", &deployment("web", "nginx:1", 1)).ok();
    assert_eq!(space.with("diff -f -", &deployment("web", "nginx:1", 1)).ok(), "");
    let diff = space.with("diff -f -", &deployment("web", "nginx:2", 1));
    assert_eq!(diff.code, 1);
    assert!(
        diff.stdout
            .contains("-      - image: nginx:1\n+      - image: nginx:2"),
        "{}",
        diff.stdout
    );
    assert_eq!(
        space.field("deployment/web", ".spec.template.spec.containers[0].image"),
        "nginx:1"
    );
    space.with("apply --server-side -f -", &map("a", "")).ok();
    let server = space.with("diff --server-side -f -", &map("a", ""));
    assert_eq!(server.code, 0, "{server:?}");
}

#[test]
fn server_side_appliers_share_an_object_field_by_field() {
    let space = Space::new("shared");
    let apply = |manager: &str, more: &str, object: &str| {
        space.with(
            &format!("apply --server-side --field-manager={manager} {more} -f -"),
            object,
        )
    };
    apply("one", "", &deployment("web", "nginx:1", 1)).ok();
    let conflict = apply("two", "", &deployment("web", "nginx:2", 1)).fails();
    assert!(
        conflict.contains(r#"Apply failed with 1 conflict: conflict with "one": .spec.template.spec.containers[name="main"].image"#),
        "{conflict}"
    );
    apply("two", "--force-conflicts", &deployment("web", "nginx:2", 1)).ok();
    assert_eq!(
        space.field("deployment/web", ".spec.template.spec.containers[0].image"),
        "nginx:2"
    );
    let managers = space.field(
        "deployment/web",
        r#".metadata.managedFields[?(@.operation=="Apply")].manager"#,
    );
    assert_eq!(managers, "one two");
    // A field that its only applier no longer names is removed.
    let label = map("a", r#","labels":{"l":"1"}"#);
    apply("one", "", &label).ok();
    apply("one", "", &map("a", "")).ok();
    assert_eq!(space.field("configmap/a", ".metadata.labels"), "");
    let status = http::request(
        "PATCH",
        &format!("{}/a", space.path("configmaps")),
        &["-H", "Content-Type: application/apply-patch+yaml"],
        Some(&label),
    );
    assert!(
        status.code == 422 && status.body.contains("fieldManager"),
        "{status:?}"
    );
}

#[test]
fn an_object_moves_from_client_side_to_server_side_apply() {
    let space = Space::new("moved");
    space.with("apply -f -", &deployment("web", "nginx:1", 1)).ok();
    space
        .with("apply --server-side -f -", &deployment("web", "nginx:2", 1))
        .ok();
    assert_eq!(
        space.field("deployment/web", ".spec.template.spec.containers[0].image"),
        "nginx:2"
    );
    space.with("apply -f -", &deployment("web", "nginx:3", 1)).ok();
    assert_eq!(
        space.field("deployment/web", ".spec.template.spec.containers[0].image"),
        "nginx:3"
    );
}

#[test]
fn managed_fields_name_the_part_of_kubernetes_that_wrote() {
    let space = Space::new("writers");
    space.with("create -f -", &deployment("web", "nginx", 1)).ok();
    space.wait_field("deployment/web", ".status.replicas", "1");
    let object = space.json("deployment/web");
    let entries = object["metadata"]["managedFields"].as_array().expect("a list");
    let entry = |manager| entries.iter().find(|entry| entry["manager"] == manager);
    assert!(entry("kubectl-create").is_some(), "{entries:?}");
    let controller = entry("kube-controller-manager").expect("it wrote the status");
    assert_eq!(controller["subresource"], "status");
}

#[test]
fn prune_and_replace_force_work() {
    let space = Space::new("pruned");
    let labelled = |name| map(name, r#","labels":{"app":"x"}"#);
    let both = format!("{}\n---\n{}", labelled("a"), labelled("b"));
    space
        .with(
            "apply -f - --prune -l app=x --prune-allowlist=core/v1/ConfigMap",
            &both,
        )
        .ok();
    let pruned = space
        .with(
            "apply -f - --prune -l app=x --prune-allowlist=core/v1/ConfigMap",
            &labelled("a"),
        )
        .ok();
    assert!(pruned.contains("configmap/b pruned"), "{pruned}");
    let uid = space.field("configmap/a", ".metadata.uid");
    space.with("replace --force -f -", &labelled("a")).ok();
    assert_ne!(space.field("configmap/a", ".metadata.uid"), uid);
}

#[test]
fn edit_sends_what_the_editor_left() {
    let space = Space::new("edited");
    space.with("apply -f -", &map("a", "")).ok();
    let mut command = space
        .cluster
        .kubectl_command(&["-n", "edited", "edit", "configmap", "a"]);
    command.env("KUBE_EDITOR", "sed -i s/k:.v$/k:\\ w/");
    let output = kobune_test_support::run(&mut command, None).ok();
    assert!(output.contains("configmap/a edited"), "{output}");
    assert_eq!(space.field("configmap/a", ".data.k"), "w");
}
