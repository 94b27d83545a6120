//! What single kinds do differently.

mod support;

use serde_json::{Value, json};
use support::Api;

const NS: &str = "/api/v1/namespaces/default";

fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "busybox"}]}})
}

fn service(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})
}

async fn bind(api: &Api, pod: &str, node: &str) -> support::Answer {
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod},
        "target": {"kind": "Node", "name": node}});
    api.post(&format!("{NS}/pods/{pod}/binding"), &binding).await
}

#[tokio::test]
async fn a_new_pod_is_pending_and_complete() {
    let api = Api::new().await;
    let mut object = pod("x");
    object["status"] = json!({"phase": "Running"});
    let made = api.post(&format!("{NS}/pods"), &object).await.ok();
    assert_eq!(made["status"]["phase"], "Pending");
    assert_eq!(made["status"]["qosClass"], "BestEffort");
    assert_eq!(made["metadata"]["generation"], 1);
    assert_eq!(made["spec"]["serviceAccountName"], "default");
    assert_eq!(made["spec"]["priority"], 0);
    assert_eq!(made["spec"]["tolerations"].as_array().map(Vec::len), Some(2));
    assert_eq!(made["spec"]["restartPolicy"], "Always");
    assert_eq!(made["spec"]["containers"][0]["imagePullPolicy"], "Always");
}

#[tokio::test]
async fn a_pod_is_bound_once() {
    let api = Api::new().await;
    api.post(&format!("{NS}/pods"), &pod("x")).await.ok();
    assert_eq!(bind(&api, "x", "n1").await.code, 201);
    let bound = api.get(&format!("{NS}/pods/x")).await.ok();
    assert_eq!(bound["spec"]["nodeName"], "n1");
    assert_eq!(bound["status"]["conditions"][0]["type"], "PodScheduled");
    bind(&api, "x", "n2").await.fails(409, "Conflict");
    bind(&api, "y", "n2").await.fails(404, "NotFound");
}

#[tokio::test]
async fn a_deleted_pod_is_not_bound() {
    let api = Api::new().await;
    let mut object = pod("x");
    object["metadata"]["finalizers"] = json!(["example.com/hold"]);
    api.post(&format!("{NS}/pods"), &object).await.ok();
    api.delete(&format!("{NS}/pods/x")).await.ok();
    bind(&api, "x", "n1").await.fails(409, "Conflict");
}

#[tokio::test]
async fn a_pod_that_runs_gets_its_grace_and_one_that_does_not_goes_at_once() {
    let api = Api::new().await;
    for name in ["x", "y"] {
        api.post(&format!("{NS}/pods"), &pod(name)).await.ok();
    }
    api.delete(&format!("{NS}/pods/y")).await.ok();
    api.get(&format!("{NS}/pods/y")).await.fails(404, "NotFound");
    bind(&api, "x", "n1").await;
    let marked = api.delete(&format!("{NS}/pods/x")).await.ok();
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    // The kubelet's last word.
    api.delete_with(&format!("{NS}/pods/x"), &json!({"gracePeriodSeconds": 0}))
        .await
        .ok();
    api.get(&format!("{NS}/pods/x")).await.fails(404, "NotFound");
}

#[tokio::test]
async fn status_and_spec_have_separate_doors() {
    let api = Api::new().await;
    let made = api.post(&format!("{NS}/pods"), &pod("x")).await.ok();
    let mut running = made.clone();
    running["status"]["phase"] = "Running".into();
    running["spec"]["containers"][0]["image"] = "other".into();
    let same = api.put(&format!("{NS}/pods/x/status"), &running).await.ok();
    assert_eq!(same["status"]["phase"], "Running");
    assert_eq!(same["spec"], made["spec"]);
    let mut image = same.clone();
    image["spec"]["containers"][0]["image"] = "other".into();
    image["status"]["phase"] = "Failed".into();
    let changed = api.put(&format!("{NS}/pods/x"), &image).await.ok();
    assert_eq!(changed["status"]["phase"], "Running");
    assert_eq!(changed["spec"]["containers"][0]["image"], "other");
    assert_eq!(changed["metadata"]["generation"], 2);
}

