//! How long the server itself takes for a request, without a network and without a disk. Run by hand:
//!
//! ```text
//! cargo test --release -p kobune-apiserver --test throughput -- --ignored --nocapture
//! ```

mod support;

use std::time::Instant;

use serde_json::json;
use support::Api;

const N: u32 = 20_000;

fn told(what: &str, began: Instant) {
    let each = began.elapsed() / N;
    println!("{what}: {each:?} each, {:.0} a second", 1.0 / each.as_secs_f64());
}

#[tokio::test]
#[ignore = "measures; nothing to pass or fail"]
async fn a_configmaps_life() {
    let api = Api::new().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let object = |n: u32, data: &str| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("m-{n}"), "labels": {"a": "b"}},
            "data": {"text": data}})
    };
    let text = "x".repeat(1024);
    let began = Instant::now();
    for n in 0..N {
        assert_eq!(api.post(maps, &object(n, &text)).await.code, 201);
    }
    told("create", began);
    let began = Instant::now();
    for n in 0..N {
        assert_eq!(api.get(&format!("{maps}/m-{n}")).await.code, 200);
    }
    told("get", began);
    let text = "y".repeat(1024);
    let began = Instant::now();
    for n in 0..N {
        assert_eq!(
            api.put(&format!("{maps}/m-{n}"), &object(n, &text)).await.code,
            200
        );
    }
    told("update", began);
    let began = Instant::now();
    for n in 0..N {
        let patch = json!({"data": {"more": "z"}});
        assert_eq!(api.merge(&format!("{maps}/m-{n}"), &patch).await.code, 200);
    }
    told("patch", began);
    let began = Instant::now();
    for n in 0..N {
        assert_eq!(api.delete(&format!("{maps}/m-{n}")).await.code, 200);
    }
    told("delete", began);
}
