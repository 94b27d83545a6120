use super::*;
use crate::defaults;
use crate::kinds::find_kind;
use serde_json::{Value, json};

mod kinds;

fn kind(api_version: &str, name: &str) -> &'static Kind {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    find_kind(group, version, name).unwrap()
}

/// The object with metadata and defaults, as it comes to validation.
fn prepared(kind: &Kind, mut object: Value) -> Value {
    let meta = crate::meta::metadata_mut(&mut object);
    meta.entry("name").or_insert_with(|| "a".into());
    if kind.namespaced {
        meta.entry("namespace").or_insert_with(|| "ns".into());
    }
    let root = kind.schema.unwrap();
    crate::decode::apply_defaults(root, &mut object);
    defaults::apply(kind, &mut object);
    crate::decode::complete(root, &mut object);
    object
}

fn messages(errors: Vec<FieldError>) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

fn created(api_version: &str, name: &str, object: Value) -> Vec<String> {
    let kind = kind(api_version, name);
    messages(create(kind, &prepared(kind, object)))
}

fn updated(api_version: &str, name: &str, new: Value, old: Value) -> Vec<String> {
    let kind = kind(api_version, name);
    let (mut new, mut old) = (prepared(kind, new), prepared(kind, old));
    crate::meta::set(&mut new, "resourceVersion", "1");
    crate::meta::set(&mut old, "resourceVersion", "1");
    messages(update(kind, &new, &old))
}

fn pod(spec: Value) -> Value {
    json!({ "spec": spec })
}

fn good_pod() -> Value {
    json!({"spec": {
        "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80, "name": "http"}],
            "env": [{"name": "A", "value": "b"},
                    {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                    {"name": "L", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['x']"}}},
                    {"name": "M", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}}],
            "envFrom": [{"configMapRef": {"name": "cm"}}],
            "volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "a/b"}],
            "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
            "livenessProbe": {"httpGet": {"port": "http"}}, "readinessProbe": {"exec": {"command": ["true"]}},
            "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
            "securityContext": {"runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}}],
        "initContainers": [{"name": "s", "image": "i", "restartPolicy": "Always",
            "startupProbe": {"tcpSocket": {"port": 80}}}],
        "volumes": [{"name": "v"}, {"name": "cm", "configMap": {"name": "x"}},
            {"name": "d", "downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
            {"name": "h", "hostPath": {"path": "/x", "type": "Directory"}}],
        "nodeSelector": {"a": "b"}, "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["x"]}],
        "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}],
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}]}}},
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]}})
}

#[test]
fn a_good_pod_has_no_errors() {
    assert_eq!(created("v1", "Pod", good_pod()), [""; 0]);
}

#[test]
fn mistakes_of_a_pod_are_told_with_path_reason_and_value() {
    for (spec, want) in [
        (json!({}), "spec.containers: Required value"),
        (json!({"containers": []}), "spec.containers: Required value"),
        (
            json!({"containers": [{"name": "c"}]}),
            "spec.containers[0].image: Required value",
        ),
        (
            json!({"containers": [{"name": "c", "image": "i"}, {"name": "c", "image": "i"}]}),
            "spec.containers[1].name: Duplicate value: \"c\"",
        ),
        (
            json!({"containers": [{"name": "c", "image": "i"}], "restartPolicy": "Sometimes"}),
            "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"",
        ),
        (
            json!({"containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/x"}]}]}),
            "spec.containers[0].volumeMounts[0].name: Not found: \"v\"",
        ),
        (
            json!({"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}]}),
            "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
        ),
        (
            json!({"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 70000}]}]}),
            "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            json!({"containers": [{"name": "c", "image": "i", "livenessProbe": {}}]}),
            "spec.containers[0].livenessProbe: Required value: must specify a handler type",
        ),
        (
            json!({"containers": [{"name": "c", "image": "i"}], "volumes": [{"name": "v", "secret": {}}]}),
            "spec.volumes[0].secret.secretName: Required value",
        ),
        (
            json!({"containers": [{"name": "c", "image": "i"}], "securityContext": {"sysctls": [{"name": "a..b"}]}}),
            "spec.securityContext.sysctls[0].name: Invalid value: \"a..b\": must have at most 253 characters and \
             match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$",
        ),
    ] {
        assert_eq!(created("v1", "Pod", pod(spec.clone())), [want], "{spec}");
    }
}

#[test]
fn names_labels_and_annotations_are_checked_for_every_kind() {
    let metadata = json!({"name": "A", "labels": {"a": "-"}, "annotations": {"b c": ""}, "finalizers": ["x y"],
        "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": ""}]});
    let errors = created("v1", "ConfigMap", json!({ "metadata": metadata }));
    let fields: Vec<&str> = errors.iter().filter_map(|e| e.split(':').next()).collect();
    assert_eq!(
        fields,
        [
            "metadata.name",
            "metadata.labels",
            "metadata.annotations",
            "metadata.ownerReferences.uid",
            "metadata.finalizers"
        ]
    );
    let kind = kind("v1", "ConfigMap");
    let nameless = json!({"metadata": {"namespace": "ns"}});
    assert_eq!(
        messages(create(kind, &nameless)),
        ["metadata.name: Required value: name or generateName is required"]
    );
    let big = json!({"metadata": {"annotations": {"a": "x".repeat(262_144)}}});
    assert_eq!(
        created("v1", "ConfigMap", big),
        ["metadata.annotations: Too long: may not be more than 262144 bytes"]
    );
}

