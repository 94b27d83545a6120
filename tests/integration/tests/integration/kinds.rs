//! Every resource of every stable group: create, get, list as a table, explain, describe, delete.

use std::collections::HashSet;

use crate::http;
use crate::shared::{Space, cluster};

const OBJECTS: &str = include_str!("kinds.yaml");

/// Resources that hold nothing one can create.
const NOT_STORED: [&str; 1] = ["componentstatuses"];

fn resources(verb: &str) -> Vec<String> {
    let text = cluster()
        .kubectl(&["api-resources", "-o", "name", &format!("--verbs={verb}")])
        .ok();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn an_object_of_every_kind_can_be_created_shown_and_deleted() {
    let space = Space::new("every-kind");
    let created = space.with("create -f -", OBJECTS).ok();
    for resource in resources("create,list") {
        let listed = space.ok(&format!("get {resource} -o wide --ignore-not-found"));
        let headers = listed
            .lines()
            .next()
            .unwrap_or_else(|| panic!("no {resource}:\n{created}"));
        assert!(
            headers.contains("NAME") || headers.contains("LAST SEEN"),
            "{listed}"
        );
        assert!(space.ok(&format!("get {resource} -o name")).contains('/'));
        space.ok(&format!("describe {resource}"));
    }
    // Once more with apply: the same objects are found and need no change but apply's annotation.
    space.with("apply --dry-run=server -f -", OBJECTS);
    space.with("delete --wait=false -f -", OBJECTS).ok();
}

#[test]
fn every_kind_is_listed_as_a_table_with_kubectls_columns() {
    let space = Space::new("every-column");
    space
        .with("create -f -", &crate::shared::deployment("web", "nginx", 1))
        .ok();
    space.ok("expose deployment web --port=80,443 --type=NodePort");
    space.ok("create cronjob tick --image=busybox --schedule=@daily");
    space.ok("create quota small --hard=pods=9");
    space.ok("create role reader --verb=get --resource=pods");
    for (resource, columns) in [
        (
            "pods",
            "NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES",
        ),
        (
            "deployments",
            "NAME READY UP-TO-DATE AVAILABLE AGE CONTAINERS IMAGES SELECTOR",
        ),
        (
            "replicasets",
            "NAME DESIRED CURRENT READY AGE CONTAINERS IMAGES SELECTOR",
        ),
        (
            "services",
            "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE SELECTOR",
        ),
        ("endpointslices", "NAME ADDRESSTYPE PORTS ENDPOINTS AGE"),
        ("configmaps", "NAME DATA AGE"),
        ("serviceaccounts", "NAME AGE"),
        (
            "cronjobs",
            "NAME SCHEDULE TIMEZONE SUSPEND ACTIVE LAST SCHEDULE AGE CONTAINERS IMAGES SELECTOR",
        ),
        ("resourcequotas", "NAME REQUEST LIMIT AGE"),
        ("roles", "NAME CREATED AT"),
        ("namespaces", "NAME STATUS AGE"),
        (
            "priorityclasses",
            "NAME VALUE GLOBAL-DEFAULT AGE PREEMPTIONPOLICY",
        ),
    ] {
        let table = space.ok(&format!("get {resource} -o wide"));
        let headers = table.lines().next().unwrap_or_default();
        let found: Vec<&str> = headers.split_whitespace().collect();
        assert_eq!(found.join(" "), columns, "{resource}");
    }
    let service = space.ok("get service web --no-headers");
    let cells: Vec<&str> = service.split_whitespace().collect();
    assert_eq!((cells[1], cells[3]), ("NodePort", "<none>"));
    assert!(
        cells[4].starts_with("80:3") && cells[4].ends_with("/TCP"),
        "{service}"
    );
    assert!(space.ok("get deployment web --no-headers").contains("0/1"));
}

#[test]
fn every_kind_is_explained_with_all_its_fields() {
    for resource in resources("create") {
        // kubectl reads this name as the field `events.k8s.io` of `events`.
        if resource == "events.events.k8s.io" {
            continue;
        }
        let text = cluster().kubectl(&["explain", &resource, "--recursive"]).ok();
        assert!(
            text.contains("FIELDS:") && text.contains("apiVersion"),
            "{resource}: {text}"
        );
    }
    let fields = cluster()
        .kubectl(&["explain", "deployment.spec", "--recursive"])
        .ok();
    for field in [
        "replicas\t<integer>",
        "maxSurge\t<IntOrString>",
        "readOnlyRootFilesystem\t<boolean>",
    ] {
        assert!(fields.contains(field), "{field}");
    }
    let one = cluster().kubectl(&["explain", "pod.spec.restartPolicy"]).ok();
    assert!(
        one.contains("Restart policy for all containers within the pod."),
        "{one}"
    );
    assert!(
        one.contains("ENUM:\n    Always\n    Never\n    OnFailure"),
        "{one}"
    );
    let unknown = cluster().kubectl(&["explain", "pod.spec.nothing"]).fails();
    assert!(unknown.contains(r#"field "nothing" does not exist"#), "{unknown}");
}

#[test]
fn every_kind_is_listed_by_the_documented_verbs() {
    let stored: HashSet<String> = resources("list").into_iter().collect();
    for verb in [
        "get",
        "watch",
        "create",
        "update",
        "patch",
        "delete",
        "deletecollection",
    ] {
        let with: HashSet<String> = resources(verb).into_iter().collect();
        let mut without: Vec<&str> = stored.difference(&with).map(String::as_str).collect();
        without.retain(|name| !NOT_STORED.contains(name));
        // Upstream deletes a collection of namespaces or Services no more than we do.
        let expected: &[&str] = if verb == "deletecollection" {
            &["namespaces"]
        } else {
            &[]
        };
        assert_eq!(without, expected, "{verb}");
    }
}

#[test]
fn one_object_is_served_in_each_version_of_its_group() {
    let space = Space::new("versions");
    space.ok("create deployment web --image=nginx");
    space.ok("autoscale deployment web --max=3 --cpu=80%");
    let path =
        |version| format!("/apis/autoscaling/{version}/namespaces/versions/horizontalpodautoscalers/web");
    let old = http::get(&path("v1")).ok();
    assert_eq!(old["spec"]["targetCPUUtilizationPercentage"], 80);
    let new = http::get(&path("v2")).ok();
    assert_eq!(
        new["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"],
        80
    );
    assert_eq!(old["metadata"]["uid"], new["metadata"]["uid"]);
}
