//! Quotas and limit ranges: what a namespace may hold, and what its containers get.

use kobune_test_support::eventually;
use serde_json::{Value, json};

use crate::http;
use crate::shared::Space;

/// A pod with a container that has these resources.
fn pod(name: &str, resources: Value) -> String {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "x", "resources": resources}]}})
    .to_string()
}

fn used(space: &Space, quota: &str) -> Value {
    space.json(&format!("quota/{quota}"))["status"]["used"].clone()
}

#[test]
fn a_quota_counts_objects_as_they_come_and_go() {
    let space = Space::new("counted");
    let hard = [
        "pods=5,cpu=1,memory=500Mi,requests.example.com/dongle=3",
        "services=10,services.nodeports=1,services.loadbalancers=1",
        "replicationcontrollers=5,resourcequotas=1,configmaps=10,secrets=10",
        "persistentvolumeclaims=5,requests.storage=10Gi,count/replicasets.apps=5",
    ];
    space.ok(&format!("create quota all --hard={}", hard.join(",")));
    // It counts itself at once, and the certificate's ConfigMap as soon as it is there.
    eventually("everything there is counted", 10, || {
        let used = used(&space, "all");
        match (&used["resourcequotas"], &used["configmaps"]) {
            (quotas, maps) if quotas == "1" && maps == "1" => Ok(()),
            _ => Err(used.to_string()),
        }
    });
    let before = used(&space, "all");
    let wanted = json!({"requests": {"cpu": "500m", "memory": "252Mi", "example.com/dongle": "2"},
        "limits": {"example.com/dongle": "2"}});
    space.with("create -f -", &pod("p", wanted)).ok();
    let after = used(&space, "all");
    assert_eq!(
        json!([
            after["pods"],
            after["cpu"],
            after["memory"],
            after["requests.example.com/dongle"]
        ]),
        json!(["1", "500m", "252Mi", "2"])
    );
    for (object, counted) in [
        ("configmap m", "configmaps"),
        ("secret generic s --from-literal=k=v", "secrets"),
        ("service nodeport n --tcp=80", "services.nodeports"),
    ] {
        let had = used(&space, "all")[counted].clone();
        space.ok(&format!("create {object}"));
        assert_ne!(used(&space, "all")[counted], had, "{object}");
    }
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    space.with("create -f -", &claim.to_string()).ok();
    assert_eq!(used(&space, "all")["requests.storage"], "1Gi");
    space.ok("delete pod/p configmap/m secret/s service/n pvc/c --wait=false");
    eventually("all is given back", 10, || match used(&space, "all") {
        used if used == before => Ok(()),
        used => Err(used.to_string()),
    });
}

#[test]
fn what_exceeds_a_quota_is_refused() {
    let space = Space::new("exceeded");
    space.ok("create quota small --hard=pods=2,cpu=1,resourcequotas=1");
    let asks = |cpu: &str| json!({"requests": {"cpu": cpu}});
    space.with("create -f -", &pod("a", asks("500m"))).ok();
    for (object, message) in [
        (
            pod("b", asks("600m")),
            r#"pods "b" is forbidden: exceeded quota: small, requested: cpu=600m, used: cpu=500m, limited: cpu=1"#,
        ),
        (
            pod("b", json!({})),
            r#"pods "b" is forbidden: failed quota: small: must specify cpu for: c"#,
        ),
    ] {
        let refused = space.with("create -f -", &object).fails();
        assert!(refused.contains(message), "{refused}");
        // Nor does a dry run promise what could not be done.
        space.with("create --dry-run=server -f -", &object).fails();
    }
    space.ok("run --dry-run=server c --image=x --overrides={\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"x\",\"resources\":{\"requests\":{\"cpu\":\"1m\"}}}]}}");
    assert_eq!(used(&space, "small")["pods"], "1");
    assert!(
        space
            .fails("create quota another --hard=pods=1")
            .contains("exceeded quota: small")
    );
    // A pod that has ended needs nothing any more.
    space.ok("patch pod a --subresource=status -p {\"status\":{\"phase\":\"Succeeded\"}}");
    assert_eq!(
        used(&space, "small"),
        json!({"cpu": "0", "pods": "0", "resourcequotas": "1"})
    );
    space.with("create -f -", &pod("b", asks("600m"))).ok();
}

