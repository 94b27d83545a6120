use serde_json::json;

use super::*;
use crate::schema::find_kind;

const T0: &str = "2026-11-21T10:00:00Z";

fn at(minute: i64) -> Timestamp {
    let start: Timestamp = T0.parse().unwrap();
    Timestamp::from_second(start.as_second() + minute * 60).unwrap()
}

fn root(kind: &str) -> Option<TypeId> {
    let group = if kind == "Deployment" { "apps" } else { "" };
    Some(find_kind(group, "v1", kind).unwrap())
}

fn apply(kind: &str, live: Option<&Value>, applied: Value, manager: &str) -> Result<Value, ApplyError> {
    server_side_apply(root(kind), live, applied, manager, false, "", at(1))
}

fn config_map(data: Value) -> Value {
    json!({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"n"},"data":data})
}

fn deployment(spec: Value) -> Value {
    json!({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d","namespace":"n"},"spec":spec})
}

fn fields<'v>(object: &'v Value, manager: &str) -> &'v Value {
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    let entry = entries.iter().find(|entry| entry["manager"] == manager);
    entry.map_or(&Value::Null, |entry| &entry["fieldsV1"])
}

#[test]
fn an_apply_creates_and_owns_what_it_says() {
    let object = apply("ConfigMap", None, config_map(json!({"k":"v"})), "one").unwrap();
    let expected = json!([{"apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:data":{"f:k":{}}},
        "manager":"one","operation":"Apply","time":"2026-11-21T10:01:00Z"}]);
    assert_eq!(object["metadata"]["managedFields"], expected);
    assert_eq!(object["data"], json!({"k":"v"}));
}

#[test]
fn the_name_stays_when_all_other_metadata_is_dropped() {
    let mut labelled = config_map(json!({"k":"v"}));
    labelled["metadata"]["labels"] = json!({"l":"1"});
    let live = apply("ConfigMap", None, labelled, "one").unwrap();
    let object = apply("ConfigMap", Some(&live), config_map(json!({"k":"v"})), "one").unwrap();
    assert_eq!(object["metadata"]["name"], "a");
    assert_eq!(object["metadata"]["labels"], Value::Null);
}

#[test]
fn an_apply_without_change_changes_nothing() {
    let live = apply("ConfigMap", None, config_map(json!({"k":"v"})), "one").unwrap();
    let again = server_side_apply(
        root("ConfigMap"),
        Some(&live),
        config_map(json!({"k":"v"})),
        "one",
        false,
        "",
        at(5),
    );
    assert_eq!(again.unwrap(), live);
}

#[test]
fn what_is_no_longer_applied_goes() {
    let live = apply("ConfigMap", None, config_map(json!({"k":"v","l":"w"})), "one").unwrap();
    let next = apply("ConfigMap", Some(&live), config_map(json!({"l":"w"})), "one").unwrap();
    assert_eq!(next["data"], json!({"l":"w"}));
    assert_eq!(fields(&next, "one"), &json!({"f:data":{"f:l":{}}}));
}

#[test]
fn what_another_applies_too_stays() {
    let live = apply("ConfigMap", None, config_map(json!({"k":"v","l":"w"})), "one").unwrap();
    let both = apply("ConfigMap", Some(&live), config_map(json!({"k":"v"})), "two").unwrap();
    let next = apply("ConfigMap", Some(&both), config_map(json!({"l":"w"})), "one").unwrap();
    assert_eq!(next["data"], json!({"k":"v","l":"w"}));
    assert_eq!(fields(&next, "two"), &json!({"f:data":{"f:k":{}}}));
}

#[test]
fn another_value_conflicts_until_forced() {
    let live = apply("Deployment", None, deployment(json!({"replicas":1})), "one").unwrap();
    let error = apply(
        "Deployment",
        Some(&live),
        deployment(json!({"replicas":2})),
        "two",
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"one\": .spec.replicas"
    );
    let ApplyError::Conflicts(conflicts) = error else {
        panic!("not a conflict")
    };
    assert_eq!(
        conflicts,
        [Conflict {
            manager: "\"one\"".into(),
            field: ".spec.replicas".into()
        }]
    );
    let forced = server_side_apply(
        root("Deployment"),
        Some(&live),
        deployment(json!({"replicas":2})),
        "two",
        true,
        "",
        at(2),
    )
    .unwrap();
    assert_eq!(forced["spec"]["replicas"], 2);
    assert_eq!(fields(&forced, "one"), &Value::Null);
    assert_eq!(fields(&forced, "two"), &json!({"f:spec":{"f:replicas":{}}}));
}

