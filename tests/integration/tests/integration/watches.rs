//! Watches: what is told, where they begin, how they end.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use kobune_test_support::eventually;
use serde_json::Value;

use crate::http;
use crate::shared::{Space, map};

fn told(events: &[Value]) -> Vec<String> {
    let line = |event: &Value| {
        let name = event["object"]["metadata"]["name"].as_str().unwrap_or("-");
        format!("{} {name}", event["type"].as_str().unwrap_or("?"))
    };
    events.iter().map(line).collect()
}

#[test]
fn kubectl_follows_changes_as_they_happen() {
    let space = Space::new("follow");
    let mut command = space.cluster.kubectl_command(&[
        "-n",
        "follow",
        "get",
        "configmaps",
        "--watch",
        "--output-watch-events",
        "-o",
        "name",
        "-l",
        "w",
    ]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("kubectl starts");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let (send, receive) = std::sync::mpsc::channel();
    let reader =
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(send.send(line))));
    // The first object may be there before the watch begins; it is told either way.
    space.with("create -f -", &map("a", r#","labels":{"w":""}"#)).ok();
    let mut seen = Vec::new();
    let mut wait = |what: &str| {
        eventually(what, 20, || {
            seen.extend(receive.try_iter());
            let found = seen.iter().any(|line| line == what);
            if found { Ok(()) } else { Err(format!("{seen:?}")) }
        });
    };
    wait("configmap/a");
    child.kill().expect("it runs");
    child.wait().expect("it is ours");
    reader.join().expect("reading does not panic");
}

#[test]
fn a_watch_tells_every_change_after_its_version() {
    let space = Space::new("changes");
    space.with("create -f -", &map("a", "")).ok();
    let version = space.field("configmap/a", ".metadata.resourceVersion");
    space.ok("label configmap a in=yes");
    space.ok("label configmap a in=no --overwrite");
    space.ok("delete configmap a");
    let path = space.path("configmaps");
    let watch = |more: &str| {
        let path = format!("{path}?watch=true&timeoutSeconds=1&resourceVersion={version}{more}");
        told(&http::get(&path).lines())
    };
    assert_eq!(
        watch("&fieldSelector=metadata.name=a"),
        ["MODIFIED a", "MODIFIED a", "DELETED a"]
    );
    // An object that enters or leaves the selection is added or deleted for this watcher.
    assert_eq!(watch("&labelSelector=in%3Dyes"), ["ADDED a", "DELETED a"]);
}

#[test]
fn a_watch_can_begin_with_the_state_and_say_when_it_was_told() {
    let space = Space::new("initial");
    space.with("create -f -", &map("a", "")).ok();
    let path = format!(
        "{}?watch=true&timeoutSeconds=1&fieldSelector=metadata.name=a",
        space.path("configmaps")
    );
    let events = http::get(&format!(
        "{path}&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan"
    ))
    .lines();
    assert_eq!(told(&events)[..2], ["ADDED a", "BOOKMARK -"]);
    let bookmark = &events[1]["object"]["metadata"];
    assert_eq!(bookmark["annotations"]["k8s.io/initial-events-end"], "true");
    assert!(
        bookmark["resourceVersion"]
            .as_str()
            .is_some_and(|v| v.parse::<u64>().is_ok())
    );
    assert_eq!(told(&http::get(&path).lines()), ["ADDED a"]);
    assert_eq!(
        told(&http::get(&format!("{path}&resourceVersion=0")).lines()),
        ["ADDED a"]
    );
    http::get(&format!("{path}&sendInitialEvents=true")).fails(422, "Invalid");
}

#[test]
fn a_watch_of_metadata_or_rows_tells_only_these() {
    let space = Space::new("partial");
    space.with("create -f -", &map("a", "")).ok();
    let path = format!(
        "{}?watch=true&timeoutSeconds=1&fieldSelector=metadata.name=a",
        space.path("configmaps")
    );
    let ask = |kind: &str| {
        let accept = format!("Accept: application/json;as={kind};v=v1;g=meta.k8s.io");
        http::request("GET", &path, &["-H", &accept], None).lines()
    };
    let partial = ask("PartialObjectMetadata");
    assert_eq!(partial[0]["object"]["kind"], "PartialObjectMetadata");
    assert!(partial[0]["object"].get("data").is_none());
    assert_eq!(ask("Table")[0]["object"]["rows"][0]["cells"][0], "a");
}

#[test]
fn wait_returns_when_the_condition_holds() {
    let space = Space::new("waits");
    space.with("create -f -", &map("a", "")).ok();
    space.ok("wait --for=jsonpath={.data.k}=v configmap/a --timeout=5s");
    assert!(
        space
            .fails("wait --for=jsonpath={.data.k}=w configmap/a --timeout=1s")
            .contains("timed out")
    );
    space.ok("delete configmap a --wait=false");
    space.wait_gone("configmap/a");
}