#[test]
fn many_writers_together_stay_within_a_quota() {
    let space = Space::new("together");
    space.ok("create quota few --hard=count/secrets=5");
    std::thread::scope(|scope| {
        for n in 0..10 {
            let space = &space;
            scope.spawn(move || {
                let secret = format!(r#"{{"metadata":{{"name":"s{n}"}}}}"#);
                http::post(&space.path("secrets"), &secret).code
            });
        }
    });
    assert_eq!(space.names("secrets").len(), 5);
    assert_eq!(used(&space, "few")["count/secrets"], "5");
}

#[test]
fn a_scope_chooses_the_pods_that_a_quota_counts() {
    let space = Space::new("scopes");
    for scope in ["BestEffort", "NotBestEffort", "Terminating", "NotTerminating"] {
        let name = scope.to_lowercase();
        space.ok(&format!("create quota {name} --hard=pods=5 --scopes={scope}"));
    }
    let counts = || {
        ["besteffort", "notbesteffort", "terminating", "notterminating"]
            .map(|name| used(&space, name)["pods"].as_str().unwrap_or("").to_owned())
    };
    space.with("create -f -", &pod("a", json!({}))).ok();
    assert_eq!(counts(), ["1", "0", "0", "1"]);
    let mut ending: Value =
        serde_json::from_str(&pod("b", json!({"requests": {"cpu": "1m"}}))).expect("it was just written");
    ending["spec"]["activeDeadlineSeconds"] = 3600.into();
    space.with("create -f -", &ending.to_string()).ok();
    assert_eq!(counts(), ["1", "1", "1", "1"]);
    space.ok("delete pod a b --now");
    assert_eq!(counts(), ["0", "0", "0", "0"]);
}

#[test]
fn a_quotas_status_returns_to_its_spec() {
    let space = Space::new("quota-status");
    space.ok("create quota q --hard=cpu=500m,memory=500Mi");
    let shown = space.kubectl(&[
        "patch",
        "quota",
        "q",
        "--subresource=status",
        "-o",
        "jsonpath={.status.hard.cpu}",
        "-p",
        r#"{"status":{"hard":{"cpu":"2"}}}"#,
    ]);
    assert_eq!(shown.ok(), "2");
    assert_eq!(space.field("quota/q", ".spec.hard.cpu"), "500m");
    space.wait_field("quota/q", ".status.hard.cpu", "500m");
    space.ok("patch quota q -p {\"spec\":{\"hard\":{\"cpu\":\"750m\"}}}");
    assert_eq!(
        space.field("quota/q", ".status.hard"),
        r#"{"cpu":"750m","memory":"500Mi"}"#
    );
}

#[test]
fn a_controller_says_that_a_quota_holds_it_back() {
    let space = Space::new("held-back");
    space.ok("create quota two --hard=pods=2");
    let controller = json!({"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "web"},
        "spec": {"replicas": 3, "selector": {"a": "b"}, "template": {"metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "x"}]}}}});
    space.with("create -f -", &controller.to_string()).ok();
    let failure = r#".status.conditions[?(@.type=="ReplicaFailure")].status"#;
    space.wait_field("rc/web", failure, "True");
    space.ok("scale rc web --replicas=2");
    space.wait_field("rc/web", failure, "");
}

#[test]
fn a_limit_range_gives_defaults_and_sets_bounds() {
    let space = Space::new("bounded");
    let range = json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "r"}, "spec": {"limits": [
        {"type": "Container", "min": {"cpu": "50m"}, "max": {"cpu": "500m"}, "default": {"cpu": "400m", "memory": "1Gi"},
         "defaultRequest": {"cpu": "100m"}},
        {"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}}]}});
    space.with("create -f -", &range.to_string()).ok();
    space
        .with("create -f -", &pod("a", json!({"limits": {"cpu": "200m"}})))
        .ok();
    let given = space.json("pod/a")["spec"]["containers"][0]["resources"].clone();
    assert_eq!(
        given,
        json!({"requests": {"cpu": "200m", "memory": "1Gi"}, "limits": {"cpu": "200m", "memory": "1Gi"}}),
        "a request that is not there is the limit, the rest is the range's"
    );
    assert_eq!(
        space.field("pod/a", r".metadata.annotations.kubernetes\.io/limit-ranger"),
        "LimitRanger plugin set: memory request for container c; memory limit for container c"
    );
    let small = space
        .with("create -f -", &pod("b", json!({"requests": {"cpu": "10m"}})))
        .fails();
    assert!(
        small
            .contains(r#"pods "b" is forbidden: minimum cpu usage per Container is 50m, but request is 10m"#),
        "{small}"
    );
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}}});
    let large = space.with("create -f -", &claim.to_string()).fails();
    assert!(
        large.contains("maximum storage usage per PersistentVolumeClaim is 1Gi, but request is 2Gi"),
        "{large}"
    );
    space.ok("delete limitrange r");
    space
        .with("create -f -", &pod("b", json!({"requests": {"cpu": "10m"}})))
        .ok();
}
