//! Every kind but pods.

use super::*;

fn deployment() -> Value {
    json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
        "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
}

#[test]
fn a_deployment_selects_its_template() {
    assert_eq!(created("apps/v1", "Deployment", deployment()), [""; 0]);
    let mut other = deployment();
    other["spec"]["template"]["metadata"]["labels"] = json!({"a": "c"});
    assert_eq!(
        created("apps/v1", "Deployment", other),
        [
            "spec.template.metadata.labels: Invalid value: {\"a\":\"c\"}: `selector` does not match template `labels`"
        ]
    );
    let mut none = deployment();
    none["spec"].as_object_mut().unwrap().remove("selector");
    let errors = created("apps/v1", "Deployment", none);
    assert_eq!(errors[0], "spec.selector: Required value");
    let mut negative = deployment();
    negative["spec"]["replicas"] = json!(-1);
    assert_eq!(
        created("apps/v1", "Deployment", negative),
        ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]
    );
    let mut once = deployment();
    once["spec"]["template"]["spec"]["restartPolicy"] = json!("Never");
    assert_eq!(
        created("apps/v1", "Deployment", once),
        ["spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""]
    );
}

#[test]
fn selectors_are_immutable() {
    let mut new = deployment();
    new["spec"]["selector"]["matchLabels"] = json!({"a": "c"});
    new["spec"]["template"]["metadata"]["labels"] = json!({"a": "c"});
    assert_eq!(
        updated("apps/v1", "Deployment", new, deployment()),
        ["spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"c\"}}: field is immutable"]
    );
}

#[test]
fn a_rolling_update_moves_something() {
    let mut still = deployment();
    still["spec"]["strategy"] = json!({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}});
    assert_eq!(
        created("apps/v1", "Deployment", still),
        [
            "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": may not be 0 when `maxSurge` is 0"
        ]
    );
}

#[test]
fn other_workloads_are_checked_alike() {
    assert_eq!(created("apps/v1", "ReplicaSet", deployment()), [""; 0]);
    assert_eq!(created("apps/v1", "DaemonSet", deployment()), [""; 0]);
    let mut set = deployment();
    set["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}]);
    set["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] =
        json!([{"name": "data", "mountPath": "/d"}]);
    assert_eq!(created("apps/v1", "StatefulSet", set.clone()), [""; 0]);
    let mut renamed = set.clone();
    renamed["spec"]["serviceName"] = json!("x");
    assert!(
        updated("apps/v1", "StatefulSet", renamed, set)[0]
            .starts_with("spec: Forbidden: updates to statefulset")
    );
    let mut job = deployment();
    job["spec"]["template"]["spec"]["restartPolicy"] = json!("Never");
    assert_eq!(created("batch/v1", "Job", job), [""; 0]);
    let mut cron = json!({"spec": {"schedule": "*/5 * * * *", "jobTemplate": deployment()}});
    cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["restartPolicy"] = json!("OnFailure");
    assert_eq!(created("batch/v1", "CronJob", cron), [""; 0]);
}

#[test]
fn a_frozen_config_map_and_secret_stay() {
    let frozen = json!({"immutable": true, "data": {"a": "b"}});
    assert_eq!(
        updated(
            "v1",
            "ConfigMap",
            json!({"immutable": true, "data": {"a": "c"}}),
            frozen.clone()
        ),
        ["data: Forbidden: field is immutable when `immutable` is set"]
    );
    assert_eq!(
        updated(
            "v1",
            "Secret",
            json!({"data": {"a": "Yg=="}}),
            json!({"immutable": true, "data": {"a": "Yg=="}})
        ),
        ["immutable: Forbidden: field is immutable when `immutable` is set"]
    );
}

#[test]
fn data_is_checked_by_key_size_and_type() {
    assert!(
        created("v1", "ConfigMap", json!({"data": {"a/b": ""}}))[0]
            .starts_with("data[a/b]: Invalid value: \"a/b\": a valid config key must consist of")
    );
    assert_eq!(
        created("v1", "ConfigMap", json!({"data": {"a": "x".repeat(1_048_577)}})),
        [": Too long: may not be more than 1048576 bytes"]
    );
    assert_eq!(
        created(
            "v1",
            "Secret",
            json!({"type": "kubernetes.io/tls", "data": {"tls.crt": ""}})
        ),
        ["data[tls.key]: Required value"]
    );
    assert_eq!(
        updated("v1", "Secret", json!({"type": "x"}), json!({"type": "y"})),
        ["type: Invalid value: \"x\": field is immutable"]
    );
}

#[test]
fn a_service_keeps_its_address() {
    let service = |ip: &str| json!({"spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"port": 80}], "selector": {"a": "b"}}});
    assert_eq!(created("v1", "Service", service("10.0.0.1")), [""; 0]);
    assert_eq!(created("v1", "Service", service("None")), [""; 0]);
    assert_eq!(
        updated("v1", "Service", service("10.0.0.2"), service("10.0.0.1")),
        ["spec.clusterIPs[0]: Invalid value: [\"10.0.0.2\"]: may not change once set"]
    );
    assert_eq!(
        created("v1", "Service", json!({"spec": {}})),
        ["spec.ports: Required value"]
    );
    assert_eq!(
        created(
            "v1",
            "Service",
            json!({"spec": {"ports": [{"port": 80}, {"port": 81}]}})
        ),
        [
            "spec.ports[0].name: Required value",
            "spec.ports[1].name: Required value"
        ]
    );
    assert_eq!(
        created(
            "v1",
            "Service",
            json!({"spec": {"type": "X", "ports": [{"port": 80}]}})
        )[0],
        "spec.type: Unsupported value: \"X\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\""
    );
}

#[test]
fn the_other_named_kinds_accept_what_upstream_accepts() {
    for (api_version, kind, object) in [
        ("v1", "Namespace", json!({"spec": {"finalizers": ["kubernetes"]}})),
        ("v1", "ServiceAccount", json!({})),
        (
            "v1",
            "Node",
            json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}], "podCIDRs": ["10.42.0.0/24"]},
            "status": {"capacity": {"cpu": "4", "pods": "110", "example.com/x": "1"}}}),
        ),
        (
            "v1",
            "Event",
            json!({"involvedObject": {"kind": "Pod", "name": "p", "namespace": "ns"}}),
        ),
        (
            "v1",
            "Endpoints",
            json!({"subsets": [{"addresses": [{"ip": "10.42.0.5"}], "ports": [{"port": 80}]}]}),
        ),
        (
            "coordination.k8s.io/v1",
            "Lease",
            json!({"spec": {"holderIdentity": "x", "leaseDurationSeconds": 40}}),
        ),
        (
            "discovery.k8s.io/v1",
            "EndpointSlice",
            json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.42.0.5"]}],
            "ports": [{"port": 80}]}),
        ),
        (
            "v1",
            "PersistentVolumeClaim",
            json!({"spec": {"accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}}}}),
        ),
        (
            "v1",
            "PersistentVolume",
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
            "hostPath": {"path": "/x"}}}),
        ),
        (
            "storage.k8s.io/v1",
            "StorageClass",
            json!({"provisioner": "kobune.io/local-path"}),
        ),
        (
            "rbac.authorization.k8s.io/v1",
            "ClusterRole",
            json!({"metadata": {"name": "system:x"},
            "rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}, {"verbs": ["get"], "nonResourceURLs": ["/x"]}]}),
        ),
        (
            "rbac.authorization.k8s.io/v1",
            "ClusterRoleBinding",
            json!({"roleRef": {"kind": "ClusterRole", "name": "x"},
            "subjects": [{"kind": "Group", "name": "g"}, {"kind": "ServiceAccount", "name": "s", "namespace": "n"}]}),
        ),
        (
            "networking.k8s.io/v1",
            "Ingress",
            json!({"spec": {"rules": [{"host": "a.b", "http": {"paths": [
            {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "s", "port": {"number": 80}}}}]}}]}}),
        ),
        (
            "networking.k8s.io/v1",
            "NetworkPolicy",
            json!({"spec": {"ingress": [{"ports": [{"port": 80}],
            "from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]}}),
        ),
        ("scheduling.k8s.io/v1", "PriorityClass", json!({"value": 5})),
        (
            "policy/v1",
            "PodDisruptionBudget",
            json!({"spec": {"maxUnavailable": "50%"}}),
        ),
        (
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            json!({"spec": {"maxReplicas": 3,
            "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}}}),
        ),
        (
            "v1",
            "ResourceQuota",
            json!({"spec": {"hard": {"pods": "10", "requests.cpu": "1"}}}),
        ),
        (
            "v1",
            "LimitRange",
            json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}}]}}),
        ),
    ] {
        assert_eq!(created(api_version, kind, object), [""; 0], "{kind}");
    }
}

