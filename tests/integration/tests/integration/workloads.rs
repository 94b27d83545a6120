//! Deployments down to their pods, rollouts, scale, status: without a node all pods stay pending.

use kobune_test_support::eventually;

use crate::http;
use crate::shared::{Space, deployment};

#[track_caller]
fn wait_pods(space: &Space, count: usize) {
    eventually(&format!("{count} pods"), 20, || match space.names("pods").len() {
        n if n == count => Ok(()),
        n => Err(n.to_string()),
    });
}

#[test]
fn a_deployment_makes_a_replica_set_that_makes_pods() {
    let space = Space::new("chain");
    space.with("create -f -", &deployment("web", "nginx", 3)).ok();
    wait_pods(&space, 3);
    let set = space.names("replicasets").pop().expect("a set made the pods");
    let pod = &space.json("pods")["items"][0];
    let hash = pod["metadata"]["labels"]["pod-template-hash"]
        .as_str()
        .unwrap_or_default();
    assert_eq!(set, format!("web-{hash}"));
    assert_eq!(pod["metadata"]["ownerReferences"][0]["name"], set);
    assert_eq!(pod["spec"]["serviceAccountName"], "default");
    assert_eq!(
        (&pod["status"]["phase"], &pod["status"]["qosClass"]),
        (&"Pending".into(), &"BestEffort".into())
    );
    assert_eq!(
        space.field("deployment/web", ".metadata.generation"),
        "1",
        "a status is no change of what is wanted"
    );
    space.wait_field("deployment/web", ".status.observedGeneration", "1");
    let told = space.ok("describe deployment web");
    assert!(
        told.contains("Scaled up replica set web-") && told.contains("from 0 to 3"),
        "{told}"
    );
    // Self-healing: a pod that goes is replaced.
    let first = space.names("pods").remove(0);
    space.ok(&format!("delete pod {first}"));
    wait_pods(&space, 3);
    assert!(!space.names("pods").contains(&first));
}