#[tokio::test]
async fn an_eviction_spends_a_disruption() {
    let api = Api::new().await;
    let mut object = pod("x");
    object["metadata"]["labels"] = json!({"app": "a"});
    api.post(&format!("{NS}/pods"), &object).await.ok();
    bind(&api, "x", "n1").await;
    api.merge(
        &format!("{NS}/pods/x/status"),
        &json!({"status": {"phase": "Running"}}),
    )
    .await
    .ok();
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}}});
    api.post(budgets, &budget).await.ok();
    let status = |allowed: i64| {
        json!({"status": {"observedGeneration": 1, "disruptionsAllowed": allowed,
        "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1}})
    };
    api.merge(&format!("{budgets}/b/status"), &status(0)).await.ok();
    let evict = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "x"}});
    // A pod that is not ready may always go while enough others are healthy; this one is ready.
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    api.merge(&format!("{NS}/pods/x/status"), &ready).await.ok();
    api.post(&format!("{NS}/pods/x/eviction"), &evict)
        .await
        .fails(429, "TooManyRequests");
    api.merge(&format!("{budgets}/b/status"), &status(1)).await.ok();
    assert_eq!(api.post(&format!("{NS}/pods/x/eviction"), &evict).await.code, 201);
    let after = api.get(&format!("{budgets}/b")).await.ok();
    assert_eq!(after["status"]["disruptionsAllowed"].as_i64().unwrap_or(0), 0);
    assert!(after["status"]["disruptedPods"]["x"].is_string());
}

#[tokio::test]
async fn services_get_addresses_and_ports_of_their_own() {
    let api = Api::new().await;
    let path = format!("{NS}/services");
    let ports = json!([{"port": 80}]);
    let one = api
        .post(
            &path,
            &service("a", json!({"ports": ports, "selector": {"a": "b"}})),
        )
        .await
        .ok();
    let address = one["spec"]["clusterIP"].as_str().expect("an address").to_owned();
    assert!(address.starts_with("10.43."));
    assert_eq!(one["spec"]["clusterIPs"], json!([address]));
    assert_eq!(one["spec"]["ipFamilies"], json!(["IPv4"]));
    assert_eq!(one["spec"]["ipFamilyPolicy"], "SingleStack");
    assert_eq!(one["spec"]["ports"][0]["targetPort"], 80);
    let taken = api
        .post(
            &path,
            &service("b", json!({"ports": ports, "clusterIP": address})),
        )
        .await;
    taken.fails(422, "Invalid");
    let outside = api
        .post(
            &path,
            &service("b", json!({"ports": ports, "clusterIP": "10.1.2.3"})),
        )
        .await;
    outside.fails(422, "Invalid");
    api.delete(&format!("{path}/a")).await.ok();
    api.post(
        &path,
        &service("b", json!({"ports": ports, "clusterIP": address})),
    )
    .await
    .ok();
    let node = service(
        "n",
        json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]}),
    );
    api.post(&path, &node).await.ok();
    let again = service(
        "m",
        json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]}),
    );
    api.post(&path, &again).await.fails(422, "Invalid");
    let free = service(
        "m",
        json!({"type": "NodePort", "ports": [{"port": 80}, {"port": 81, "name": "x"}]}),
    );
    let made = api.post(&path, &free).await;
    if made.code.is_success() {
        assert!(
            made.ok()["spec"]["ports"][1]["nodePort"]
                .as_i64()
                .is_some_and(|port| port >= 30000)
        );
    }
    let headless = api
        .post(
            &path,
            &service(
                "h",
                json!({"clusterIP": "None", "ports": ports, "selector": {"a": "b"}}),
            ),
        )
        .await
        .ok();
    assert_eq!(headless["spec"]["clusterIPs"], json!(["None"]));
    let external = service(
        "e",
        json!({"type": "ExternalName", "externalName": "example.com"}),
    );
    assert!(
        api.post(&path, &external).await.ok()["spec"]
            .get("clusterIP")
            .is_none()
    );
}

