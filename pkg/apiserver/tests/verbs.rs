//! What every kind does with every verb.

mod support;

use http::Method;
use serde_json::{Value, json};
use support::Api;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}})
}

#[tokio::test]
async fn a_new_object_gets_what_only_the_server_gives() {
    let api = Api::new().await;
    let made = api.post(MAPS, &map("x")).await;
    assert_eq!(made.code, 201);
    let made = made.ok();
    assert_eq!(made["metadata"]["namespace"], "default");
    for field in ["uid", "creationTimestamp", "resourceVersion"] {
        assert!(made["metadata"][field].is_string(), "{field}");
    }
    assert_eq!(api.get(&format!("{MAPS}/x")).await.ok(), made);
    let status = api.post(MAPS, &map("x")).await.fails(409, "AlreadyExists");
    assert_eq!(status["message"], "configmaps \"x\" already exists");
    let status = api.get(&format!("{MAPS}/y")).await.fails(404, "NotFound");
    assert_eq!(status["details"]["kind"], "configmaps");
}

#[tokio::test]
async fn a_generated_name_is_unique() {
    let api = Api::new().await;
    let mut object = map("");
    object["metadata"] = json!({"generateName": "x-"});
    let one = api.post(MAPS, &object).await.ok();
    let two = api.post(MAPS, &object).await.ok();
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap_or("").to_owned();
    assert!(name(&one).starts_with("x-") && name(&one).len() == 7);
    assert_ne!(name(&one), name(&two));
}

#[tokio::test]
async fn an_update_at_an_old_version_conflicts() {
    let api = Api::new().await;
    let first = api.post(MAPS, &map("x")).await.ok();
    let path = format!("{MAPS}/x");
    let mut second = first.clone();
    second["data"]["a"] = "2".into();
    let second = api.put(&path, &second).await.ok();
    assert_ne!(
        first["metadata"]["resourceVersion"],
        second["metadata"]["resourceVersion"]
    );
    let mut stale = first.clone();
    stale["data"]["a"] = "3".into();
    let status = api.put(&path, &stale).await.fails(409, "Conflict");
    assert!(
        status["message"]
            .as_str()
            .is_some_and(|text| text.contains("the object has been modified"))
    );
    stale["metadata"]
        .as_object_mut()
        .expect("metadata")
        .remove("resourceVersion");
    assert_eq!(api.put(&path, &stale).await.ok()["data"]["a"], "3");
}

#[tokio::test]
async fn an_update_that_changes_nothing_keeps_the_version() {
    let api = Api::new().await;
    let first = api.post(MAPS, &map("x")).await.ok();
    assert_eq!(api.put(&format!("{MAPS}/x"), &first).await.ok(), first);
    let patch = json!({"data": {"a": "1"}});
    assert_eq!(api.merge(&format!("{MAPS}/x"), &patch).await.ok(), first);
}

#[tokio::test]
async fn patches_of_three_types_change_an_object() {
    let api = Api::new().await;
    api.post(MAPS, &map("x")).await.ok();
    let path = format!("{MAPS}/x");
    let merged = api
        .merge(&path, &json!({"data": {"b": "2", "a": null}}))
        .await
        .ok();
    assert_eq!(merged["data"], json!({"b": "2"}));
    let media = [("content-type", "application/json-patch+json")];
    let body = json!([{"op": "add", "path": "/data/c", "value": "3"}]).to_string();
    assert_eq!(
        api.with(Method::PATCH, &path, &media, body).await.ok()["data"]["c"],
        "3"
    );
    let media = [("content-type", "application/strategic-merge-patch+json")];
    let body = json!({"metadata": {"labels": {"l": "v"}}}).to_string();
    assert_eq!(
        api.with(Method::PATCH, &path, &media, body).await.ok()["metadata"]["labels"]["l"],
        "v"
    );
    let media = [("content-type", "text/plain")];
    api.with(Method::PATCH, &path, &media, "{}")
        .await
        .fails(415, "UnsupportedMediaType");
    let media = [("content-type", "application/merge-patch+json")];
    api.with(Method::PATCH, &path, &media, "{")
        .await
        .fails(400, "BadRequest");
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let api = Api::new().await;
    api.post(&format!("{MAPS}?dryRun=All"), &map("x")).await.ok();
    api.get(&format!("{MAPS}/x")).await.fails(404, "NotFound");
    let first = api.post(MAPS, &map("x")).await.ok();
    api.merge(&format!("{MAPS}/x?dryRun=All"), &json!({"data": {"a": "9"}}))
        .await
        .ok();
    api.delete(&format!("{MAPS}/x?dryRun=All")).await.ok();
    assert_eq!(api.get(&format!("{MAPS}/x")).await.ok(), first);
    api.post(&format!("{MAPS}?dryRun=Some"), &map("y"))
        .await
        .fails(422, "Invalid");
}

