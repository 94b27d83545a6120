//! Lists, pages and watches.

mod support;

use http::Method;
use serde_json::{Value, json};
use support::Api;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn make(api: &Api, name: &str, label: &str) -> Value {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"l": label}}});
    api.post(MAPS, &object).await.ok()
}

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().expect("items").iter();
    items
        .map(|item| item["metadata"]["name"].as_str().expect("a name"))
        .collect()
}

#[tokio::test]
async fn a_list_is_ordered_selected_and_typed() {
    let api = Api::new().await;
    for (name, label) in [("c", "x"), ("a", "x"), ("b", "y")] {
        make(&api, name, label).await;
    }
    let list = api.get(MAPS).await.ok();
    assert_eq!(
        (&list["kind"], &list["apiVersion"]),
        (&json!("ConfigMapList"), &json!("v1"))
    );
    assert_eq!(names(&list), ["a", "b", "c"]);
    assert_eq!(
        names(&api.get(&format!("{MAPS}?labelSelector=l!%3Dx")).await.ok()),
        ["b"]
    );
    assert_eq!(
        names(
            &api.get(&format!("{MAPS}?fieldSelector=metadata.name%3Dc"))
                .await
                .ok()
        ),
        ["c"]
    );
    assert_eq!(
        names(
            &api.get("/api/v1/configmaps?fieldSelector=metadata.namespace%3Ddefault")
                .await
                .ok()
        )
        .len(),
        3
    );
}

#[tokio::test]
async fn the_pages_of_a_list_show_one_moment() {
    let api = Api::new().await;
    for name in ["a", "b", "c", "d"] {
        make(&api, name, "x").await;
    }
    let first = api.get(&format!("{MAPS}?limit=2")).await.ok();
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 2);
    make(&api, "bb", "x").await;
    api.delete(&format!("{MAPS}/d")).await.ok();
    let token = first["metadata"]["continue"].as_str().expect("a token");
    let second = api.get(&format!("{MAPS}?limit=2&continue={token}")).await.ok();
    assert_eq!(names(&second), ["c", "d"]);
    assert_eq!(
        second["metadata"]["resourceVersion"],
        first["metadata"]["resourceVersion"]
    );
    assert!(second["metadata"].get("continue").is_none());
    let version = first["metadata"]["resourceVersion"].as_str().expect("a version");
    let exact = format!("{MAPS}?resourceVersion={version}&resourceVersionMatch=Exact");
    assert_eq!(names(&api.get(&exact).await.ok()), ["a", "b", "c", "d"]);
    api.get(&format!("{MAPS}?continue=nonsense"))
        .await
        .fails(400, "BadRequest");
    api.get(&format!("{MAPS}?resourceVersionMatch=Exact"))
        .await
        .fails(422, "Invalid");
}

#[tokio::test]
async fn a_version_in_the_future_times_out() {
    let api = Api::new().await;
    let status = api
        .get(&format!("{MAPS}?resourceVersion=999999999"))
        .await
        .fails(504, "Timeout");
    assert_eq!(
        status["details"]["causes"][0]["reason"],
        "ResourceVersionTooLarge"
    );
}

