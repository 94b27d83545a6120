//! Lists: selectors, pages, versions, shapes.

use crate::http;
use crate::shared::{Space, map};

/// Config maps a, b and c, labelled with their name and `kind=letter`.
fn letters(space: &Space) {
    for name in ["a", "b", "c"] {
        let labels = format!(r#","labels":{{"is":"{name}","kind":"letter"}}"#);
        space.with("create -f -", &map(name, &labels)).ok();
    }
}

#[test]
fn label_and_field_selectors_choose() {
    let space = Space::new("selectors");
    letters(&space);
    let select = |selector: &str| {
        let list = space
            .kubectl(&["get", "configmaps", "-o", "name", "-l", selector])
            .ok();
        list.replace("configmap/", "").replace('\n', " ")
    };
    assert_eq!(select("is=a"), "a ");
    assert_eq!(select("is in (a,c)"), "a c ");
    assert_eq!(select("kind,is notin (a)"), "b c ");
    assert_eq!(select("kind=letter,is!=b"), "a c ");
    assert_eq!(select("!kind"), "kube-root-ca.crt ");
    let one = space.names("configmaps --field-selector=metadata.name=b");
    assert_eq!(one, ["b"]);
    let bad = space.kubectl(&["get", "configmaps", "-l", "is in (a"]).fails();
    assert!(bad.contains("unable to parse requirement"), "{bad}");
    let unknown = space.fails("get configmaps --field-selector=data.k=v");
    assert!(
        unknown.contains(
            r#""data.k" is not a known field selector: only "metadata.name", "metadata.namespace""#
        ),
        "{unknown}"
    );
    space.ok("run p --image=nginx");
    assert_eq!(
        space.names("pods --field-selector=status.phase=Pending,spec.nodeName="),
        ["p"]
    );
    assert!(
        space
            .names("pods --field-selector=status.phase!=Pending")
            .is_empty()
    );
    assert_eq!(
        space.names("pods --field-selector=spec.restartPolicy=Always,spec.schedulerName=default-scheduler"),
        ["p"]
    );
}

#[test]
fn the_pages_of_a_list_show_one_moment() {
    let space = Space::new("pages");
    letters(&space);
    let all = space.ok("get configmaps -o name --chunk-size=1");
    assert_eq!(all.lines().count(), 4, "{all}");
    let path = space.path("configmaps");
    let first = http::get(&format!("{path}?limit=2&labelSelector=kind")).ok();
    let token = first["metadata"]["continue"]
        .as_str()
        .expect("there is more")
        .to_owned();
    space.ok("delete configmap c");
    let second = http::get(&format!("{path}?limit=2&labelSelector=kind&continue={token}")).ok();
    assert_eq!(
        second["items"][0]["metadata"]["name"], "c",
        "gone, but not at the moment of the list"
    );
    assert_eq!(
        second["metadata"]["resourceVersion"],
        first["metadata"]["resourceVersion"]
    );
    assert!(second["metadata"].get("continue").is_none());
    let rest = http::get(&format!("{path}?limit=1")).ok();
    assert_eq!(rest["metadata"]["remainingItemCount"], 2);
    http::get(&format!("{path}?limit=1&continue=nonsense")).fails(400, "BadRequest");
    http::get(&format!("{path}?limit=many")).fails(400, "BadRequest");
}

#[test]
fn a_list_is_exact_or_not_older_than_a_version() {
    let space = Space::new("exact");
    letters(&space);
    let path = space.path("configmaps");
    let version = space.field("configmap/c", ".metadata.resourceVersion");
    space.ok("delete configmap c");
    let names = |query: &str| {
        let list = http::get(&format!("{path}?labelSelector=kind&{query}")).ok();
        list["items"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(
        names(&format!("resourceVersion={version}&resourceVersionMatch=Exact")),
        3
    );
    assert_eq!(
        names(&format!(
            "resourceVersion={version}&resourceVersionMatch=NotOlderThan"
        )),
        2
    );
    assert_eq!(names(&format!("resourceVersion={version}")), 2);
    assert_eq!(names("resourceVersion=0"), 2);
    http::get(&format!("{path}?resourceVersionMatch=Exact")).fails(422, "Invalid");
    http::get(&format!("{path}?resourceVersion=1&resourceVersionMatch=Never")).fails(422, "Invalid");
    http::get(&format!("{path}?resourceVersion=x")).fails(400, "BadRequest");
    let future = http::get(&format!(
        "{path}?resourceVersion=99999999&resourceVersionMatch=NotOlderThan"
    ));
    assert!(
        future.fails(504, "Timeout")["message"]
            .to_string()
            .contains("Too large resource version")
    );
}

#[test]
fn answers_have_the_shape_that_was_asked_for() {
    let space = Space::new("shapes");
    letters(&space);
    let path = space.path("configmaps");
    let ask =
        |accept: &str, path: &str| http::request("GET", path, &["-H", &format!("Accept: {accept}")], None);
    let table = ask("application/json;as=Table;v=v1;g=meta.k8s.io", &path).ok();
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["columnDefinitions"][1]["name"], "Data");
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let partial = ask(
        "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
        &path,
    )
    .ok();
    assert_eq!(partial["kind"], "PartialObjectMetadataList");
    assert!(partial["items"][0].get("data").is_none());
    let one = ask(
        "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
        &format!("{path}/a"),
    )
    .ok();
    assert_eq!(
        (&one["kind"], &one["metadata"]["name"]),
        (&"PartialObjectMetadata".into(), &"a".into())
    );
    ask("application/vnd.kubernetes.protobuf", &path)
        .has_header("content-type: application/vnd.kubernetes.protobuf");
    ask("application/yaml", &path).has_header("content-type: application/yaml");
    ask("image/png", &path).fails(406, "NotAcceptable");
    let long = "x".repeat(200_000);
    space
        .with(
            "create -f -",
            &map("long", "").replace(r#""v""#, &format!(r#""{long}""#)),
        )
        .ok();
    let gzip = http::request("GET", &path, &["--compressed"], None);
    gzip.has_header("content-encoding: gzip");
    assert!(gzip.body.contains(&long));
}

#[test]
fn kubectl_prints_in_every_format() {
    let space = Space::new("formats");
    letters(&space);
    assert!(space.ok("get configmap a -o yaml").contains("kind: ConfigMap"));
    assert_eq!(space.ok("get configmap a -o jsonpath={.data.k}"), "v");
    assert_eq!(space.ok("get configmap a -o go-template={{.data.k}}"), "v");
    assert_eq!(
        space
            .ok("get configmap a -o custom-columns=N:.metadata.name --no-headers")
            .trim(),
        "a"
    );
    let sorted = space.ok("get configmaps --sort-by={.metadata.name} --no-headers");
    assert!(sorted.starts_with("a "), "{sorted}");
    let labels = space.ok("get configmaps --show-labels -L is -l is=a");
    assert!(
        labels.contains("is=a,kind=letter") && labels.contains("IS"),
        "{labels}"
    );
    assert!(space.ok("get all").is_empty());
}