#[test]
fn a_pod_without_a_node_says_why_it_waits() {
    let space = Space::new("waiting");
    space.ok("run p --image=nginx");
    eventually("an event", 20, || {
        let text = space.ok("describe pod p");
        let found = text.contains("FailedScheduling") && text.contains("default-scheduler");
        if found { Ok(()) } else { Err(text) }
    });
    let condition = space.field("pod/p", r#".status.conditions[?(@.type=="PodScheduled")].reason"#);
    assert_eq!(condition, "Unschedulable");
    assert!(space.ok("events").contains("FailedScheduling"));
    assert!(
        space
            .ok("get events --field-selector=involvedObject.name=p")
            .contains("FailedScheduling")
    );
}

#[test]
fn a_rollout_has_a_history_and_a_way_back() {
    let space = Space::new("rollout");
    space.with("create -f -", &deployment("web", "nginx:1", 1)).ok();
    space.wait_field(
        "deployment/web",
        r".metadata.annotations.deployment\.kubernetes\.io/revision",
        "1",
    );
    space.ok("set image deployment/web main=nginx:2");
    space.wait_field(
        "deployment/web",
        r".metadata.annotations.deployment\.kubernetes\.io/revision",
        "2",
    );
    let history = space.ok("rollout history deployment/web");
    assert!(history.contains("\n1 ") && history.contains("\n2 "), "{history}");
    assert!(
        space
            .ok("rollout history deployment/web --revision=1")
            .contains("nginx:1")
    );
    space.ok("rollout undo deployment/web");
    space.wait_field(
        "deployment/web",
        r".metadata.annotations.deployment\.kubernetes\.io/revision",
        "3",
    );
    assert_eq!(
        space.field("deployment/web", ".spec.template.spec.containers[0].image"),
        "nginx:1"
    );
    space.ok("rollout pause deployment/web");
    assert!(
        space
            .fails("rollout restart deployment/web")
            .contains("can't restart paused deployment")
    );
    space.ok("rollout resume deployment/web");
    space.ok("rollout restart deployment/web");
    space.wait_field(
        "deployment/web",
        r".metadata.annotations.deployment\.kubernetes\.io/revision",
        "4",
    );
    assert!(
        space
            .fails("rollout status deployment/web --timeout=1s")
            .contains("timed out")
    );
}

#[test]
fn scale_is_a_door_of_its_own() {
    let space = Space::new("scales");
    space.with("create -f -", &deployment("web", "nginx", 1)).ok();
    space.ok("scale deployment web --replicas=2");
    wait_pods(&space, 2);
    assert!(
        space
            .fails("scale deployment web --replicas=1 --current-replicas=9")
            .contains("Expected replicas to be 9, was 2")
    );
    let scale = space.json("deployment/web --subresource=scale");
    assert_eq!(
        (&scale["kind"], &scale["apiVersion"]),
        (&"Scale".into(), &"autoscaling/v1".into())
    );
    assert_eq!(scale["status"]["selector"], "app=web");
    space
        .kubectl(&[
            "patch",
            "deployment",
            "web",
            "--subresource=scale",
            "--type=merge",
            "-p",
            r#"{"spec":{"replicas":0}}"#,
        ])
        .ok();
    wait_pods(&space, 0);
    let negative = space
        .kubectl(&[
            "patch",
            "deployment",
            "web",
            "--subresource=scale",
            "--type=merge",
            "-p",
            r#"{"spec":{"replicas":-1}}"#,
        ])
        .fails();
    assert!(
        negative.contains("spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
        "{negative}"
    );
}

#[test]
fn status_and_spec_have_separate_doors() {
    let space = Space::new("doors");
    space.ok("create job tick --image=busybox");
    let status = r#"{"spec":{"parallelism":9},"status":{"active":5}}"#;
    space
        .kubectl(&["patch", "job", "tick", "--type=merge", "-p", status])
        .ok();
    assert_eq!(space.field("job/tick", ".status.active"), "");
    assert_eq!(space.field("job/tick", ".spec.parallelism"), "9");
    let status = r#"{"spec":{"parallelism":7},"status":{"active":5}}"#;
    space
        .kubectl(&[
            "patch",
            "job",
            "tick",
            "--subresource=status",
            "--type=merge",
            "-p",
            status,
        ])
        .ok();
    assert_eq!(space.field("job/tick", ".status.active"), "5");
    assert_eq!(space.field("job/tick", ".spec.parallelism"), "9");
}

#[test]
fn a_service_gets_an_address_and_slices() {
    let space = Space::new("service");
    space.with("create -f -", &deployment("web", "nginx", 1)).ok();
    space.ok("expose deployment web --port=80 --target-port=8080");
    let address = space.field("service/web", ".spec.clusterIP");
    assert!(address.starts_with("10."), "{address}");
    eventually("a slice", 20, || {
        space.names("endpointslices").pop().ok_or_else(String::new)
    });
    let endpoints = space.kubectl(&["get", "endpoints", "web"]);
    assert!(
        endpoints
            .stderr
            .contains("Warning: v1 Endpoints is deprecated in v1.33+"),
        "{endpoints:?}"
    );
    let twice = format!(
        r#"{{"apiVersion":"v1","kind":"Service","metadata":{{"name":"b"}},"spec":{{"clusterIP":"{address}","ports":[{{"port":80}}]}}}}"#
    );
    assert!(
        space
            .with("create -f -", &twice)
            .fails()
            .contains("provided IP is already allocated")
    );
}

#[test]
fn a_scheduled_pod_is_bound_to_its_node() {
    let space = Space::new("bound");
    let node = r#"{"apiVersion":"v1","kind":"Node","metadata":{"name":"roomy","labels":{"for":"bound"}},
        "status":{"allocatable":{"cpu":"2","memory":"1Gi","pods":"9"},"capacity":{"cpu":"2","memory":"1Gi","pods":"9"},
        "conditions":[{"type":"Ready","status":"True","reason":"Test"}]}}"#;
    space.with("create -f -", node).ok();
    let pod = |name: &str, cpu: &str| {
        format!(
            r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{name}"}},"spec":{{
        "nodeSelector":{{"for":"bound"}},"tolerations":[{{"operator":"Exists"}}],
        "containers":[{{"name":"c","image":"busybox","resources":{{"requests":{{"cpu":"{cpu}"}}}}}}]}}}}"#
        )
    };
    space.with("create -f -", &pod("fits", "1500m")).ok();
    space.wait_field("pod/fits", ".spec.nodeName", "roomy");
    space.with("create -f -", &pod("large", "1")).ok();
    eventually("it is told", 20, || {
        let text = space.field("pod/large", ".status.conditions[0].message");
        if text.contains("Insufficient cpu") {
            Ok(())
        } else {
            Err(text)
        }
    });
    assert!(space.ok("describe node roomy").contains("1500m (75%)"));
    space.ok("cordon roomy");
    assert!(space.ok("get node roomy").contains("SchedulingDisabled"));
    space.ok("uncordon roomy");
    // No kubelet ends the pod: its deletion waits for one, unless it is forced.
    space.ok("delete pod fits --wait=false --grace-period=5");
    assert_eq!(
        space.field("pod/fits", ".metadata.deletionGracePeriodSeconds"),
        "5"
    );
    space.ok("delete pod fits --force --grace-period=0");
    space.wait_gone("pod/fits");
    space.wait_field("pod/large", ".spec.nodeName", "roomy");
    space.ok("delete pod large --force");
    space.ok("delete node roomy");
}

#[test]
fn an_eviction_respects_the_budget() {
    let space = Space::new("evictions");
    space.ok("run p --image=nginx --labels=app=p");
    let evict = r#"{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"p"}}"#;
    http::post(&format!("{}/p/eviction", space.path("pods")), evict).ok();
    space.wait_gone("pod/p");
    http::post(&format!("{}/p/eviction", space.path("pods")), evict).fails(404, "NotFound");
}
