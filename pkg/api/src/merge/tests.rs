use serde_json::json;

use super::*;
use crate::schema::find_kind;

fn patched(kind: (&str, &str), mut target: Value, patch: Value) -> Result<Value, MergeError> {
    let root = find_kind(kind.0, "v1", kind.1).unwrap();
    strategic_merge(root, &mut target, &patch)?;
    Ok(target)
}

const POD: (&str, &str) = ("", "Pod");
const DEPLOYMENT: (&str, &str) = ("apps", "Deployment");

fn containers(list: Value) -> Value {
    json!({"spec": {"containers": list}})
}

#[test]
fn containers_merge_by_name_and_a_new_one_comes_first() {
    let target = containers(json!([{"name":"a","image":"1","env":[{"name":"X","value":"1"}]},{"name":"b"}]));
    let patch = containers(json!([{"name":"a","image":"2","env":[{"name":"Y","value":"2"}]},{"name":"c"}]));
    let expected = containers(json!([
        {"name":"a","image":"2","env":[{"name":"Y","value":"2"},{"name":"X","value":"1"}]}, {"name":"c"}, {"name":"b"}]));
    assert_eq!(patched(POD, target, patch).unwrap(), expected);
}

#[test]
fn set_element_order_puts_elements_where_kubectl_wants_them() {
    let target = containers(json!([{"name":"a"},{"name":"sidecar"},{"name":"b"}]));
    let patch = json!({"spec": {"$setElementOrder/containers": [{"name":"b"},{"name":"new"},{"name":"a"}],
        "containers": [{"name":"new","image":"x"},{"name":"a","image":"y"}]}});
    // The sidecar stays before what the server had after it.
    let expected = containers(
        json!([{"name":"sidecar"},{"name":"b"},{"name":"new","image":"x"},{"name":"a","image":"y"}]),
    );
    assert_eq!(patched(POD, target, patch).unwrap(), expected);
}

#[test]
fn an_order_that_contradicts_the_patch_is_refused() {
    let patch = json!({"spec": {"$setElementOrder/containers": [{"name":"a"},{"name":"b"}],
        "containers": [{"name":"b"},{"name":"a"}]}});
    assert!(matches!(
        patched(POD, containers(json!([])), patch),
        Err(MergeError::Order { .. })
    ));
}

#[test]
fn a_delete_directive_removes_the_element() {
    let target = containers(json!([{"name":"a"},{"name":"b"}]));
    let patch = containers(json!([{"name":"a","$patch":"delete"}]));
    assert_eq!(
        patched(POD, target, patch).unwrap(),
        containers(json!([{"name":"b"}]))
    );
}

#[test]
fn a_replace_directive_replaces_list_or_map() {
    let target = containers(json!([{"name":"a"},{"name":"b"}]));
    let patch = containers(json!([{"$patch":"replace"},{"name":"c"}]));
    assert_eq!(
        patched(POD, target, patch).unwrap(),
        containers(json!([{"name":"c"}]))
    );
    let target = json!({"metadata":{"labels":{"a":"1","b":"2"}}});
    let patch = json!({"metadata":{"labels":{"$patch":"replace","c":"3"}}});
    assert_eq!(
        patched(POD, target, patch).unwrap(),
        json!({"metadata":{"labels":{"c":"3"}}})
    );
}

#[test]
fn retain_keys_switches_a_union() {
    let target = json!({"spec":{"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":1}}}});
    let patch = json!({"spec":{"strategy":{"$retainKeys":["type"],"type":"Recreate"}}});
    let expected = json!({"spec":{"strategy":{"type":"Recreate"}}});
    assert_eq!(patched(DEPLOYMENT, target.clone(), patch).unwrap(), expected);
    let wrong = json!({"spec":{"strategy":{"$retainKeys":["type"],"rollingUpdate":{}}}});
    assert!(matches!(
        patched(DEPLOYMENT, target, wrong),
        Err(MergeError::RetainKeys)
    ));
}

#[test]
fn a_volume_changes_its_source_by_retain_keys() {
    let target =
        json!({"spec":{"volumes":[{"name":"v","emptyDir":{}},{"name":"w","hostPath":{"path":"/"}}]}});
    let patch = json!({"spec":{"$setElementOrder/volumes":[{"name":"v"},{"name":"w"}],
        "volumes":[{"$retainKeys":["name","configMap"],"name":"v","configMap":{"name":"c"}}]}});
    let expected = json!({"spec":{"volumes":[{"name":"v","configMap":{"name":"c"}},{"name":"w","hostPath":{"path":"/"}}]}});
    assert_eq!(patched(POD, target, patch).unwrap(), expected);
}

