//! From the API's objects to the kernel's rules.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod cluster;
mod machine;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use cluster::{Cluster, RANGES, SERVICES, SLICES};
use kobune_network::{NodeNetwork, service};
use machine::{Pod, ask, on_a_node};
use serde_json::json;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

const WEB: Ipv4Addr = Ipv4Addr::new(10, 43, 0, 5);

async fn until(wanted: &str) {
    until_at(WEB, wanted).await;
}

/// Waits until a connection to a Service's address ends as said; the rules follow within milliseconds.
async fn until_at(address: Ipv4Addr, wanted: &str) {
    let mut answer = String::new();
    let turned = async {
        while answer != wanted {
            sleep(Duration::from_millis(2)).await;
            let asked = tokio::task::spawn_blocking(move || ask(address, 80))
                .await
                .unwrap();
            answer = asked.map_or_else(|error| error.kind().to_string(), |(name, _)| name);
        }
    };
    let result = timeout(Duration::from_secs(10), turned).await;
    assert!(result.is_ok(), "{wanted:?} wanted, {answer:?} it is");
}

fn follow(network: &Arc<NodeNetwork>, cluster: &Cluster) -> CancellationToken {
    let cancel = CancellationToken::new();
    tokio::spawn(service::run(
        Arc::clone(network),
        cluster.caches(&cancel),
        cancel.clone(),
    ));
    cancel
}

#[test]
fn rules_follow_the_objects_and_a_restart_takes_over() {
    on_a_node(|node| async move {
        let network = node.start();
        let (a, b) = (Pod::new(&network, "a").await, Pod::new(&network, "b").await);
        let cluster = Cluster::default();
        let cancel = follow(&network, &cluster);
        let spec = json!({"clusterIP": WEB, "ports": [{"name": "http", "port": 80}]});
        cluster.serve("web", spec, json!([{"addresses": [a.ip()]}]));
        until("a").await;
        cluster.endpoints("web", json!([{"addresses": [b.ip()]}]));
        until("b").await;
        cluster.endpoints(
            "web",
            json!([{"addresses": [b.ip()], "conditions": {"ready": false}}]),
        );
        until("connection refused").await;
        cluster.endpoints("web", json!([{"addresses": [a.ip()]}]));
        until("a").await;

        cancel.cancel();
        drop(network);
        // While nobody follows, the world goes on.
        cluster.delete(SLICES, "shop", "web-1");
        let network = node.start();
        assert_eq!(ask(WEB, 80).unwrap().0, "a");
        let cancel = follow(&network, &cluster);
        until("connection refused").await;
        cluster.endpoints("web", json!([{"addresses": [b.ip()]}]));
        until("b").await;
        cluster.delete(SERVICES, "shop", "web");
        until("connection refused").await;
        cancel.cancel();
    });
}

#[test]
fn rules_are_made_anew_after_someone_deleted_them() {
    on_a_node(|node| async move {
        let network = node.start();
        let a = Pod::new(&network, "a").await;
        let cluster = Cluster::default();
        let cancel = follow(&network, &cluster);
        let spec = json!({"clusterIP": WEB, "ports": [{"name": "http", "port": 80}]});
        cluster.serve("web", spec.clone(), json!([{"addresses": [a.ip()]}]));
        until("a").await;
        machine::sh("nft delete table ip kobune");
        cluster.serve(
            "other",
            json!({"clusterIP": "10.43.0.6", "ports": [{"name": "http", "port": 80}]}),
            json!([]),
        );
        until("a").await;
        cancel.cancel();
    });
}

#[test]
fn what_nobody_has_in_a_further_range_of_services_is_refused() {
    on_a_node(|node| async move {
        let nobodys = Ipv4Addr::new(10, 99, 0, 5);
        let network = node.start();
        let a = Pod::new(&network, "a").await;
        let cluster = Cluster::default();
        let cancel = follow(&network, &cluster);
        cluster.serve(
            "web",
            json!({"clusterIP": WEB, "ports": [{"name": "http", "port": 80}]}),
            json!([{"addresses": [a.ip()]}]),
        );
        until("a").await;
        assert!(!machine::sh("nft list table ip kobune").contains("10.99.0.0/24"));
        let range =
            json!({"metadata": {"name": "more"}, "spec": {"cidrs": ["10.99.0.0/24", "fd00:99::/112"]}});
        cluster.set(RANGES, range);
        until_at(nobodys, "connection refused").await;
        let from_a_pod = a.namespace.ask(nobodys, 80).unwrap_err();
        assert_eq!(from_a_pod.kind(), std::io::ErrorKind::ConnectionRefused);
        until("a").await;
        let spec = json!({"clusterIP": nobodys, "ports": [{"name": "http", "port": 80}]});
        cluster.serve("other", spec, json!([{"addresses": [a.ip()]}]));
        until_at(nobodys, "a").await;
        cluster.delete(SERVICES, "shop", "other");
        until_at(nobodys, "connection refused").await;
        cancel.cancel();
    });
}