#[tokio::test]
async fn a_watch_from_a_forgotten_version_is_told_so_as_an_event() {
    let api = Api::over(kobune_store::Options {
        history_bytes: 0,
        ..kobune_store::Options::default()
    })
    .await;
    let first = make(&api, "first", "x").await;
    for number in 0..40 {
        make(&api, &format!("m{number}"), "x").await;
        api.merge(
            &format!("{MAPS}/first"),
            &json!({"data": {"k": number.to_string()}}),
        )
        .await
        .ok();
    }
    let version = first["metadata"]["resourceVersion"].as_str().expect("a version");
    let mut events = api
        .watch(&format!("{MAPS}?watch=1&resourceVersion={version}"))
        .await;
    let only = events.next().await.expect("an event");
    assert_eq!(only["type"], "ERROR");
    assert_eq!(
        (&only["object"]["code"], &only["object"]["reason"]),
        (&json!(410), &json!("Expired"))
    );
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn a_watch_tells_every_change_after_its_version() {
    let api = Api::new().await;
    let first = make(&api, "a", "x").await;
    let version = first["metadata"]["resourceVersion"].as_str().expect("a version");
    let mut events = api
        .watch(&format!("{MAPS}?watch=1&resourceVersion={version}"))
        .await;
    make(&api, "b", "x").await;
    api.merge(&format!("{MAPS}/a"), &json!({"data": {"k": "v"}}))
        .await
        .ok();
    api.delete(&format!("{MAPS}/a")).await.ok();
    assert_eq!(events.step().await, ("ADDED".into(), "b".into()));
    assert_eq!(events.step().await, ("MODIFIED".into(), "a".into()));
    let gone = events.next().await.expect("an event");
    assert_eq!(gone["type"], "DELETED");
    assert_ne!(gone["object"]["metadata"]["resourceVersion"], version);
}

#[tokio::test]
async fn a_watch_without_a_version_begins_with_what_is_there() {
    let api = Api::new().await;
    make(&api, "a", "x").await;
    let mut events = api.watch(&format!("{MAPS}?watch=true")).await;
    assert_eq!(events.step().await, ("ADDED".into(), "a".into()));
    let query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&resourceVersion=";
    let mut events = api.watch(&format!("{MAPS}?{query}")).await;
    assert_eq!(events.step().await, ("ADDED".into(), "a".into()));
    let mark = events.next().await.expect("an event");
    assert_eq!(mark["type"], "BOOKMARK");
    assert_eq!(
        mark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    make(&api, "b", "x").await;
    assert_eq!(events.step().await, ("ADDED".into(), "b".into()));
}

#[tokio::test]
async fn an_object_that_enters_or_leaves_a_selection_is_added_or_deleted() {
    let api = Api::new().await;
    let first = make(&api, "a", "x").await;
    let version = first["metadata"]["resourceVersion"].as_str().expect("a version");
    let mut events = api
        .watch(&format!(
            "{MAPS}?watch=1&resourceVersion={version}&labelSelector=l%3Dy"
        ))
        .await;
    let label = |value: &str| json!({"metadata": {"labels": {"l": value}}});
    api.merge(&format!("{MAPS}/a"), &label("y")).await.ok();
    let left = api.merge(&format!("{MAPS}/a"), &label("z")).await.ok();
    assert_eq!(events.step().await, ("ADDED".into(), "a".into()));
    let gone = events.next().await.expect("an event");
    assert_eq!(gone["type"], "DELETED");
    assert_eq!(gone["object"]["metadata"]["labels"]["l"], "y");
    assert_eq!(
        gone["object"]["metadata"]["resourceVersion"],
        left["metadata"]["resourceVersion"]
    );
}

#[tokio::test]
async fn a_watch_ends_when_its_time_is_over() {
    let api = Api::new().await;
    let mut events = api
        .watch(&format!("{MAPS}?watch=1&resourceVersion=0&timeoutSeconds=1"))
        .await;
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn watches_in_one_form_share_what_is_written_and_nothing_else() {
    let api = Api::new().await;
    let first = make(&api, "a", "x").await;
    let version = first["metadata"]["resourceVersion"].as_str().expect("a version");
    let path = format!("{MAPS}?watch=1&resourceVersion={version}");
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let partial = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
    let mut tables = [api.watch_as(&path, table).await, api.watch_as(&path, table).await];
    let mut partials = [
        api.watch_as(&path, partial).await,
        api.watch_as(&path, partial).await,
    ];
    make(&api, "b", "x").await;
    make(&api, "c", "x").await;
    for events in &mut tables {
        for (name, columns) in [("b", true), ("c", false)] {
            let table = events.next().await.expect("an event")["object"].take();
            assert_eq!(table["rows"][0]["cells"][0], name);
            assert_eq!(table["columnDefinitions"].is_array(), columns, "{table}");
        }
    }
    for events in &mut partials {
        for name in ["b", "c"] {
            let event = events.next().await.expect("an event");
            assert_eq!(event["type"], "ADDED");
            assert_eq!(event["object"]["kind"], "PartialObjectMetadata");
            assert_eq!(event["object"]["metadata"]["name"], name);
        }
    }
}

#[tokio::test]
async fn tables_and_metadata_come_on_request() {
    let api = Api::new().await;
    make(&api, "a", "x").await;
    let accept = [(
        "accept",
        "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
    )];
    let table = api.with(Method::GET, MAPS, &accept, "").await.ok();
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["columnDefinitions"][0]["name"], "Name");
    assert_eq!(table["rows"][0]["cells"][0], "a");
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let accept = [(
        "accept",
        "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
    )];
    let list = api.with(Method::GET, MAPS, &accept, "").await.ok();
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert!(list["items"][0].get("data").is_none());
    let accept = [("accept", "application/vnd.kubernetes.protobuf")];
    let answer = api.with(Method::GET, MAPS, &accept, "").await;
    assert_eq!(
        answer.headers["content-type"],
        "application/vnd.kubernetes.protobuf"
    );
    assert!(answer.bytes.starts_with(b"k8s\0"));
    let accept = [("accept", "application/yaml")];
    let answer = api.with(Method::GET, &format!("{MAPS}/a"), &accept, "").await;
    assert!(String::from_utf8_lossy(&answer.bytes).contains("name: a"));
}

#[tokio::test]
async fn a_large_answer_is_compressed_for_who_accepts_it() {
    let api = Api::new().await;
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "big"},
        "data": {"text": "abc ".repeat(50_000)}});
    api.post(MAPS, &object).await.ok();
    let answer = api
        .with(
            Method::GET,
            &format!("{MAPS}/big"),
            &[("accept-encoding", "gzip")],
            "",
        )
        .await;
    assert_eq!(answer.headers["content-encoding"], "gzip");
    assert!(answer.bytes.len() < 20_000);
}
