use super::*;
use crate::kinds::{builtin, find_kind};

const CREATED: &str = "2026-01-02T03:00:00Z";

fn now() -> Timestamp {
    "2026-01-02T03:05:10Z".parse().unwrap()
}

/// The cells of an object, by their columns' names.
fn shown(
    group: &str,
    version: &str,
    kind: &str,
    mut object: Value,
) -> std::collections::BTreeMap<String, Value> {
    crate::meta::set(&mut object, "creationTimestamp", CREATED);
    let kind = find_kind(group, version, kind).unwrap();
    let cells = cells(kind, &object, now());
    columns(kind)
        .iter()
        .map(|c| c.name.to_owned())
        .zip(cells)
        .collect()
}

fn pod(spec: Value, status: Value) -> [String; 3] {
    let shown = shown("", "v1", "Pod", json!({"spec": spec, "status": status}));
    ["Ready", "Status", "Restarts"].map(|c| shown[c].as_str().unwrap().to_owned())
}

#[test]
fn a_running_pod_shows_ready_containers_and_restarts() {
    let status = json!({"phase": "Running", "containerStatuses": [
        {"name": "a", "ready": true, "restartCount": 2, "state": {"running": {}},
         "lastState": {"terminated": {"finishedAt": "2026-01-02T03:00:10Z"}}},
        {"name": "b", "ready": false, "restartCount": 0, "state": {"running": {}}}]});
    assert_eq!(
        pod(json!({"containers": [{}, {}]}), status),
        ["1/2", "Running", "2 (5m ago)"]
    );
}

#[test]
fn a_waiting_or_ended_container_tells_why() {
    let spec = json!({"containers": [{}]});
    let one = |state: Value| json!({"phase": "Running", "containerStatuses": [{"restartCount": 0, "state": state}]});
    for (state, reason) in [
        (
            json!({"waiting": {"reason": "CrashLoopBackOff"}}),
            "CrashLoopBackOff",
        ),
        (
            json!({"waiting": {"reason": "ImagePullBackOff"}}),
            "ImagePullBackOff",
        ),
        (
            json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}),
            "OOMKilled",
        ),
        (json!({"terminated": {"exitCode": 3}}), "ExitCode:3"),
        (json!({"terminated": {"exitCode": 0, "signal": 9}}), "Signal:9"),
        (
            json!({"terminated": {"exitCode": 0, "reason": "Completed"}}),
            "Completed",
        ),
    ] {
        assert_eq!(pod(spec.clone(), one(state))[1], reason);
    }
}

#[test]
fn an_initializing_pod_counts_its_init_containers() {
    let spec = json!({"containers": [{}], "initContainers": [{"name": "x"}, {"name": "y"}]});
    let done = json!({"name": "x", "restartCount": 0, "state": {"terminated": {"exitCode": 0}}});
    for (state, reason) in [
        (json!({"running": {}}), "Init:1/2"),
        (json!({"waiting": {"reason": "PodInitializing"}}), "Init:1/2"),
        (
            json!({"waiting": {"reason": "CrashLoopBackOff"}}),
            "Init:CrashLoopBackOff",
        ),
        (
            json!({"terminated": {"exitCode": 1, "reason": "Error"}}),
            "Init:Error",
        ),
        (json!({"terminated": {"exitCode": 1}}), "Init:ExitCode:1"),
    ] {
        let status = json!({"phase": "Pending", "initContainerStatuses": [
            done, {"name": "y", "restartCount": 1, "state": state}]});
        assert_eq!(pod(spec.clone(), status), ["0/1", reason, "1"]);
    }
}

#[test]
fn a_started_sidecar_counts_as_a_container() {
    let spec = json!({"containers": [{}], "initContainers": [{"name": "s", "restartPolicy": "Always"}]});
    let status = json!({"phase": "Running",
        "initContainerStatuses": [{"name": "s", "started": true, "ready": true, "restartCount": 1, "state": {"running": {}}}],
        "containerStatuses": [{"ready": true, "restartCount": 0, "state": {"running": {}}}]});
    assert_eq!(pod(spec, status), ["2/2", "Running", "1"]);
}

#[test]
fn a_deleted_pod_is_terminating_until_it_has_ended() {
    for (phase, status) in [("Running", "Terminating"), ("Succeeded", "Succeeded")] {
        let object = json!({"metadata": {"deletionTimestamp": CREATED}, "status": {"phase": phase}});
        assert_eq!(shown("", "v1", "Pod", object)["Status"], status);
    }
}

