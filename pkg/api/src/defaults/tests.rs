use super::*;
use serde_json::json;

fn defaulted(group: &str, version: &str, kind: &str, mut object: Value) -> Value {
    apply_to(group, version, kind, &mut object);
    let once = object.clone();
    apply_to(group, version, kind, &mut object);
    assert_eq!(object, once, "defaults of {kind} applied twice");
    object
}

#[test]
fn a_small_pod_becomes_what_upstream_stores() {
    let pod = json!({"metadata": {"name": "a"}, "spec": {
        "containers": [{"name": "c", "image": "nginx", "ports": [{"containerPort": 80}],
            "resources": {"limits": {"cpu": 0.5, "memory": "1024Mi"}},
            "livenessProbe": {"httpGet": {"port": 80}}}],
        "volumes": [{"name": "v"}, {"name": "s", "secret": {"secretName": "x"}}]}});
    let want = json!({"metadata": {"name": "a"}, "status": {}, "spec": {
        "containers": [{"name": "c", "image": "nginx", "imagePullPolicy": "Always",
            "ports": [{"containerPort": 80, "protocol": "TCP"}],
            "resources": {"limits": {"cpu": "500m", "memory": "1Gi"},
                          "requests": {"cpu": "500m", "memory": "1Gi"}},
            "livenessProbe": {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "timeoutSeconds": 1,
                "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}],
        "volumes": [{"name": "v", "emptyDir": {}}, {"name": "s", "secret": {"secretName": "x", "defaultMode": 420}}],
        "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "securityContext": {},
        "schedulerName": "default-scheduler", "terminationGracePeriodSeconds": 30, "enableServiceLinks": true}});
    assert_eq!(defaulted("", "v1", "Pod", pod), want);
}

#[test]
fn the_pull_policy_follows_the_tag() {
    for (image, policy) in [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("localhost:5000/nginx", "Always"),
        ("localhost:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:00", "IfNotPresent"),
        ("", "IfNotPresent"),
    ] {
        let pod = json!({"spec": {"containers": [{"image": image}]}});
        let pod = defaulted("", "v1", "Pod", pod);
        assert_eq!(pod["spec"]["containers"][0]["imagePullPolicy"], policy, "{image}");
    }
}

#[test]
fn host_network_makes_container_ports_host_ports() {
    let pod = json!({"spec": {"hostNetwork": true, "containers": [{"ports": [{"containerPort": 80}]}]}});
    let pod = defaulted("", "v1", "Pod", pod);
    assert_eq!(pod["spec"]["containers"][0]["ports"][0]["hostPort"], 80);
}

#[test]
fn pod_level_requests_are_what_the_containers_ask_for() {
    let pod = json!({"spec": {"resources": {"limits": {"cpu": "2", "memory": "1Gi"}}, "containers": [
        {"resources": {"requests": {"cpu": "100m"}}}, {"resources": {"requests": {"cpu": "200m"}}}]}});
    let pod = defaulted("", "v1", "Pod", pod);
    assert_eq!(
        pod["spec"]["resources"]["requests"],
        json!({"cpu": "300m", "memory": "1Gi"})
    );
}

#[test]
fn a_template_has_no_requests_from_limits_and_no_service_links() {
    let set =
        json!({"spec": {"template": {"spec": {"containers": [{"resources": {"limits": {"cpu": "1"}}}]}}}});
    let spec = &defaulted("apps", "v1", "ReplicaSet", set)["spec"]["template"]["spec"];
    assert_eq!(
        spec["containers"][0]["resources"],
        json!({"limits": {"cpu": "1"}})
    );
    assert!(spec.get("enableServiceLinks").is_none());
}

#[test]
fn a_deployment_rolls_by_a_quarter() {
    let d = defaulted(
        "apps",
        "v1",
        "Deployment",
        json!({"spec": {"template": {"spec": {}}}}),
    );
    assert_eq!(
        d["spec"]["strategy"],
        json!({"type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}})
    );
    assert_eq!(
        (&d["spec"]["replicas"], &d["spec"]["progressDeadlineSeconds"]),
        (&json!(1), &json!(600))
    );
    let recreate = json!({"spec": {"replicas": 0, "strategy": {"type": "Recreate"}}});
    let recreate = defaulted("apps", "v1", "Deployment", recreate);
    assert_eq!(recreate["spec"]["strategy"], json!({"type": "Recreate"}));
    assert_eq!(recreate["spec"]["replicas"], 0);
}

#[test]
fn a_service_gets_type_affinity_ports_and_policies() {
    let service = defaulted("", "v1", "Service", json!({"spec": {"ports": [{"port": 80}]}}));
    assert_eq!(
        service,
        json!({"spec": {"type": "ClusterIP", "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster", "ports": [{"port": 80, "targetPort": 80, "protocol": "TCP"}]},
        "status": {"loadBalancer": {}}})
    );
    let balanced = defaulted("", "v1", "Service", json!({"spec": {"type": "LoadBalancer"}}));
    assert_eq!(balanced["spec"]["externalTrafficPolicy"], "Cluster");
    assert_eq!(balanced["spec"]["allocateLoadBalancerNodePorts"], true);
    let name = defaulted("", "v1", "Service", json!({"spec": {"type": "ExternalName"}}));
    assert!(name["spec"].get("internalTrafficPolicy").is_none());
}

#[test]
fn an_update_keeps_what_was_allocated() {
    let old = json!({"spec": {"type": "NodePort", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"],
        "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30080}]}});
    let mut new = json!({"spec": {"type": "NodePort", "ports": [{"port": 80, "protocol": "TCP"}]}});
    keep_allocated(&mut new, &old);
    assert_eq!(new, old);
    // kubectl of old knows one address only.
    let mut cleared = json!({"spec": {"clusterIP": "", "clusterIPs": ["10.0.0.1"], "type": "ClusterIP"}});
    keep_allocated(&mut cleared, &old);
    assert_eq!(cleared["spec"]["clusterIP"], "10.0.0.1");
    let mut other = json!({"spec": {"type": "ExternalName"}});
    keep_allocated(&mut other, &old);
    assert_eq!(other, json!({"spec": {"type": "ExternalName"}}));
}

#[test]
fn a_namespace_is_labelled_with_its_name() {
    let namespace = defaulted("", "v1", "Namespace", json!({"metadata": {"name": "a"}}));
    assert_eq!(
        namespace,
        json!({"metadata": {"name": "a", "labels": {"kubernetes.io/metadata.name": "a"}},
        "spec": {}, "status": {"phase": "Active"}})
    );
}

#[test]
fn a_job_runs_once_unless_it_says_otherwise() {
    let job = json!({"metadata": {}, "spec": {"template": {"metadata": {"labels": {"a": "b"}}}}});
    let job = defaulted("batch", "v1", "Job", job);
    assert_eq!(
        (&job["spec"]["completions"], &job["spec"]["backoffLimit"]),
        (&json!(1), &json!(6))
    );
    assert_eq!(job["metadata"]["labels"], json!({"a": "b"}));
    let parallel = defaulted("batch", "v1", "Job", json!({"spec": {"parallelism": 3}}));
    assert!(parallel["spec"].get("completions").is_none());
}

#[test]
fn no_odd_object_makes_defaulting_panic() {
    for odd in [
        json!(null),
        json!([]),
        json!({"spec": 3}),
        json!({"spec": {"containers": [1], "template": 2}}),
    ] {
        for kind in crate::kinds::builtin() {
            let mut object = odd.clone();
            apply(kind, &mut object);
        }
    }
}
