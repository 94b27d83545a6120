//! Server-side apply and who owns which field.

mod support;

use http::Method;
use serde_json::{Value, json};
use support::{Answer, Api};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": data})
}

async fn apply(api: &Api, manager: &str, force: bool, intent: &Value) -> Answer {
    let path = format!("{MAPS}/x?fieldManager={manager}&force={force}");
    let media = [("content-type", "application/apply-patch+yaml")];
    api.with(Method::PATCH, &path, &media, intent.to_string()).await
}

#[tokio::test]
async fn an_intent_creates_changes_and_removes() {
    let api = Api::new().await;
    let made = apply(&api, "me", false, &map(json!({"a": "1", "b": "2"}))).await;
    assert_eq!(made.code, 201);
    assert_eq!(made.ok()["metadata"]["managedFields"][0]["manager"], "me");
    let changed = apply(&api, "me", false, &map(json!({"a": "3"}))).await;
    assert_eq!(changed.code, 200);
    assert_eq!(changed.ok()["data"], json!({"a": "3"}));
}

#[tokio::test]
async fn anothers_field_is_a_conflict_unless_forced() {
    let api = Api::new().await;
    apply(&api, "me", false, &map(json!({"a": "1"}))).await.ok();
    let status = apply(&api, "you", false, &map(json!({"a": "2"})))
        .await
        .fails(409, "Conflict");
    assert_eq!(status["details"]["causes"][0]["reason"], "FieldManagerConflict");
    assert_eq!(status["details"]["causes"][0]["field"], ".data.a");
    assert_eq!(
        apply(&api, "you", true, &map(json!({"a": "2"}))).await.ok()["data"]["a"],
        "2"
    );
    let media = [("content-type", "application/apply-patch+yaml")];
    let nobody = api.with(Method::PATCH, &format!("{MAPS}/x"), &media, "{}").await;
    nobody.fails(422, "Invalid");
}

#[tokio::test]
async fn an_ordinary_write_owns_what_it_changes() {
    let api = Api::new().await;
    let headers = [
        ("content-type", "application/json"),
        ("user-agent", "kubectl/v1.36 (linux)"),
    ];
    let body = map(json!({"a": "1"})).to_string();
    let made = api.with(Method::POST, MAPS, &headers, body).await.ok();
    let owner = &made["metadata"]["managedFields"][0];
    assert_eq!(
        (&owner["manager"], &owner["operation"]),
        (&json!("kubectl"), &json!("Update"))
    );
    assert_eq!(api.put(&format!("{MAPS}/x"), &made).await.ok(), made);
    apply(&api, "me", false, &map(json!({"a": "2"})))
        .await
        .fails(409, "Conflict");
}