#[tokio::test]
async fn unknown_fields_are_dropped_warned_of_or_refused() {
    let api = Api::new().await;
    let mut odd = map("x");
    odd["datum"] = json!({"a": 1});
    let made = api.post(MAPS, &odd).await;
    assert!(made.ok().get("datum").is_none());
    let warning = made.headers["warning"].to_str().expect("text").to_owned();
    assert_eq!(warning, "299 - \"unknown field \\\"datum\\\"\"");
    let status = api
        .post(&format!("{MAPS}?fieldValidation=Strict"), &odd)
        .await
        .fails(400, "BadRequest");
    assert!(
        status["message"]
            .as_str()
            .is_some_and(|text| text.contains("unknown field \"datum\""))
    );
    odd["metadata"]["name"] = "y".into();
    let made = api.post(&format!("{MAPS}?fieldValidation=Ignore"), &odd).await;
    assert!(made.headers.get("warning").is_none());
}

#[tokio::test]
async fn finalizers_hold_an_object_until_the_last_is_gone() {
    let api = Api::new().await;
    let mut held = map("x");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    api.post(MAPS, &held).await.ok();
    let path = format!("{MAPS}/x");
    let marked = api.delete(&path).await.ok();
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    let status = api.post(MAPS, &map("x")).await.fails(409, "AlreadyExists");
    assert!(
        status["message"]
            .as_str()
            .is_some_and(|text| text.starts_with("object is being deleted: "))
    );
    api.merge(&path, &json!({"metadata": {"finalizers": null}}))
        .await
        .ok();
    api.get(&path).await.fails(404, "NotFound");
}

#[tokio::test]
async fn a_delete_answers_with_what_it_deleted() {
    let api = Api::new().await;
    let made = api.post(MAPS, &map("x")).await.ok();
    let wrong = json!({"preconditions": {"uid": "nobody"}});
    api.delete_with(&format!("{MAPS}/x"), &wrong)
        .await
        .fails(409, "Conflict");
    let status = api.delete(&format!("{MAPS}/x")).await.ok();
    assert_eq!(status["status"], "Success");
    assert_eq!(status["details"]["uid"], made["metadata"]["uid"]);
    api.delete(&format!("{MAPS}/x")).await.fails(404, "NotFound");
}

#[tokio::test]
async fn a_collection_is_deleted_by_selector() {
    let api = Api::new().await;
    for (name, label) in [("a", "x"), ("b", "y"), ("c", "x")] {
        let mut object = map(name);
        object["metadata"]["labels"] = json!({"l": label});
        api.post(MAPS, &object).await.ok();
    }
    api.delete(&format!("{MAPS}?labelSelector=l%3Dx")).await.ok();
    let left = api.get(MAPS).await.ok();
    let names: Vec<&Value> = left["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|item| &item["metadata"]["name"])
        .collect();
    assert_eq!(names, ["b"]);
}

#[tokio::test]
async fn bad_input_gets_the_right_status() {
    let api = Api::new().await;
    let json = [("content-type", "application/json")];
    api.with(Method::POST, MAPS, &json, "garbage")
        .await
        .fails(400, "BadRequest");
    api.with(Method::POST, MAPS, &json, vec![b' '; 4 << 20])
        .await
        .fails(413, "RequestEntityTooLarge");
    api.with(Method::POST, MAPS, &[("content-type", "text/html")], "{}")
        .await
        .fails(415, "UnsupportedMediaType");
    api.with(Method::GET, MAPS, &[("accept", "text/html")], "")
        .await
        .fails(406, "NotAcceptable");
    api.get(&format!("{MAPS}?labelSelector=a%3D%3D%3Db"))
        .await
        .fails(400, "BadRequest");
    api.get(&format!("{MAPS}?fieldSelector=spec.what%3Db"))
        .await
        .fails(400, "BadRequest");
    api.get(&format!("{MAPS}?limit=ten"))
        .await
        .fails(400, "BadRequest");
    assert_eq!(api.get("/api/v1/namespaces/default/nothings").await.code, 404);
    assert_eq!(api.get("/apis/none/v1/x").await.code, 404);
    let mut other = map("x");
    other["metadata"]["namespace"] = "elsewhere".into();
    api.post(MAPS, &other).await.fails(400, "BadRequest");
    api.post("/api/v1/namespaces/nowhere/configmaps", &map("x"))
        .await
        .fails(404, "NotFound");
    other = map("x");
    other["apiVersion"] = "v2".into();
    api.post(MAPS, &other).await.fails(400, "BadRequest");
    api.with(Method::PUT, MAPS, &json, "{}")
        .await
        .fails(405, "MethodNotAllowed");
}
