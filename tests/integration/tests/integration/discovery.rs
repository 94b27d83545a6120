//! What a client asks first: versions, groups, resources, health, OpenAPI.

use crate::http;
use crate::shared::cluster;

fn kubectl(line: &str) -> String {
    cluster()
        .kubectl(&line.split_whitespace().collect::<Vec<_>>())
        .ok()
}

#[test]
fn version_and_cluster_info_tell_where_one_is() {
    let version = kubectl("version");
    assert!(
        version.contains("Server Version: v1.36.") && version.contains("+kobune"),
        "{version}"
    );
    let info = kubectl("cluster-info");
    assert!(
        info.contains(&format!("https://127.0.0.1:{}", cluster().port())),
        "{info}"
    );
    assert!(http::anonymous("/version", &[]).ok()["gitVersion"].is_string());
}

#[test]
fn every_stable_group_is_served() {
    let versions = kubectl("api-versions");
    let expected = "admissionregistration.k8s.io/v1 apiextensions.k8s.io/v1 apiregistration.k8s.io/v1 apps/v1 \
        authentication.k8s.io/v1 authorization.k8s.io/v1 autoscaling/v1 autoscaling/v2 batch/v1 certificates.k8s.io/v1 \
        coordination.k8s.io/v1 discovery.k8s.io/v1 events.k8s.io/v1 flowcontrol.apiserver.k8s.io/v1 networking.k8s.io/v1 \
        node.k8s.io/v1 policy/v1 rbac.authorization.k8s.io/v1 resource.k8s.io/v1 scheduling.k8s.io/v1 storage.k8s.io/v1 v1";
    assert_eq!(
        versions.lines().collect::<Vec<_>>(),
        expected.split_whitespace().collect::<Vec<_>>()
    );
    let resources = kubectl("api-resources --no-headers");
    assert_eq!(resources.lines().count(), 67);
    for row in [
        "deployments deploy apps/v1 true Deployment",
        "pods po v1 true Pod",
        "namespaces ns v1 false Namespace",
    ] {
        let found = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ") == row;
        assert!(resources.lines().any(found), "{row}\n{resources}");
    }
}

#[test]
fn discovery_is_plain_or_aggregated() {
    let plain = http::get("/apis").ok();
    assert_eq!(plain["kind"], "APIGroupList");
    let accept = "Accept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let answer = http::request("GET", "/apis", &["-H", accept], None);
    let aggregated = answer.ok();
    assert_eq!(aggregated["kind"], "APIGroupDiscoveryList");
    let apps = aggregated["items"]
        .as_array()
        .and_then(|items| items.iter().find(|item| item["metadata"]["name"] == "apps"));
    let resources = &apps.expect("there is apps")["versions"][0]["resources"];
    assert!(resources.to_string().contains("deployments"));
    let etag = answer
        .headers
        .lines()
        .find_map(|line| line.strip_prefix("etag: "))
        .expect("it can be cached")
        .trim();
    let cached = http::request(
        "GET",
        "/apis",
        &[
            "-H",
            accept,
            "-H",
            &format!("If-None-Match: {}", etag.to_uppercase()),
        ],
        None,
    );
    assert_eq!(cached.code, 304);
    assert_eq!(http::get("/apis/apps/v1").ok()["kind"], "APIResourceList");
    assert_eq!(http::get("/api").ok()["versions"][0], "v1");
    assert_eq!(http::get("/apis/apps").ok()["preferredVersion"]["version"], "v1");
    assert_eq!(http::get("/apis/nonsense").code, 404);
    assert!(http::get("/").ok()["paths"].to_string().contains("/apis/apps/v1"));
}

#[test]
fn openapi_describes_every_group() {
    let index = http::get("/openapi/v3").ok();
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
        .as_str()
        .expect("apps are there")
        .to_owned();
    assert!(url.starts_with("/openapi/v3/apis/apps/v1?hash="), "{url}");
    let apps = http::get(&url).ok();
    assert_eq!(apps["openapi"], "3.0.0");
    let schema = &apps["components"]["schemas"]["io.k8s.api.apps.v1.DeploymentSpec"];
    assert_eq!(schema["properties"]["replicas"]["type"], "integer");
    assert!(
        apps["paths"]
            .get("/apis/apps/v1/namespaces/{namespace}/deployments/{name}")
            .is_some()
    );
    let old = http::get("/openapi/v2").ok();
    assert_eq!(old["swagger"], "2.0");
    assert!(old["definitions"].get("io.k8s.api.core.v1.Pod").is_some());
    let accept = "Accept: application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    assert_eq!(
        http::request("HEAD", "/openapi/v2", &["-H", accept, "--head"], None).code,
        200
    );
    assert_eq!(http::get("/openapi/v3/apis/nonsense/v1").code, 404);
}

#[test]
fn health_is_told_whole_or_by_check() {
    assert_eq!(kubectl("get --raw=/livez"), "ok");
    let ready = kubectl("get --raw=/readyz?verbose");
    assert!(
        ready.contains("[+]ping ok") && ready.contains("readyz check passed"),
        "{ready}"
    );
    assert_eq!(kubectl("get --raw=/readyz/ping"), "ok");
    assert_eq!(kubectl("get --raw=/healthz"), "ok");
    assert_eq!(http::get("/livez/nonsense").code, 404);
    assert!(kubectl("get --raw=/metrics").contains("apiserver_request_total{"));
}

#[test]
fn the_cluster_dump_is_complete() {
    let dump = kubectl("cluster-info dump --namespaces=kube-system");
    assert!(
        dump.contains(r#""kind": "ServiceList""#) && dump.contains("kube-dns"),
        "{dump}"
    );
}
