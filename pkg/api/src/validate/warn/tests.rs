use super::*;
use serde_json::json;

fn of(group: &str, kind: &str, object: &Value, old: Option<&Value>) -> Warnings {
    let mut kinds = crate::kinds::builtin().iter();
    let kind = kinds
        .find(|known| &*known.kind == kind && &*known.group == group)
        .expect("it is served");
    warnings(kind, object, old)
}

#[test]
fn a_plain_pod_is_not_warned_of() {
    let pod = json!({"metadata": {"name": "a"}, "spec": {"containers": [
        {"name": "c", "ports": [{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 80, "protocol": "UDP"}],
         "env": [{"name": "A", "value": "x"}, {"name": "A", "value": "$(A)y"}],
         "resources": {"requests": {"memory": "1Gi", "cpu": "1500m"}}}]}});
    assert_eq!(of("", "Pod", &pod, None), Vec::<String>::new());
}

#[test]
fn what_a_pod_hides_or_leaves_to_chance_is_told_with_its_path() {
    let pod = json!({"metadata": {"name": "a.b"}, "spec": {
        "nodeSelector": {"beta.kubernetes.io/os": "linux"},
        "imagePullSecrets": [{}],
        "topologySpreadConstraints": [{"topologyKey": "zone"}],
        "volumes": [{"name": "v", "rbd": {}}],
        "terminationGracePeriodSeconds": -1,
        "hostAliases": [{"ip": "::0:1"}],
        "containers": [
            {"name": "c", "ports": [{"name": "p", "containerPort": 80, "protocol": "TCP"}],
             "env": [{"name": "A", "value": "x"}, {"name": "A", "value": "y"}],
             "resources": {"limits": {"memory": "100m"}}},
            {"name": "d", "ports": [{"name": "p", "containerPort": 80, "protocol": "TCP"},
                {"containerPort": 80, "protocol": "TCP", "hostPort": 8080}]}]}});
    assert_eq!(
        of("", "Pod", &pod, None),
        [
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]",
            r#"spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead"#,
            "spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod",
            "spec.volumes[0].rbd: deprecated in v1.28, non-functional in v1.31+",
            r#"spec.imagePullSecrets[0].name: invalid empty name """#,
            r#"spec.containers[0].resources.limits[memory]: fractional byte value "100m" is invalid, must be an integer"#,
            r#"spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply"#,
            "spec.containers[1].ports[0]: duplicate port definition with spec.containers[0].ports[0]",
            "spec.containers[1].ports[1]: overlapping port definition with spec.containers[0].ports[0]",
            "spec.containers[1].ports[1]: overlapping port definition with spec.containers[1].ports[0]",
            r#"spec.containers[1].ports[0]: duplicate port name "p" with spec.containers[0].ports[0], services and probes that select ports by name will use spec.containers[0].ports[0]"#,
            "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1",
            r#"spec.hostAliases[0].ip: IPv6 address "::0:1" should be in RFC 5952 canonical format ("::1")"#,
        ]
    );
    assert_eq!(of("", "Pod", &pod, Some(&pod)), Vec::<String>::new());
}

#[test]
fn a_template_is_warned_of_when_it_changes() {
    let deployment = |generation: i64| {
        json!({"metadata": {"name": "a", "generation": generation}, "spec": {"template": {"spec": {
            "nodeSelector": {"beta.kubernetes.io/arch": "amd64"}, "containers": []}}}})
    };
    let told = of("apps", "Deployment", &deployment(2), Some(&deployment(1)));
    assert_eq!(
        told,
        [
            r#"spec.template.spec.nodeSelector[beta.kubernetes.io/arch]: deprecated since v1.14; use "kubernetes.io/arch" instead"#
        ]
    );
    assert!(of("apps", "Deployment", &deployment(1), Some(&deployment(1))).is_empty());
}

#[test]
fn fields_that_a_service_ignores_are_told() {
    let service = json!({"spec": {"type": "ClusterIP", "clusterIP": "None", "sessionAffinity": "ClientIP",
        "externalIPs": ["1.2.3.4"], "externalName": "a.b", "trafficDistribution": "PreferClose"}});
    assert_eq!(
        of("", "Service", &service, None),
        [
            "spec.externalIPs is ignored for headless services",
            "spec.SessionAffinity is ignored for headless services",
            r#"spec.externalName is ignored when spec.type is not "ExternalName""#,
            r#"spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone""#,
        ]
    );
}

#[test]
fn a_quota_with_requests_above_its_limits_is_doubtful() {
    let quota = json!({"spec": {"hard": {"cpu": "2", "limits.cpu": "1", "requests.memory": "1Gi", "limits.memory": "1Gi"}}});
    assert_eq!(
        of("", "ResourceQuota", &quota, None),
        ["ResourceQuota cpu (2) should be less than limits.cpu (1)"]
    );
}