#[test]
fn several_conflicts_are_listed_by_manager() {
    let live = config_map(json!({"k":"v","l":"w"}));
    let mut live = apply("ConfigMap", None, live, "one").unwrap();
    let old = live.clone();
    live["data"]["m"] = "x".into();
    track_update(
        root("ConfigMap"),
        Some(&old),
        &mut live,
        "edit",
        Operation::Update,
        "",
        at(2),
    );
    let error = apply(
        "ConfigMap",
        Some(&live),
        config_map(json!({"k":"1","l":"2","m":"3"})),
        "two",
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 3 conflicts: conflicts with \"edit\" using v1:\n- .data.m\nconflicts with \"one\":\n\
         - .data.k\n- .data.l"
    );
}

#[test]
fn list_elements_are_owned_by_their_keys() {
    let containers = |list: Value| deployment(json!({"template":{"spec":{"containers":list}}}));
    let one = containers(json!([{"name":"a","image":"1","ports":[{"containerPort":80}]}]));
    let live = apply("Deployment", None, one, "one").unwrap();
    let expected = json!({"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{".":{},
        "f:image":{},"f:name":{},
        "f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}}}}}}}});
    assert_eq!(fields(&live, "one"), &expected);
    let two = containers(json!([{"name":"side","image":"2"}]));
    let live = apply("Deployment", Some(&live), two, "two").unwrap();
    let names = |object: &Value| -> Vec<String> {
        let list = object["spec"]["template"]["spec"]["containers"]
            .as_array()
            .unwrap();
        list.iter()
            .map(|container| container["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&live), ["a", "side"]);
    let live = apply(
        "Deployment",
        Some(&live),
        containers(json!([{"name":"b","image":"1"}])),
        "one",
    )
    .unwrap();
    assert_eq!(names(&live), ["side", "b"]);
}

#[test]
fn the_applied_order_wins() {
    let env = |list: Value| deployment(json!({"template":{"spec":{"containers":[{"name":"a","env":list}]}}}));
    let live = apply(
        "Deployment",
        None,
        env(json!([{"name":"A"},{"name":"B"},{"name":"C"}])),
        "one",
    )
    .unwrap();
    let next = apply(
        "Deployment",
        Some(&live),
        env(json!([{"name":"C"},{"name":"A"},{"name":"B"}])),
        "one",
    )
    .unwrap();
    let list = &next["spec"]["template"]["spec"]["containers"][0]["env"];
    assert_eq!(list, &json!([{"name":"C"},{"name":"A"},{"name":"B"}]));
}

#[test]
fn atomic_parts_are_owned_as_a_whole() {
    let spec = json!({"selector":{"matchLabels":{"a":"b"}},
        "template":{"spec":{"tolerations":[{"key":"x"}],"nodeSelector":{"n":"1"}}}});
    let live = apply("Deployment", None, deployment(spec), "one").unwrap();
    let expected = json!({"f:spec":{"f:selector":{},
        "f:template":{"f:spec":{"f:nodeSelector":{},"f:tolerations":{}}}}});
    assert_eq!(fields(&live, "one"), &expected);
}

#[test]
fn an_update_takes_what_it_changes() {
    let mut live = config_map(json!({"k":"v","l":"w"}));
    track_update(
        root("ConfigMap"),
        None,
        &mut live,
        "create",
        Operation::Update,
        "",
        at(0),
    );
    assert_eq!(
        fields(&live, "create"),
        &json!({"f:data":{".":{},"f:k":{},"f:l":{}}})
    );
    let mut next = live.clone();
    next["data"]["k"] = "new".into();
    track_update(
        root("ConfigMap"),
        Some(&live),
        &mut next,
        "edit",
        Operation::Update,
        "",
        at(1),
    );
    assert_eq!(fields(&next, "create"), &json!({"f:data":{".":{},"f:l":{}}}));
    assert_eq!(fields(&next, "edit"), &json!({"f:data":{"f:k":{}}}));
    assert_eq!(
        next["metadata"]["managedFields"][1]["time"],
        "2026-11-21T10:01:00Z"
    );
}

#[test]
fn an_update_without_change_keeps_the_entries() {
    let mut live = config_map(json!({"k":"v"}));
    track_update(
        root("ConfigMap"),
        None,
        &mut live,
        "create",
        Operation::Update,
        "",
        at(0),
    );
    let mut next = config_map(json!({"k":"v"}));
    next["metadata"]["resourceVersion"] = "7".into();
    track_update(
        root("ConfigMap"),
        Some(&live),
        &mut next,
        "edit",
        Operation::Update,
        "",
        at(1),
    );
    assert_eq!(
        next["metadata"]["managedFields"],
        live["metadata"]["managedFields"]
    );
}

#[test]
fn a_deployments_creation_is_tracked_as_upstream_does() {
    let mut object = deployment(
        json!({"replicas":1,"selector":{"matchLabels":{"app":"w"}},"strategy":{"type":"Recreate"},
        "template":{"metadata":{"labels":{"app":"w"}},"spec":{"containers":[{"name":"c","image":"i","resources":{}}]}}}),
    );
    object["metadata"]["labels"] = json!({"app":"w"});
    crate::decode::complete(root("Deployment").unwrap(), &mut object);
    track_update(
        root("Deployment"),
        None,
        &mut object,
        "kubectl-create",
        Operation::Update,
        "",
        at(0),
    );
    let expected = json!({"f:metadata":{"f:labels":{".":{},"f:app":{}}},
        "f:spec":{"f:replicas":{},"f:selector":{},"f:strategy":{"f:type":{}},
        "f:template":{"f:metadata":{"f:labels":{".":{},"f:app":{}}},
        "f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:image":{},"f:name":{},"f:resources":{}}}}}}});
    assert_eq!(fields(&object, "kubectl-create"), &expected);
}

#[test]
fn a_status_write_owns_status_only_and_says_so() {
    let mut live = deployment(json!({"replicas":1}));
    crate::decode::complete(root("Deployment").unwrap(), &mut live);
    track_update(
        root("Deployment"),
        None,
        &mut live,
        "create",
        Operation::Update,
        "",
        at(0),
    );
    let mut next = live.clone();
    next["status"] = json!({"replicas":1,"conditions":[{"type":"Available","status":"True"}]});
    next["spec"]["replicas"] = 5.into();
    track_update(
        root("Deployment"),
        Some(&live),
        &mut next,
        "controller",
        Operation::Update,
        "status",
        at(1),
    );
    let entry = &next["metadata"]["managedFields"][1];
    assert_eq!(entry["subresource"], "status");
    let expected = json!({"f:status":{"f:conditions":{".":{},"k:{\"type\":\"Available\"}":{".":{},"f:status":{},"f:type":{}}},
        "f:replicas":{}}});
    assert_eq!(entry["fieldsV1"], expected);
}

#[test]
fn cleared_entries_end_the_tracking() {
    let mut live = config_map(json!({"k":"v"}));
    track_update(
        root("ConfigMap"),
        None,
        &mut live,
        "create",
        Operation::Update,
        "",
        at(0),
    );
    let mut next = live.clone();
    next["metadata"]["managedFields"] = json!([{}]);
    next["data"]["k"] = "w".into();
    track_update(
        root("ConfigMap"),
        Some(&live),
        &mut next,
        "edit",
        Operation::Update,
        "",
        at(1),
    );
    assert_eq!(next["metadata"].get("managedFields"), None);
}

#[test]
fn the_first_apply_of_an_untracked_object_meets_its_former_writers() {
    let live = config_map(json!({"k":"v"}));
    let error = apply("ConfigMap", Some(&live), config_map(json!({"k":"w"})), "one").unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.k"
    );
}

#[test]
fn kubectl_takes_over_what_it_applied_from_the_client() {
    let mut live = config_map(json!({"k":"v","l":"w"}));
    let last = config_map(json!({"k":"v"})).to_string();
    live["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/last-applied-configuration": last});
    track_update(
        root("ConfigMap"),
        None,
        &mut live,
        "kubectl-client-side-apply",
        Operation::Update,
        "",
        at(0),
    );
    let next = apply(
        "ConfigMap",
        Some(&live),
        config_map(json!({"k":"new"})),
        "kubectl",
    )
    .unwrap();
    assert_eq!(next["data"], json!({"k":"new","l":"w"}));
    let annotation = &next["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"];
    let applied: Value = serde_json::from_str(annotation.as_str().unwrap()).unwrap();
    assert_eq!(applied, config_map(json!({"k":"new"})));
    let error = apply("ConfigMap", Some(&live), config_map(json!({"l":"x"})), "kubectl").unwrap_err();
    assert!(error.to_string().ends_with("using v1: .data.l"), "{error}");
    assert!(apply("ConfigMap", Some(&live), config_map(json!({"k":"new"})), "helm").is_err());
}