#[test]
fn workloads_show_ready_of_wanted() {
    let deployment = json!({"spec": {"replicas": 3, "selector": {"matchLabels": {"a": "b"}}, "template": {"spec": {
        "containers": [{"name": "c", "image": "i"}, {"name": "d", "image": "j"}]}}}, "status": {"readyReplicas": 2}});
    let shown_ = shown("apps", "v1", "Deployment", deployment);
    assert_eq!(
        (&shown_["Ready"], &shown_["Images"], &shown_["Selector"]),
        (&json!("2/3"), &json!("i,j"), &json!("a=b"))
    );
    let job = shown(
        "batch",
        "v1",
        "Job",
        json!({"spec": {"parallelism": 2}, "status": {
        "succeeded": 1, "startTime": CREATED, "completionTime": "2026-01-02T03:00:07Z",
        "conditions": [{"type": "Complete", "status": "True"}]}}),
    );
    assert_eq!(
        (&job["Status"], &job["Completions"], &job["Duration"]),
        (&json!("Complete"), &json!("1/1 of 2"), &json!("7s"))
    );
}

#[test]
fn a_service_shows_addresses_and_ports() {
    let service = json!({"spec": {"type": "LoadBalancer", "clusterIPs": ["10.0.0.1"], "selector": {"a": "b"},
        "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}});
    let shown = shown("", "v1", "Service", service);
    assert_eq!(shown["Cluster-IP"], "10.0.0.1");
    assert_eq!(shown["External-IP"], "<pending>");
    assert_eq!(shown["Port(s)"], "80:30080/TCP,53/UDP");
    assert_eq!(shown["Age"], "5m10s");
}

#[test]
fn a_node_shows_readiness_roles_and_addresses() {
    let node = json!({"metadata": {"labels": {"node-role.kubernetes.io/control-plane": "", "x": "y"}},
        "spec": {"unschedulable": true},
        "status": {"conditions": [{"type": "Ready", "status": "True"}], "addresses": [{"type": "InternalIP", "address": "1.2.3.4"}],
            "nodeInfo": {"kubeletVersion": "v1.36.0", "kernelVersion": "6.1", "architecture": "amd64"}}});
    let shown = shown("", "v1", "Node", node);
    assert_eq!(shown["Status"], "Ready,SchedulingDisabled");
    assert_eq!(shown["Roles"], "control-plane");
    assert_eq!(
        (&shown["Internal-IP"], &shown["External-IP"]),
        (&json!("1.2.3.4"), &json!("<none>"))
    );
    assert_eq!(shown["Kernel-Version"], "6.1 (amd64)");
}

#[test]
fn an_event_shows_when_what_and_who() {
    let event = json!({"type": "Warning", "reason": "Failed", "message": " no \n", "count": 3,
        "involvedObject": {"kind": "Pod", "name": "p"}, "source": {"component": "kubelet", "host": "n"},
        "firstTimestamp": CREATED, "lastTimestamp": "2026-01-02T03:05:00Z"});
    let shown = shown("", "v1", "Event", event);
    assert_eq!(
        (&shown["Last Seen"], &shown["First Seen"]),
        (&json!("10s"), &json!("5m10s"))
    );
    assert_eq!(
        (&shown["Object"], &shown["Source"]),
        (&json!("pod/p"), &json!("kubelet, n"))
    );
    assert_eq!((&shown["Message"], &shown["Count"]), (&json!("no"), &json!(3)));
}

#[test]
fn more_than_three_endpoints_are_counted() {
    let addresses: Vec<Value> = (1..=5).map(|i| json!({"ip": format!("10.0.0.{i}")})).collect();
    let endpoints = json!({"subsets": [{"addresses": addresses, "ports": [{"port": 80}]}]});
    let shown = shown("", "v1", "Endpoints", endpoints);
    assert_eq!(
        shown["Endpoints"],
        "10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 2 more..."
    );
}

#[test]
fn an_autoscaler_shows_what_it_measures() {
    let hpa = json!({"spec": {"maxReplicas": 5, "scaleTargetRef": {"kind": "Deployment", "name": "d"}, "metrics": [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}},
        {"type": "External", "external": {"target": {"averageValue": "1000m"}}}, {"type": "Pods", "pods": {}}]},
        "status": {"currentMetrics": [{"resource": {"current": {"averageUtilization": 7}}}]}});
    let shown = shown("autoscaling", "v2", "HorizontalPodAutoscaler", hpa);
    assert_eq!(shown["Targets"], "cpu: 7%/80%, <unknown>/1 (avg) + 1 more...");
}

#[test]
fn every_kind_has_a_name_and_as_many_cells_as_columns() {
    for kind in builtin() {
        for object in [
            json!({}),
            json!(null),
            json!({"spec": [], "status": 3, "metadata": {"labels": 1}}),
        ] {
            assert_eq!(cells(kind, &object, now()).len(), columns(kind).len());
        }
        assert!(columns(kind).iter().any(|c| c.name == "Name"), "{}", kind.kind);
    }
}

#[test]
fn a_pod_that_has_ended_has_a_row_condition() {
    let kind = find_kind("", "v1", "Pod").unwrap();
    assert_eq!(
        conditions(kind, &json!({"status": {"phase": "Failed"}})).unwrap()[0]["reason"],
        "Failed"
    );
    assert!(conditions(kind, &json!({"status": {"phase": "Running"}})).is_none());
}
