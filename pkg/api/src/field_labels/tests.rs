use super::*;
use crate::kinds::find_kind;
use serde_json::json;

fn matcher(group: &str, kind: &str, selector: &str) -> Result<FieldMatcher, SelectorError> {
    let kind = find_kind(group, "v1", kind).unwrap();
    FieldMatcher::new(kind, &FieldSelector::parse(selector).unwrap())
}

fn matches(group: &str, kind: &str, selector: &str, object: &Value) -> bool {
    let matcher = matcher(group, kind, selector).unwrap();
    let in_tree = matcher.matches(object);
    assert_eq!(
        matcher.matches_bytes(object.to_string().as_bytes()),
        in_tree,
        "{selector}"
    );
    in_tree
}

#[test]
fn fields_are_read_alike_from_bytes_and_trees() {
    let pod = json!({"metadata": {"name": "a"}, "spec": {"nodeName": "n\"1", "x": [{"nodeName": 1}]},
        "status": {"phase": "Running"}});
    assert!(matches(
        "",
        "Pod",
        "spec.nodeName=n\"1,status.phase=Running",
        &pod
    ));
    assert!(matches("", "Pod", "spec.host=n\"1", &pod));
    assert!(matches("", "Pod", "spec.hostNetwork=false", &pod));
    assert!(!matches("", "Pod", "status.phase!=Running", &pod));
    assert!(matches(
        "",
        "Node",
        "spec.unschedulable=true",
        &json!({"spec": {"unschedulable": true}})
    ));
    assert!(matches(
        "batch",
        "Job",
        "status.successful=2",
        &json!({"status": {"succeeded": 2}})
    ));
    assert!(matches("batch", "Job", "status.successful=0", &json!({})));
}

#[test]
fn an_event_is_selected_by_the_names_of_either_group() {
    let event = json!({"involvedObject": {"name": "p"}, "source": {"component": "kubelet"}});
    assert!(matches(
        "",
        "Event",
        "involvedObject.name=p,source=kubelet",
        &event
    ));
    assert!(matches("events.k8s.io", "Event", "regarding.name=p", &event));
    assert!(matcher("events.k8s.io", "Event", "source=x").is_err());
}

#[test]
fn unknown_fields_are_refused_in_upstreams_words() {
    for (group, kind, selector, message) in [
        ("", "Pod", "spec.x=1", "field label not supported: spec.x"),
        (
            "apps",
            "Deployment",
            "spec.x=1",
            "\"spec.x\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
        ),
        (
            "batch",
            "Job",
            "spec.x=1",
            "field label \"spec.x\" not supported for Job",
        ),
    ] {
        assert_eq!(matcher(group, kind, selector).unwrap_err().0, message);
    }
}

#[test]
fn a_selector_of_one_name_says_so() {
    let one = matcher("", "ConfigMap", "metadata.name=a,metadata.namespace=b").unwrap();
    assert_eq!(
        (one.name.as_deref(), one.namespace.as_deref()),
        (Some("a"), Some("b"))
    );
}

#[test]
fn a_custom_resource_selects_by_its_selectable_fields() {
    let kind = find_kind("apps", "v1", "Deployment").unwrap();
    let selector = FieldSelector::parse("spec.color=red").unwrap();
    let matcher = FieldMatcher::with_selectable(kind, &selector, &[".spec.color"]).unwrap();
    assert!(matcher.matches_bytes(b"{\"spec\":{\"color\":\"red\"}}"));
    assert!(!matcher.matches_bytes(b"{\"spec\":{\"color\":[\"red\"]}}"));
}