#[test]
fn a_configuration_that_does_not_fit_is_refused() {
    let error = apply("Deployment", None, deployment(json!({"replicass":1})), "one").unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to create typed patch object (n/d; apps/v1, Kind=Deployment): .spec.replicass: field not declared in schema"
    );
    let twice = deployment(json!({"template":{"spec":{"containers":[{"name":"a"},{"name":"a"}]}}}));
    let error = apply("Deployment", None, twice, "one").unwrap_err().to_string();
    assert!(
        error.ends_with(".spec.template.spec.containers: duplicate entries for key [name=\"a\"]"),
        "{error}"
    );
    let mut managed = config_map(json!({}));
    managed["metadata"]["managedFields"] = json!([{"manager":"x"}]);
    assert!(matches!(
        apply("ConfigMap", None, managed, "one"),
        Err(ApplyError::ManagedFields)
    ));
}

#[test]
fn equal_quantities_do_not_conflict() {
    let limits = |cpu: Value| {
        deployment(
            json!({"template":{"spec":{"containers":[{"name":"a","resources":{"limits":{"cpu":cpu}}}]}}}),
        )
    };
    let live = apply("Deployment", None, limits(json!("1")), "one").unwrap();
    let next = apply("Deployment", Some(&live), limits(json!("1000m")), "two").unwrap();
    assert_eq!(next["spec"], live["spec"]);
}

