use serde_json::Value;

use super::*;

fn v3(path: &str) -> Value {
    serde_json::from_slice(&openapi_v3(path).unwrap()).unwrap()
}

#[test]
fn the_index_has_a_hashed_url_for_every_group_version() {
    let index: Value = serde_json::from_slice(&openapi_v3_index()).unwrap();
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
        .as_str()
        .unwrap();
    assert_eq!(url, format!("/openapi/v3/apis/apps/v1?hash={}", openapi_hash()));
    for path in openapi_v3_paths() {
        assert!(openapi_v3(&path).is_some(), "{path}");
    }
    assert!(openapi_v3("apis/apps/v2").is_none() && openapi_v3("nonsense").is_none());
}

#[test]
fn every_reference_leads_somewhere() {
    for path in openapi_v3_paths() {
        let document = v3(&path);
        check_references(&document, &document);
    }
    let document: Value = serde_json::from_slice(&openapi_v2_json()).unwrap();
    check_references(&document, &document);
}

fn check_references(document: &Value, part: &Value) {
    match part {
        Value::Object(map) => {
            if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
                let target = document.pointer(reference.strip_prefix('#').unwrap());
                assert!(target.is_some(), "{reference}");
            }
            map.values().for_each(|value| check_references(document, value));
        }
        Value::Array(list) => list.iter().for_each(|value| check_references(document, value)),
        _ => {}
    }
}

#[test]
fn kubectl_finds_field_validation_and_dry_run_on_patches() {
    let document = v3("apis/apps/v1");
    let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    let names: Vec<&str> = patch["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|param| param["name"].as_str())
        .collect();
    assert_eq!(names, ["dryRun", "fieldManager", "fieldValidation", "force"]);
    assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "Deployment");
    assert_eq!(patch["operationId"], "patchAppsV1NamespacedDeployment");
}

#[test]
fn fields_carry_descriptions_merge_keys_defaults_and_enums() {
    let document = v3("api/v1");
    let schemas = &document["components"]["schemas"];
    let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert!(
        containers["description"]
            .as_str()
            .unwrap()
            .starts_with("List of containers")
    );
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(containers["x-kubernetes-list-map-keys"][0], "name");
    let protocol = &schemas["io.k8s.api.core.v1.ContainerPort"]["properties"]["protocol"];
    assert_eq!(protocol["default"], "TCP");
    assert_eq!(protocol["enum"][1], "TCP");
    let policy = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["restartPolicy"];
    assert!(policy["description"].as_str().unwrap().len() > 20);
}

#[test]
fn the_two_forms_of_v2_have_the_same_definitions() {
    let json: Value = serde_json::from_slice(&openapi_v2_json()).unwrap();
    let protobuf = openapi_v2_protobuf();
    for name in json["definitions"].as_object().unwrap().keys() {
        let found = protobuf
            .windows(name.len())
            .any(|window| window == name.as_bytes());
        assert!(found, "{name}");
    }
    assert_eq!(
        json["definitions"]["io.k8s.api.core.v1.Pod"]["x-kubernetes-group-version-kind"][0]["kind"],
        "Pod"
    );
}
