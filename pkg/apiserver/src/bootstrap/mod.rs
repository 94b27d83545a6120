//! What every cluster begins with.

mod flow;

use bytes::Bytes;
use futures_util::future::try_join_all;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use kobune_api::status::{Reason, Status};
use kobune_pki::Identity;
use serde_json::{Value, json};

use crate::ApiServer;
use crate::strategy::services;

/// The identity of the server when it asks itself.
fn loopback() -> Identity {
    Identity::new("system:apiserver", &["system:masters", "system:authenticated"])
}

/// Makes what is missing and leaves what is there.
pub async fn run(server: &ApiServer) -> Result<(), Status> {
    for name in ["kube-system", "kube-public", "kube-node-lease", "default"] {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        ensure(server, "/api/v1/namespaces", namespace).await?;
    }
    for (name, value, text) in [
        (
            "system-node-critical",
            2_000_001_000,
            "Used for system critical pods that must not be moved from their current node.",
        ),
        (
            "system-cluster-critical",
            2_000_000_000,
            "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
        ),
    ] {
        let class = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
            "metadata": {"name": name}, "value": value, "description": text});
        ensure(server, "/apis/scheduling.k8s.io/v1/priorityclasses", class).await?;
    }
    let cidr = json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR",
        "metadata": {"name": "kubernetes"}, "spec": {"cidrs": [server.0.config.service_cidr.to_string()]}});
    ensure(server, "/apis/networking.k8s.io/v1/servicecidrs", cidr).await?;
    flow_control(server).await?;
    authentication(server).await?;
    kubernetes_service(server).await?;
    addresses(server).await
}

/// The objects of Services' addresses that are missing: somebody deleted them.
async fn addresses(server: &ApiServer) -> Result<(), Status> {
    let snapshot = server.0.store.snapshot();
    for record in snapshot.range("/registry/core/services/", None) {
        let service: Value = serde_json::from_slice(&record.value).unwrap_or_default();
        for address in services::held(&service).addresses {
            if !services::addresses::is_named(&server.0, address) {
                let object = services::addresses::object(&service, address);
                ensure(server, "/apis/networking.k8s.io/v1/ipaddresses", object).await?;
            }
        }
    }
    Ok(())
}

/// The levels and schemas of flow control, all at once: one write to the disk holds them.
async fn flow_control(server: &ApiServer) -> Result<(), Status> {
    const GROUP: &str = "/apis/flowcontrol.apiserver.k8s.io/v1";
    let (levels, schemas) = (
        format!("{GROUP}/prioritylevelconfigurations"),
        format!("{GROUP}/flowschemas"),
    );
    let levels = flow::levels().into_iter().map(|level| (&levels, level));
    let schemas = flow::schemas().into_iter().map(|schema| (&schemas, schema));
    let writes = levels
        .chain(schemas)
        .map(|(path, object)| ensure(server, path, object));
    try_join_all(writes).await.map(drop)
}

/// What servers that answer for a part of the API need to know whom to believe.
async fn authentication(server: &ApiServer) -> Result<(), Status> {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"},
        "data": {"client-ca-file": server.0.config.authorities.client.certificate_pem()}});
    replace(server, "/api/v1/namespaces/kube-system/configmaps", map).await
}

/// The Service through which pods reach the API, and where it leads.
async fn kubernetes_service(server: &ApiServer) -> Result<(), Status> {
    let config = &server.0.config;
    let first = config.service_cidr.nth(1).to_string();
    let (address, port) = (config.advertise.to_string(), config.bind.port());
    let labels = json!({"component": "apiserver", "provider": "kubernetes"});
    let service = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": labels},
        "spec": {"type": "ClusterIP", "clusterIP": first, "clusterIPs": [first], "sessionAffinity": "None",
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": port}]}});
    ensure(server, "/api/v1/namespaces/default/services", service).await?;
    if config.advertise.is_loopback() {
        // Pods have a loopback of their own: an endpoint there would lead nowhere.
        tracing::warn!(
            address,
            "the kubernetes Service has no endpoint: the advertised address is a loopback one"
        );
        return Ok(());
    }
    let endpoints = json!({"apiVersion": "v1", "kind": "Endpoints",
        "metadata": {"name": "kubernetes", "namespace": "default",
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{"addresses": [{"ip": address}],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}]}]});
    replace(server, "/api/v1/namespaces/default/endpoints", endpoints).await?;
    let family = if config.advertise.is_ipv4() {
        "IPv4"
    } else {
        "IPv6"
    };
    let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "kubernetes", "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": family,
        "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}]});
    replace(
        server,
        "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
        slice,
    )
    .await
}

async fn ensure(server: &ApiServer, collection: &str, object: Value) -> Result<(), Status> {
    let made = send(server, Method::POST, collection, &object).await;
    match made {
        Err(status) if status.reason == Reason::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Makes the object, or sets it to this: the advertised address may have changed. Nothing is written
/// when it has not.
async fn replace(server: &ApiServer, collection: &str, object: Value) -> Result<(), Status> {
    let made = send(server, Method::POST, collection, &object).await;
    match made {
        Err(status) if status.reason == Reason::AlreadyExists => {
            let path = format!("{collection}/{}", kobune_api::meta::name(&object));
            send(server, Method::PATCH, &path, &object).await
        }
        other => other,
    }
}

async fn send(server: &ApiServer, method: Method, path: &str, object: &Value) -> Result<(), Status> {
    let media = if method == Method::PATCH {
        "application/merge-patch+json"
    } else {
        "application/json"
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::CONTENT_TYPE, media)
        .body(Full::new(Bytes::from(object.to_string())))
        .map_err(Status::internal)?;
    let response = server.handle(loopback(), request).await;
    let code = response.status();
    if code.is_success() {
        return Ok(());
    }
    let body = response
        .into_body()
        .collect()
        .await
        .map_err(Status::internal)?
        .to_bytes();
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    let reason = if answer["reason"] == "AlreadyExists" {
        Reason::AlreadyExists
    } else {
        Reason::InternalError
    };
    Err(Status::new(
        code.as_u16(),
        reason,
        answer["message"].as_str().unwrap_or("no message"),
    ))
}
