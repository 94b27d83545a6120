//! Small nodes and pods for the tests of this crate.

use std::sync::Arc;

use kobune_client::k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

/// A node with 4 CPUs, 8 GiB and room for 110 pods; `extra` is laid over it.
pub fn node(name: &str, extra: Value) -> Arc<Node> {
    let mut node = json!({"metadata": {"name": name}, "spec": {},
        "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}}});
    merge(&mut node, extra);
    Arc::new(serde_json::from_value(node).unwrap())
}

/// A pod in namespace `a`.
pub fn pod(name: &str, spec: Value) -> Arc<Pod> {
    Arc::new(
        serde_json::from_value(
            json!({"metadata": {"name": name, "namespace": "a", "uid": name}, "spec": spec}),
        )
        .unwrap(),
    )
}

/// A pod that asks for this much CPU.
pub fn pod_with_cpu(name: &str, cpu: &str) -> Arc<Pod> {
    pod(
        name,
        json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}),
    )
}

fn merge(base: &mut Value, extra: Value) {
    match (base, extra) {
        (Value::Object(base), Value::Object(extra)) => {
            for (key, value) in extra {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, extra) => *base = extra,
    }
}