#[test]
fn primitive_lists_merge_as_sets_and_shrink_by_directive() {
    let target = json!({"metadata":{"finalizers":["a","b"]}});
    let patch = json!({"metadata":{"$deleteFromPrimitiveList/finalizers":["a"],
        "$setElementOrder/finalizers":["b","c"],"finalizers":["c"]}});
    assert_eq!(
        patched(POD, target, patch).unwrap(),
        json!({"metadata":{"finalizers":["b","c"]}})
    );
}

#[test]
fn lists_without_strategy_are_replaced() {
    let target = containers(json!([{"name":"a","args":["1","2"]}]));
    let patch = containers(json!([{"name":"a","args":["3"]}]));
    assert_eq!(
        patched(POD, target, patch).unwrap(),
        containers(json!([{"name":"a","args":["3"]}]))
    );
}

#[test]
fn nulls_delete_and_are_not_kept() {
    let target = json!({"metadata":{"labels":{"a":"1","b":"2"}}});
    let patch = json!({"metadata":{"labels":{"a":null},"annotations":{"x":null,"y":"1"}},"spec":null});
    let expected = json!({"metadata":{"labels":{"b":"2"},"annotations":{"y":"1"}}});
    assert_eq!(patched(POD, target, patch).unwrap(), expected);
}

#[test]
fn ports_merge_by_container_port_and_service_ports_by_port() {
    let target = containers(json!([{"name":"a","ports":[{"containerPort":80,"protocol":"TCP"}]}]));
    let patch = containers(json!([{"name":"a","ports":[{"containerPort":80,"name":"http"}]}]));
    let expected =
        containers(json!([{"name":"a","ports":[{"containerPort":80,"protocol":"TCP","name":"http"}]}]));
    assert_eq!(patched(POD, target, patch).unwrap(), expected);
    let target = json!({"spec":{"ports":[{"port":80,"targetPort":8080}]}});
    let patch = json!({"spec":{"ports":[{"port":80,"nodePort":30080}]}});
    let expected = json!({"spec":{"ports":[{"port":80,"targetPort":8080,"nodePort":30080}]}});
    assert_eq!(patched(("", "Service"), target, patch).unwrap(), expected);
}

#[test]
fn malformed_patches_say_what_is_wrong() {
    let target = || containers(json!([{"name":"a"}]));
    let error = |patch| patched(POD, target(), patch).unwrap_err().to_string();
    let missing = error(containers(json!([{"image":"x"}])));
    assert_eq!(
        missing,
        "map: {\"image\":\"x\"} does not contain declared merge key: name"
    );
    assert!(error(containers(json!([{"name":"a","$patch":"x"}]))).starts_with("unknown patch type"));
    assert!(error(containers(json!(["x"]))).starts_with("list element types are not identical"));
    assert!(error(json!({"spec":{"$retainKeys":1}})).contains("retainKeys"));
}

#[test]
fn json_merge_follows_rfc_7386() {
    let cases = [
        (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
        (json!({"a":"b"}), json!({"a":null}), json!({})),
        (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
        (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
        (json!([1, 2]), json!({"a":"b","c":null}), json!({"a":"b"})),
        (
            json!({}),
            json!({"a":{"bb":{"ccc":null}}}),
            json!({"a":{"bb":{}}}),
        ),
    ];
    for (mut target, patch, expected) in cases {
        json_merge(&mut target, &patch);
        assert_eq!(target, expected);
    }
}

#[test]
fn a_json_patch_is_all_or_nothing() {
    let mut target = json!({"metadata":{"labels":{"a":"1"}}});
    let good = br#"[{"op":"test","path":"/metadata/labels/a","value":"1"},{"op":"add","path":"/metadata/labels/b","value":"2"}]"#;
    json_patch(&mut target, good).unwrap();
    assert_eq!(target, json!({"metadata":{"labels":{"a":"1","b":"2"}}}));
    let bad = br#"[{"op":"remove","path":"/metadata/labels/a"},{"op":"test","path":"/metadata/labels/b","value":"x"}]"#;
    let error = json_patch(&mut target, bad).unwrap_err();
    assert_eq!(
        error.to_string(),
        "testing value /metadata/labels/b failed: test failed"
    );
    assert_eq!(target, json!({"metadata":{"labels":{"a":"1","b":"2"}}}));
    let error = json_patch(&mut target, br#"[{"op":"remove","path":"/x"}]"#).unwrap_err();
    assert_eq!(
        error.to_string(),
        "remove operation does not apply: doc is missing path: /x: missing value"
    );
    assert!(matches!(
        json_patch(&mut target, b"{}"),
        Err(MergeError::JsonPatchSyntax(_))
    ));
}
