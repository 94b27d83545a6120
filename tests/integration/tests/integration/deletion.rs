//! Deleting: finalizers, graces, preconditions, collections, owners, namespaces.

use kobune_test_support::eventually;

use crate::http;
use crate::shared::{Space, cluster, deployment, map};

#[test]
fn finalizers_hold_an_object_until_the_last_is_gone() {
    let space = Space::new("finalizers");
    space
        .with("create -f -", &map("a", r#","finalizers":["example.com/one"]"#))
        .ok();
    space.ok("delete configmap a --wait=false");
    assert!(
        !space
            .field("configmap/a", ".metadata.deletionTimestamp")
            .is_empty()
    );
    let more = r#"{"metadata":{"finalizers":["example.com/one","example.com/two"]}}"#;
    let refused = space.kubectl(&["patch", "configmap", "a", "-p", more]).fails();
    assert!(
        refused.contains(
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted"
        ),
        "{refused}"
    );
    space
        .kubectl(&[
            "patch",
            "configmap",
            "a",
            "--type=merge",
            "-p",
            r#"{"metadata":{"finalizers":null}}"#,
        ])
        .ok();
    space.wait_gone("configmap/a");
}

#[test]
fn preconditions_protect_from_deleting_another_object() {
    let space = Space::new("preconditions");
    space.with("create -f -", &map("a", "")).ok();
    let path = format!("{}/a", space.path("configmaps"));
    let other = r#"{"preconditions":{"uid":"00000000-0000-0000-0000-000000000000"}}"#;
    let status = http::delete(&path, other).fails(409, "Conflict");
    assert!(
        status["message"]
            .to_string()
            .contains("Precondition failed: UID in precondition: 00000000"),
        "{status}"
    );
    http::delete(&path, r#"{"preconditions":{"resourceVersion":"1"}}"#).fails(409, "Conflict");
    let uid = space.field("configmap/a", ".metadata.uid");
    let done = http::delete(&path, &format!(r#"{{"preconditions":{{"uid":"{uid}"}}}}"#)).ok();
    assert_eq!(
        (&done["status"], &done["details"]["uid"]),
        (&"Success".into(), &uid.into())
    );
    http::delete(&path, "{}").fails(404, "NotFound");
    http::delete(&path, r#"{"propagationPolicy":"Sideways"}"#).fails(422, "Invalid");
}

#[test]
fn a_collection_is_deleted_by_selector() {
    let space = Space::new("collection");
    for name in ["a", "b", "c"] {
        space
            .with(
                "create -f -",
                &map(name, &format!(r#","labels":{{"is":"{name}"}}"#)),
            )
            .ok();
    }
    let path = space.path("configmaps");
    http::delete(&format!("{path}?labelSelector=is%20in%20(a,b)"), "{}").ok();
    assert_eq!(space.names("configmaps -l is"), ["c"]);
    space.ok("delete configmaps --all");
    assert_eq!(space.names("configmaps -l is"), [""; 0]);
    assert_eq!(
        http::request("DELETE", "/api/v1/configmaps", &[], None).fails(405, "MethodNotAllowed")["code"],
        405
    );
}

#[test]
fn dependents_go_in_the_background() {
    let space = Space::new("background");
    space.with("create -f -", &deployment("web", "nginx", 2)).ok();
    eventually("two pods", 20, || match space.names("pods").len() {
        2 => Ok(()),
        n => Err(n.to_string()),
    });
    space.ok("delete deployment web");
    space.wait_gone("replicasets,pods -l app=web");
}

#[test]
fn dependents_go_first_in_the_foreground() {
    let space = Space::new("foreground");
    space.with("create -f -", &deployment("web", "nginx", 1)).ok();
    eventually("a pod", 20, || space.names("pods").pop().ok_or_else(String::new));
    let pod = space.names("pods").pop().expect("it was there");
    let hold = r#"{"metadata":{"finalizers":["example.com/hold"]}}"#;
    space.kubectl(&["patch", "pod", &pod, "-p", hold]).ok();
    space.ok("delete deployment web --cascade=foreground --wait=false");
    eventually("the pod is being deleted", 20, || {
        let time = space.field(&format!("pod/{pod}"), ".metadata.deletionTimestamp");
        if time.is_empty() { Err(time) } else { Ok(()) }
    });
    assert_eq!(
        space.field("deployment/web", ".metadata.finalizers"),
        r#"["foregroundDeletion"]"#
    );
    space
        .kubectl(&[
            "patch",
            "pod",
            &pod,
            "--type=merge",
            "-p",
            r#"{"metadata":{"finalizers":null}}"#,
        ])
        .ok();
    space.wait_gone("deployment/web");
    assert!(space.names("pods").is_empty());
}

#[test]
fn orphans_stay_and_are_adopted_again() {
    let space = Space::new("orphans");
    let web = deployment("web", "nginx", 1);
    space.with("create -f -", &web).ok();
    eventually("a pod", 20, || space.names("pods").pop().ok_or_else(String::new));
    let (sets, pods) = (space.names("replicasets"), space.names("pods"));
    space.ok("delete deployment web --cascade=orphan");
    assert_eq!(
        space.field(&format!("replicaset/{}", sets[0]), ".metadata.ownerReferences"),
        ""
    );
    space.with("create -f -", &web).ok();
    space.wait_field(
        &format!("replicaset/{}", sets[0]),
        ".metadata.ownerReferences[0].name",
        "web",
    );
    assert_eq!((space.names("replicasets"), space.names("pods")), (sets, pods));
}

#[test]
fn an_object_whose_owner_never_was_is_collected() {
    let space = Space::new("no-owner");
    let owner = r#","ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"gone","uid":"11111111-2222-3333-4444-555555555555"}]"#;
    space.with("create -f -", &map("a", owner)).ok();
    space.wait_gone("configmap/a");
}

#[test]
fn a_namespace_takes_all_it_holds_along() {
    let space = Space::new("whole");
    space.with("create -f -", &deployment("web", "nginx", 2)).ok();
    space
        .with(
            "create -f -",
            &map("held", r#","finalizers":["example.com/hold"]"#),
        )
        .ok();
    space.ok("delete namespace whole --wait=false");
    space.wait_field("namespace/whole", ".status.phase", "Terminating");
    let late = space.fails("create configmap late");
    assert!(late.contains("because it is being terminated"), "{late}");
    space.wait_gone("deployments,replicasets,pods --all");
    let path = r#".status.conditions[?(@.type=="NamespaceFinalizersRemaining")].status"#;
    space.wait_field("namespace/whole", path, "True");
    space
        .kubectl(&[
            "patch",
            "configmap",
            "held",
            "--type=merge",
            "-p",
            r#"{"metadata":{"finalizers":null}}"#,
        ])
        .ok();
    space.wait_gone("namespace/whole");
    assert!(space.fails("get configmap held").contains("not found"));
    assert!(
        space
            .fails("create configmap later")
            .contains(r#"namespaces "whole" not found"#)
    );
    let refused = cluster().kubectl(&["delete", "namespace", "default"]).fails();
    assert!(refused.contains("this namespace may not be deleted"), "{refused}");
}

#[test]
fn a_new_namespace_has_its_account_and_the_authority() {
    let space = Space::new("furnished");
    eventually("the default account", 10, || {
        space.kubectl(&["get", "serviceaccount", "default"]).result()
    });
    eventually("the root certificate", 10, || {
        space.kubectl(&["get", "configmap", "kube-root-ca.crt"]).result()
    });
    assert!(
        space
            .field("configmap/kube-root-ca.crt", r".data.ca\.crt")
            .starts_with("-----BEGIN CERTIFICATE")
    );
    assert_eq!(
        space.field(
            "namespace/furnished",
            r".metadata.labels.kubernetes\.io/metadata\.name"
        ),
        "furnished"
    );
    assert_eq!(
        space.field("namespace/furnished", ".spec.finalizers"),
        r#"["kubernetes"]"#
    );
    space.ok("delete serviceaccount default");
    eventually("the account again", 10, || {
        space.kubectl(&["get", "serviceaccount", "default"]).result()
    });
}