#[tokio::test]
async fn a_service_keeps_its_address_through_updates() {
    let api = Api::new().await;
    let path = format!("{NS}/services");
    let made = api
        .post(
            &path,
            &service("a", json!({"type": "NodePort", "ports": [{"port": 80}]})),
        )
        .await
        .ok();
    let update = service(
        "a",
        json!({"type": "NodePort", "ports": [{"port": 80}], "selector": {"x": "y"}}),
    );
    let now = api.put(&format!("{path}/a"), &update).await.ok();
    assert_eq!(now["spec"]["clusterIP"], made["spec"]["clusterIP"]);
    assert_eq!(
        now["spec"]["ports"][0]["nodePort"],
        made["spec"]["ports"][0]["nodePort"]
    );
    let inner = api
        .merge(&format!("{path}/a"), &json!({"spec": {"type": "ClusterIP"}}))
        .await
        .ok();
    assert!(inner["spec"]["ports"][0].get("nodePort").is_none());
}

#[tokio::test]
async fn a_deployment_counts_the_changes_of_its_spec_and_is_scaled() {
    let api = Api::new().await;
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    let made = api.post(path, &object).await.ok();
    assert_eq!(
        (&made["metadata"]["generation"], &made["spec"]["replicas"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(made["spec"]["strategy"]["type"], "RollingUpdate");
    let labelled = api
        .merge(&format!("{path}/d"), &json!({"metadata": {"labels": {"x": "y"}}}))
        .await
        .ok();
    assert_eq!(labelled["metadata"]["generation"], 1);
    let scale = api.get(&format!("{path}/d/scale")).await.ok();
    assert_eq!(
        (&scale["kind"], &scale["spec"]["replicas"]),
        (&json!("Scale"), &json!(1))
    );
    assert_eq!(scale["status"]["selector"], "a=b");
    let scaled = api
        .merge(&format!("{path}/d/scale"), &json!({"spec": {"replicas": 3}}))
        .await
        .ok();
    assert_eq!(scaled["spec"]["replicas"], 3);
    let now = api.get(&format!("{path}/d")).await.ok();
    assert_eq!(
        (&now["metadata"]["generation"], &now["spec"]["replicas"]),
        (&json!(2), &json!(3))
    );
    let stale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale",
        "metadata": {"name": "d", "namespace": "default", "resourceVersion": "1"}, "spec": {"replicas": 1}});
    api.put(&format!("{path}/d/scale"), &stale)
        .await
        .fails(409, "Conflict");
}

#[tokio::test]
async fn a_namespace_waits_for_its_finalizer() {
    let api = Api::new().await;
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}});
    let made = api.post("/api/v1/namespaces", &object).await.ok();
    assert_eq!(made["status"]["phase"], "Active");
    assert_eq!(made["metadata"]["labels"]["kubernetes.io/metadata.name"], "n");
    let going = api.delete("/api/v1/namespaces/n").await.ok();
    assert_eq!(going["status"]["phase"], "Terminating");
    let refused = api
        .post("/api/v1/namespaces/n/pods", &pod("x"))
        .await
        .fails(403, "Forbidden");
    assert_eq!(refused["details"]["causes"][0]["reason"], "NamespaceTerminating");
    let mut done = going.clone();
    done["spec"] = json!({});
    api.put("/api/v1/namespaces/n/finalize", &done).await.ok();
    api.get("/api/v1/namespaces/n").await.fails(404, "NotFound");
    api.delete("/api/v1/namespaces/kube-system")
        .await
        .fails(403, "Forbidden");
}

