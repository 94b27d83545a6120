//! Cluster addresses: the ranges they come from, and the object of each.

use kobune_test_support::eventually;
use serde_json::json;

use crate::shared::{Space, cluster};

fn range(name: &str, cidr: &str) -> String {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": name},
        "spec": {"cidrs": [cidr]}})
    .to_string()
}

/// The address of the API's own Service.
fn kubernetes_address() -> String {
    let line = "get service kubernetes -n default -o jsonpath={.spec.clusterIP}";
    cluster().kubectl(&line.split(' ').collect::<Vec<_>>()).ok()
}

#[test]
fn the_clusters_own_range_is_ready_and_protected() {
    let space = Space::new("addresses-range");
    space.wait_field(
        "servicecidr/kubernetes",
        ".status.conditions[?(@.type==\"Ready\")].status",
        "True",
    );
    let own = space.json("servicecidr kubernetes");
    assert_eq!(
        own["metadata"]["finalizers"],
        json!(["networking.k8s.io/service-cidr-finalizer"])
    );
    let address = kubernetes_address();
    let ranges = own["spec"]["cidrs"].as_array().expect("a list");
    let network = address.rsplit_once('.').expect("an IPv4 address").0;
    assert!(
        ranges.iter().any(|range| range == &format!("{network}.0/16")),
        "{ranges:?}"
    );
}

#[test]
fn an_address_has_an_object_as_long_as_its_service_has_it() {
    let space = Space::new("addresses-objects");
    let first = format!("ipaddress/{}", kubernetes_address());
    assert_eq!(space.field(&first, ".spec.parentRef.name"), "kubernetes");
    space.ok("create service clusterip web --tcp=80");
    let address = space.field("service/web", ".spec.clusterIP");
    let object = space.json(&format!("ipaddress {address}"));
    assert_eq!(
        object["spec"]["parentRef"],
        json!({"group": "", "resource": "services", "namespace": space.name, "name": "web"})
    );
    assert_eq!(
        object["metadata"]["labels"],
        json!({"ipaddress.kubernetes.io/ip-family": "IPv4", "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"})
    );
    // Another type needs no address, and the first one wants one again.
    space.ok(r#"patch service web --type=merge -p {"spec":{"type":"ExternalName","externalName":"a.b","clusterIP":null,"clusterIPs":null}}"#);
    space.wait_gone(&format!("ipaddress/{address}"));
    space.ok(r#"patch service web --type=merge -p {"spec":{"type":"ClusterIP","externalName":null}}"#);
    let address = space.field("service/web", ".spec.clusterIP");
    space.ok(&format!("get ipaddress {address}"));
    space.ok("delete service web");
    let gone = space.fails(&format!("get ipaddress {address}"));
    assert!(gone.contains("NotFound"), "{gone}");
}

#[test]
fn an_address_that_has_an_object_is_given_to_nobody() {
    let space = Space::new("addresses-taken");
    space.ok("create service clusterip probe --tcp=80");
    let address = space.field("service/probe", ".spec.clusterIP");
    space.ok("delete service probe");
    let object = json!({"apiVersion": "networking.k8s.io/v1", "kind": "IPAddress", "metadata": {"name": address},
        "spec": {"parentRef": {"resource": "configmaps", "namespace": space.name, "name": "mine"}}});
    space.with("create -f -", &object.to_string()).ok();
    let refused = space.fails(&format!(
        "create service clusterip web --tcp=80 --clusterip={address}"
    ));
    assert!(refused.contains("provided IP is already allocated"), "{refused}");
    space.ok(&format!("delete ipaddress {address}"));
    space.ok(&format!(
        "create service clusterip web --tcp=80 --clusterip={address}"
    ));
}

#[test]
fn an_added_range_gives_addresses_and_stays_while_they_are_in_use() {
    let space = Space::new("addresses-added");
    space.with("create -f -", &range("more", "172.31.7.0/29")).ok();
    space.wait_field("servicecidr/more", ".status.conditions[0].status", "True");
    space.ok("create service clusterip web --tcp=80 --clusterip=172.31.7.3");
    space.ok("delete servicecidr more --wait=false");
    space.wait_field("servicecidr/more", ".status.conditions[0].reason", "Terminating");
    let refused = space.fails("create service clusterip other --tcp=80 --clusterip=172.31.7.4");
    assert!(refused.contains("does not match the current range"), "{refused}");
    space.ok("delete service web");
    eventually("the range is gone", 30, || {
        let left = space.kubectl(&["get", "servicecidr", "more"]);
        match left.result() {
            Ok(left) => Err(left),
            Err(_) => Ok(()),
        }
    });
}
