//! Who is let in, who may do what, and the paths beside the resources.

mod support;

use http::Method;
use serde_json::{Value, json};
use support::Api;

const PODS: &str = "/api/v1/namespaces/default/pods";

#[tokio::test]
async fn strangers_see_health_and_version_only() {
    let api = Api::new()
        .await
        .by("system:anonymous", &["system:unauthenticated"]);
    for path in ["/livez", "/readyz", "/healthz", "/version", "/readyz/ping"] {
        assert_eq!(api.get(path).await.code, 200, "{path}");
    }
    for path in ["/api", "/metrics", PODS, "/openapi/v2", "/nothing"] {
        let status = api.get(path).await.fails(401, "Unauthorized");
        assert_eq!(status["message"], "Unauthorized");
    }
}

#[tokio::test]
async fn what_is_not_allowed_is_forbidden_in_upstreams_words() {
    let api = Api::new().await.by("jane", &["system:authenticated"]);
    let status = api.get(PODS).await.fails(403, "Forbidden");
    assert_eq!(
        status["message"],
        "pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\""
    );
    let status = api.get("/metrics").await.fails(403, "Forbidden");
    assert_eq!(
        status["message"],
        "forbidden: User \"jane\" cannot get path \"/metrics\""
    );
    assert_eq!(api.get("/apis").await.code, 200);
}

#[tokio::test]
async fn a_node_writes_itself_and_its_pods_only() {
    let admin = Api::new().await;
    let node = admin.by("system:node:n1", &["system:nodes", "system:authenticated"]);
    let object = |name: &str| json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
    node.post("/api/v1/nodes", &object("n1")).await.ok();
    node.post("/api/v1/nodes", &object("n2"))
        .await
        .fails(403, "Forbidden");
    for (name, bound) in [("mine", "n1"), ("other", "n2")] {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"nodeName": bound,
            "containers": [{"name": "c", "image": "i", "envFrom": [{"secretRef": {"name": format!("of-{name}")}}]}]}});
        admin.post(PODS, &pod).await.ok();
        let secret =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": format!("of-{name}")}});
        admin
            .post("/api/v1/namespaces/default/secrets", &secret)
            .await
            .ok();
    }
    let running = json!({"status": {"phase": "Running"}});
    node.merge(&format!("{PODS}/mine/status"), &running).await.ok();
    node.merge(&format!("{PODS}/other/status"), &running)
        .await
        .fails(403, "Forbidden");
    node.get("/api/v1/namespaces/default/secrets/of-mine").await.ok();
    node.get("/api/v1/namespaces/default/secrets/of-other")
        .await
        .fails(403, "Forbidden");
    node.get("/api/v1/secrets").await.fails(403, "Forbidden");
    node.get("/api/v1/namespaces/default/secrets?fieldSelector=metadata.name%3Dof-mine")
        .await
        .ok();
}

#[tokio::test]
async fn reviews_answer_from_the_same_rules() {
    let admin = Api::new().await;
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "list", "resource": "pods"}}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    assert_eq!(admin.post(path, &review).await.ok()["status"]["allowed"], true);
    let jane = admin.by("jane", &["system:authenticated"]);
    assert_eq!(jane.post(path, &review).await.ok()["status"]["allowed"], false);
    let who = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let me = jane
        .post("/apis/authentication.k8s.io/v1/selfsubjectreviews", &who)
        .await
        .ok();
    assert_eq!(me["status"]["userInfo"]["username"], "jane");
}

#[tokio::test]
async fn a_service_accounts_token_says_who_bears_it() {
    let api = Api::new().await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}});
    api.post("/api/v1/namespaces/default/serviceaccounts", &account)
        .await
        .ok();
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}});
    let path = "/api/v1/namespaces/default/serviceaccounts/robot/token";
    let made = api.post(path, &request).await.ok();
    let review = |token: &Value| json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}});
    let reviews = "/apis/authentication.k8s.io/v1/tokenreviews";
    let known = api.post(reviews, &review(&made["status"]["token"])).await.ok();
    assert_eq!(
        known["status"]["user"]["username"],
        "system:serviceaccount:default:robot"
    );
    assert_eq!(
        api.post(reviews, &review(&json!("a.b.c"))).await.ok()["status"]["authenticated"],
        false
    );
    api.delete("/api/v1/namespaces/default/serviceaccounts/robot")
        .await
        .ok();
    let gone = api.post(reviews, &review(&made["status"]["token"])).await.ok();
    assert_eq!(gone["status"]["authenticated"], false);
}

#[tokio::test]
async fn health_tells_its_checks_one_by_one() {
    let api = Api::new().await;
    api.server.add_ready_check("node", || Err("not yet".to_owned()));
    assert_eq!(api.get("/livez").await.bytes, "ok");
    let failed = api.get("/readyz").await;
    assert_eq!(failed.code, 500);
    assert!(String::from_utf8_lossy(&failed.bytes).contains("[-]node failed: not yet"));
    assert_eq!(api.get("/readyz?exclude=node").await.code, 200);
    assert_eq!(api.get("/readyz/node").await.code, 500);
    assert_eq!(api.get("/readyz/nothing").await.code, 404);
    let verbose = api.get("/livez?verbose").await;
    assert!(String::from_utf8_lossy(&verbose.bytes).ends_with("livez check passed\n"));
}

#[tokio::test]
async fn discovery_is_plain_or_aggregated_and_knows_its_etag() {
    let api = Api::new().await;
    assert_eq!(api.get("/api").await.ok()["versions"], json!(["v1"]));
    let list = api.get("/apis/apps/v1").await.ok();
    let names: Vec<&Value> = list["resources"]
        .as_array()
        .expect("resources")
        .iter()
        .map(|row| &row["name"])
        .collect();
    assert!(names.contains(&&json!("deployments/scale")));
    assert_eq!(
        api.get("/apis/apps").await.ok()["preferredVersion"]["version"],
        "v1"
    );
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let answer = api.with(Method::GET, "/apis", &[("accept", accept)], "").await;
    assert_eq!(answer.ok()["kind"], "APIGroupDiscoveryList");
    let etag = answer.headers["etag"].to_str().expect("text").to_owned();
    let again = api
        .with(
            Method::GET,
            "/apis",
            &[("accept", accept), ("if-none-match", &etag)],
            "",
        )
        .await;
    assert_eq!(again.code, 304);
    assert_eq!(api.get("/version").await.ok()["minor"], "36");
}

#[tokio::test]
async fn openapi_is_served_once_per_version() {
    let api = Api::new().await;
    let index = api.get("/openapi/v3").await.ok();
    let place = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
        .as_str()
        .expect("a place")
        .to_owned();
    let answer = api.get(&place).await;
    assert!(answer.ok()["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"].is_object());
    assert_eq!(answer.headers["cache-control"], "public, immutable");
    let etag = answer.headers["etag"].to_str().expect("text").to_owned();
    let again = api
        .with(Method::GET, &place, &[("if-none-match", &etag)], "")
        .await;
    assert_eq!(again.code, 304);
    assert_eq!(api.get("/openapi/v3/apis/apps/v1?hash=old").await.code, 301);
    assert_eq!(api.get("/openapi/v3/apis/none/v1").await.code, 404);
    let accept = [(
        "accept",
        "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
    )];
    let answer = api.with(Method::GET, "/openapi/v2", &accept, "").await;
    assert_eq!(
        answer.headers["content-type"],
        "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
    );
    assert_eq!(api.get("/openapi/v2").await.ok()["swagger"], "2.0");
}