#[tokio::test]
async fn a_secrets_text_is_stored_as_data() {
    let api = Api::new().await;
    let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"},
        "stringData": {"a": "text"}});
    let made = api.post(&format!("{NS}/secrets"), &object).await.ok();
    assert_eq!(made["data"], json!({"a": "dGV4dA=="}));
    assert!(made.get("stringData").is_none());
    assert_eq!(made["type"], "Opaque");
}

#[tokio::test]
async fn a_lease_is_made_by_a_put() {
    let api = Api::new().await;
    let path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n";
    let object = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "n"},
        "spec": {"holderIdentity": "n", "renewTime": "2026-01-01T00:00:00.000000Z"}});
    let made = api.put(path, &object).await;
    assert_eq!(made.code, 201);
    let mut renewed = made.ok();
    renewed["spec"]["renewTime"] = "2026-01-01T00:00:10.000000Z".into();
    assert_eq!(api.put(path, &renewed).await.code, 200);
    // A PUT that does not say which version it has seen is refused for this kind.
    api.put(path, &object).await.fails(422, "Invalid");
}

#[tokio::test]
async fn an_event_is_one_object_in_two_groups() {
    let api = Api::new().await;
    let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "name": "x", "namespace": "default"}, "reason": "R", "message": "m",
        "type": "Normal", "count": 1});
    api.post(&format!("{NS}/events"), &event).await.ok();
    let other = api
        .get("/apis/events.k8s.io/v1/namespaces/default/events/e")
        .await
        .ok();
    assert_eq!(
        (&other["note"], &other["regarding"]["name"]),
        (&json!("m"), &json!("x"))
    );
    let list = api.get("/apis/events.k8s.io/v1/events").await.ok();
    assert_eq!(list["items"][0]["deprecatedCount"], 1);
    let selected = api
        .get(&format!(
            "{NS}/events?fieldSelector=involvedObject.name%3Dx,type%3DNormal"
        ))
        .await
        .ok();
    assert_eq!(selected["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn the_first_objects_are_there() {
    let api = Api::new().await;
    let list = api.get("/api/v1/namespaces").await.ok();
    assert_eq!(list["items"].as_array().map(Vec::len), Some(4));
    let service = api.get(&format!("{NS}/services/kubernetes")).await.ok();
    assert_eq!(service["spec"]["clusterIP"], "10.43.0.1");
    let endpoints = api.get(&format!("{NS}/endpoints/kubernetes")).await.ok();
    assert_eq!(endpoints["subsets"][0]["addresses"][0]["ip"], "192.0.2.1");
    api.get("/apis/scheduling.k8s.io/v1/priorityclasses/system-node-critical")
        .await
        .ok();
    api.server
        .bootstrap()
        .await
        .expect("a second start changes nothing");
}

#[tokio::test]
async fn a_pod_needs_its_runtime_class_and_carries_its_cost() {
    let api = Api::new().await;
    let mut object = pod("x");
    object["spec"]["runtimeClassName"] = "big".into();
    let status = api
        .post(&format!("{NS}/pods"), &object)
        .await
        .fails(403, "Forbidden");
    assert!(
        status["message"]
            .as_str()
            .is_some_and(|text| text.contains("RuntimeClass \"big\" not found"))
    );
    let class = json!({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "big"},
        "handler": "big", "overhead": {"podFixed": {"cpu": "100m"}}, "scheduling": {"nodeSelector": {"a": "b"}}});
    api.post("/apis/node.k8s.io/v1/runtimeclasses", &class).await.ok();
    let made = api.post(&format!("{NS}/pods"), &object).await.ok();
    assert_eq!(made["spec"]["overhead"], json!({"cpu": "100m"}));
    assert_eq!(made["spec"]["nodeSelector"], json!({"a": "b"}));
}

#[tokio::test]
async fn a_question_has_no_table() {
    let api = Api::new().await;
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"nonResourceAttributes": {"verb": "get", "path": "/"}}});
    let headers = [
        ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io"),
        ("content-type", "application/json"),
    ];
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    api.with(http::Method::POST, path, &headers, review.to_string())
        .await
        .fails(406, "NotAcceptable");
}