#[test]
fn an_update_needs_a_version_and_keeps_the_identity() {
    let kind = kind("v1", "ConfigMap");
    let old = prepared(
        kind,
        json!({"metadata": {"uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"}}),
    );
    let mut new = old.clone();
    crate::meta::set(&mut new, "uid", "other");
    assert_eq!(
        messages(update(kind, &new, &old)),
        [
            "metadata.resourceVersion: Invalid value: \"\": must be specified for an update",
            "metadata.uid: Invalid value: \"other\": field is immutable"
        ]
    );
}

#[test]
fn a_deleted_object_takes_no_new_finalizers() {
    let meta = |finalizers: Value| json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": finalizers}});
    assert_eq!(
        updated(
            "v1",
            "ConfigMap",
            meta(json!(["a/b", "c/d"])),
            meta(json!(["a/b"]))
        ),
        [
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found \
          new finalizers []string{\"c/d\"}"
        ]
    );
    assert_eq!(
        updated("v1", "ConfigMap", meta(json!([])), meta(json!(["a/b"]))),
        [""; 0]
    );
}

#[test]
fn of_a_pod_only_images_deadline_and_more_tolerations_may_change() {
    let change = |edit: &dyn Fn(&mut Value)| {
        let mut new = good_pod();
        edit(&mut new["spec"]);
        updated("v1", "Pod", new, good_pod())
    };
    assert_eq!(change(&|_| ()), [""; 0]);
    assert_eq!(change(&|s| s["containers"][0]["image"] = json!("j")), [""; 0]);
    assert_eq!(change(&|s| s["activeDeadlineSeconds"] = json!(5)), [""; 0]);
    let more = json!({"key": "z", "operator": "Exists"});
    assert_eq!(
        change(&|s| s["tolerations"].as_array_mut().unwrap().push(more.clone())),
        [""; 0]
    );
    assert_eq!(
        change(&|s| s["tolerations"] = json!([])),
        ["spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"]
    );
    let errors = change(&|s| s["hostname"] = json!("h"));
    assert_eq!(
        errors,
        [
            "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,\
          `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to \
          existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was \
          previously negative)\n+ hostname: \"h\""
        ]
    );
    let container = json!({"name": "d", "image": "i"});
    assert_eq!(
        change(&|s| s["containers"].as_array_mut().unwrap().push(container.clone())),
        ["spec.containers: Forbidden: pod updates may not add or remove containers"]
    );
}

#[test]
fn an_ended_container_stays_ended_where_the_policy_says_so() {
    let kind = kind("v1", "Pod");
    let pod = |policy: &str, state: Value| {
        let mut pod = prepared(kind, good_pod());
        crate::meta::set(&mut pod, "resourceVersion", "1");
        pod["spec"]["restartPolicy"] = json!(policy);
        pod["status"] = json!({"containerStatuses": [{"name": "c", "state": state}]});
        pod
    };
    let ended = json!({"terminated": {"exitCode": 0}});
    let run = |policy| {
        let (new, old) = (pod(policy, json!({"running": {}})), pod(policy, ended.clone()));
        messages(status_update(kind, &new, &old))
    };
    assert_eq!(run("Always"), [""; 0]);
    assert_eq!(
        run("Never"),
        ["status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"]
    );
}