#[test]
fn a_custom_resource_without_schema_merges_maps_and_replaces_lists() {
    let object = |spec: Value| json!({"apiVersion":"e/v1","kind":"X","metadata":{"name":"x"},"spec":spec});
    let live = server_side_apply(
        None,
        None,
        object(json!({"a":{"b":1},"l":[1,2]})),
        "one",
        false,
        "",
        at(0),
    )
    .unwrap();
    let next = server_side_apply(
        None,
        Some(&live),
        object(json!({"a":{"c":2}})),
        "two",
        false,
        "",
        at(1),
    )
    .unwrap();
    assert_eq!(next["spec"], json!({"a":{"b":1,"c":2},"l":[1,2]}));
    let error = server_side_apply(
        None,
        Some(&live),
        object(json!({"l":[3]})),
        "two",
        false,
        "",
        at(1),
    )
    .unwrap_err();
    assert!(error.to_string().contains(".spec.l"));
}

#[test]
fn old_updaters_are_put_together() {
    let mut live = config_map(json!({}));
    for n in 0..14 {
        let old = (n > 0).then(|| live.clone());
        live["data"][format!("k{n}")] = "v".into();
        track_update(
            root("ConfigMap"),
            old.as_ref(),
            &mut live,
            &format!("m{n}"),
            Operation::Update,
            "",
            at(n),
        );
    }
    let entries = live["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(entries.len(), 10);
    assert_eq!(entries[0]["manager"], "ancient-changes");
    assert!(fields(&live, "ancient-changes")["f:data"].get("f:k4").is_some());
}