#[test]
fn the_schema_says_what_is_required_where_no_code_does() {
    let errors = created("node.k8s.io/v1", "RuntimeClass", json!({}));
    assert_eq!(errors, ["handler: Required value"]);
}

#[test]
fn a_binding_names_a_node() {
    assert_eq!(
        messages(binding(&json!({"target": {}}))),
        ["target.name: Required value"]
    );
    assert_eq!(
        messages(binding(&json!({"target": {"kind": "Node", "name": "n"}}))),
        [""; 0]
    );
}

#[test]
fn no_odd_object_makes_validation_panic() {
    let odd = [
        json!({}),
        json!({"metadata": 3, "spec": []}),
        json!({"spec": {"containers": [1, null, {}], "template": 2, "volumes": [{"x": 1}], "ports": [null]}}),
        json!({"spec": {"template": {"spec": {"containers": {"a": 1}}}, "selector": "x"}, "status": 5, "data": []}),
        json!({"metadata": {"labels": [], "finalizers": {"a": 1}, "ownerReferences": [1]}, "subsets": [1], "rules": 1}),
    ];
    for kind in crate::kinds::builtin() {
        for object in &odd {
            create(kind, object);
            update(kind, object, &odd[0]);
            update(kind, &odd[0], object);
            status_update(kind, object, object);
        }
    }
}

#[test]
fn a_verdict_on_a_signing_request_stays() {
    let request = |status: serde_json::Value| json!({"metadata": {"name": "r", "resourceVersion": "1"}, "spec": {}, "status": status});
    let approved = request(json!({"conditions": [{"type": "Approved", "status": "True"}]}));
    let kind = crate::kinds::builtin()
        .iter()
        .find(|kind| &*kind.kind == "CertificateSigningRequest")
        .expect("it is served");
    let wrong = |new: &serde_json::Value| -> Vec<String> {
        let errors = super::super::subresource_update(kind, "approval", new, &approved);
        errors
            .iter()
            .map(|error| format!("{}: {}", error.field, error.body()))
            .collect()
    };
    assert_eq!(wrong(&approved), Vec::<String>::new());
    assert_eq!(
        wrong(&request(
            json!({"conditions": [{"type": "Denied", "status": "True"}]})
        )),
        [r#"status.conditions: Forbidden: updates may not remove a condition of type "Approved""#]
    );
    let both = json!({"conditions": [{"type": "Approved", "status": "True"}, {"type": "Denied", "status": "False"}],
        "certificate": "eA=="});
    assert_eq!(wrong(&request(both)).len(), 3);
}
