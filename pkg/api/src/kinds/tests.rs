use super::*;

#[test]
fn a_deployment_is_a_namespaced_row_with_status_and_scale() {
    let kind = find_resource("apps", "v1", "deployments").unwrap();
    assert_eq!(kind.api_version(), "apps/v1");
    assert_eq!(kind.group_resource(), "deployments.apps");
    assert_eq!(&*kind.list_kind, "DeploymentList");
    assert!(kind.namespaced && kind.has_verb("deletecollection"));
    let scale = kind.subresource("scale").unwrap();
    assert_eq!(
        (scale.api_version().as_str(), &*scale.kind),
        ("autoscaling/v1", "Scale")
    );
}

#[test]
fn an_eviction_is_a_body_of_another_group() {
    let pods = find_kind("", "v1", "Pod").unwrap();
    let eviction = pods.subresource("eviction").unwrap();
    assert_eq!(
        (&*eviction.group, &*eviction.version, &*eviction.kind),
        ("policy", "v1", "Eviction")
    );
    assert!(pods.categories.iter().any(|name| &**name == "all"));
}

#[test]
fn groups_start_with_core_and_prefer_the_newest_version() {
    let groups = groups();
    assert_eq!(&*groups[0].name, "");
    let autoscaling = groups.iter().find(|group| &*group.name == "autoscaling").unwrap();
    assert_eq!(
        autoscaling.versions.iter().map(|v| &**v).collect::<Vec<_>>(),
        ["v2", "v1"]
    );
}

#[test]
fn only_what_is_stored_has_a_storage_version() {
    for kind in builtin() {
        let stored = kind.has_verb("watch");
        assert_eq!(
            !kind.storage_version_hash.is_empty(),
            stored,
            "{}",
            kind.group_resource()
        );
    }
}
