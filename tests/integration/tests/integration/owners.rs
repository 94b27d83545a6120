//! Owners and dependents that are not one tree.

use kobune_test_support::eventually;
use serde_json::{Value, json};

use crate::shared::Space;

fn uid(space: &Space, object: &str) -> String {
    space.field(object, ".metadata.uid")
}

/// Makes `object` depend on these, which are of one kind, and may keep them waiting.
fn depend(space: &Space, object: &str, kind: (&str, &str), owners: &[&str]) {
    let (version, kind) = kind;
    let owners: Vec<Value> = owners
        .iter()
        .map(|name| {
            json!({"apiVersion": version, "kind": kind, "name": name, "blockOwnerDeletion": true,
                "uid": uid(space, &format!("{}/{name}", kind.to_lowercase()))})
        })
        .collect();
    let patch = json!({"metadata": {"ownerReferences": owners}}).to_string();
    space
        .kubectl(&["patch", object, "--type=merge", "-p", &patch])
        .ok();
}

#[test]
fn a_circle_of_owners_goes_as_a_whole() {
    let space = Space::new("owners-circle");
    let kind = ("v1", "ConfigMap");
    for name in ["one", "two", "three"] {
        space.ok(&format!("create configmap {name}"));
    }
    for (name, owner) in [("one", "three"), ("two", "one"), ("three", "two")] {
        depend(&space, &format!("configmap/{name}"), kind, &[owner]);
    }
    space.ok("delete configmap one --cascade=foreground --wait=false");
    space.wait_gone("configmap/one configmap/two configmap/three");
}

#[test]
fn a_dependent_that_has_another_owner_stays_with_it() {
    let space = Space::new("owners-two");
    let kind = ("v1", "ConfigMap");
    for name in ["leaves", "stays", "shared", "alone"] {
        space.ok(&format!("create configmap {name}"));
    }
    depend(&space, "configmap/shared", kind, &["leaves", "stays"]);
    depend(&space, "configmap/alone", kind, &["leaves"]);
    space.ok("delete configmap leaves --cascade=foreground --wait=false");
    space.wait_gone("configmap/leaves configmap/alone");
    let owners = space.json("configmap shared")["metadata"]["ownerReferences"].clone();
    assert_eq!(owners[0]["name"], "stays", "{owners}");
    assert_eq!(owners.as_array().map(Vec::len), Some(1), "{owners}");
}

#[test]
fn the_pods_of_a_namespace_go_before_all_else() {
    let space = Space::new("owners-ordered");
    let held = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"held","finalizers":["example.com/hold"]},
        "spec":{"terminationGracePeriodSeconds":0,"containers":[{"name":"main","image":"nginx"}]}}"#;
    space.with("create -f -", held).ok();
    space.ok("create configmap last");
    let name = space.name.clone();
    space.ok(&format!("delete namespace {name} --wait=false"));
    let remaining = r#".status.conditions[?(@.type=="NamespaceFinalizersRemaining")].status"#;
    space.wait_field(&format!("namespace/{name}"), remaining, "True");
    space.ok("get configmap last");
    space.ok(r#"patch pod held --type=merge -p {"metadata":{"finalizers":null}}"#);
    eventually("the namespace is gone", 30, || {
        match space.kubectl(&["get", "namespace", &name]).result() {
            Ok(left) => Err(left),
            Err(_) => Ok(()),
        }
    });
}
