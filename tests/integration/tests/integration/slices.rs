//! Endpoint slices of Services that select nothing.

use kobune_test_support::eventually;
use serde_json::{Value, json};

use crate::shared::Space;

fn slices(space: &Space) -> Vec<Value> {
    let list = space.json("endpointslices -l kubernetes.io/service-name=db");
    list["items"].as_array().cloned().unwrap_or_default()
}

/// Waits until one slice leads to this address and port.
#[track_caller]
fn wait_mirror(space: &Space, address: &str, port: u16) {
    eventually("the mirror", 10, || match slices(space).as_slice() {
        [slice] if slice["endpoints"][0]["addresses"][0] == address && slice["ports"][0]["port"] == port => {
            Ok(())
        }
        other => Err(format!("{other:?}")),
    });
}

#[test]
fn endpoints_that_a_user_keeps_are_mirrored() {
    let space = Space::new("mirrored");
    let endpoints = |address: &str, port: u16| {
        json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "db"},
            "subsets": [{"addresses": [{"ip": address}], "ports": [{"name": "sql", "port": port}]}]})
        .to_string()
    };
    space.ok("create service clusterip db --tcp=5432");
    space.ok(r#"patch service db --type=json -p [{"op":"remove","path":"/spec/selector"}]"#);
    // What the endpoints controllers made for the selector is theirs; the user begins anew.
    space.ok("delete endpoints db --ignore-not-found");
    space.ok("delete endpointslices -l kubernetes.io/service-name=db");
    space.with("create -f -", &endpoints("10.1.2.3", 5432)).ok();
    wait_mirror(&space, "10.1.2.3", 5432);
    assert_eq!(
        slices(&space)[0]["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"],
        "endpointslicemirroring-controller.k8s.io"
    );
    space.with("replace -f -", &endpoints("10.1.2.4", 5433)).ok();
    wait_mirror(&space, "10.1.2.4", 5433);
    space.ok("delete endpoints db");
    eventually("no slice is left", 10, || match slices(&space) {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    });
}
