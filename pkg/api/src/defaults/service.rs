//! Services.

use super::rule::{Rule, fill};
use super::{child, text};
use serde_json::{Map, Value, json};

/// A Service.
pub(super) fn service(object: &mut Map<String, Value>) {
    fill(object, const { &[Rule::object("status.loadBalancer")] });
    let Some(spec) = child(object, "spec") else { return };
    fill(
        spec,
        const {
            &[
                Rule::zero("sessionAffinity", "None"),
                Rule::zero("type", "ClusterIP"),
            ]
        },
    );
    match text(spec, "sessionAffinity") {
        "None" => drop(spec.remove("sessionAffinityConfig")),
        "ClientIP" => {
            fill(
                spec,
                const {
                    &[Rule::nil_number(
                        "sessionAffinityConfig.clientIP.timeoutSeconds",
                        10800,
                    )]
                },
            );
        }
        _ => {}
    }
    first_cluster_ip(spec);
    fill(spec, const { &[Rule::zero("ports[].protocol", "TCP")] });
    for port in spec
        .get_mut("ports")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        target_port(port);
    }
    let kind = text(spec, "type").to_owned();
    let external_ips = spec
        .get("externalIPs")
        .and_then(Value::as_array)
        .is_some_and(|ips| !ips.is_empty());
    let external = matches!(&*kind, "LoadBalancer" | "NodePort") || (kind == "ClusterIP" && external_ips);
    if external {
        fill(spec, const { &[Rule::zero("externalTrafficPolicy", "Cluster")] });
    }
    if matches!(&*kind, "LoadBalancer" | "NodePort" | "ClusterIP") {
        fill(spec, const { &[Rule::nil("internalTrafficPolicy", "Cluster")] });
    }
    if kind == "LoadBalancer" {
        fill(
            spec,
            const { &[Rule::nil_flag("allocateLoadBalancerNodePorts", true)] },
        );
        let ingress = object
            .get_mut("status")
            .and_then(|s| s.get_mut("loadBalancer")?.get_mut("ingress"));
        for entry in ingress.and_then(Value::as_array_mut).into_iter().flatten() {
            let Value::Object(entry) = entry else { continue };
            if !text(entry, "ip").is_empty() {
                fill(entry, const { &[Rule::nil("ipMode", "VIP")] });
            }
        }
    }
}

fn target_port(port: &mut Value) {
    let Value::Object(port) = port else { return };
    let silent = match port.get("targetPort") {
        None | Some(Value::Null) => true,
        Some(Value::String(name)) => name.is_empty(),
        Some(number) => number.as_i64() == Some(0),
    };
    if let (true, Some(number)) = (silent, port.get("port").cloned()) {
        port.insert("targetPort".to_owned(), number);
    }
}

/// `clusterIPs` begins with `clusterIP`; the list may be left out.
fn first_cluster_ip(spec: &mut Map<String, Value>) {
    let silent = spec
        .get("clusterIPs")
        .and_then(Value::as_array)
        .is_none_or(Vec::is_empty);
    let ip = text(spec, "clusterIP").to_owned();
    if silent && !ip.is_empty() {
        spec.insert("clusterIPs".to_owned(), json!([ip]));
    }
}

/// A client that knows only `clusterIP` changed or cleared it and sent `clusterIPs` back as it was:
/// the list follows.
fn follow_cluster_ip(spec: &mut Map<String, Value>, old: &Map<String, Value>) {
    let changed = text(spec, "clusterIP") != text(old, "clusterIP");
    if !changed || spec.get("clusterIPs") != old.get("clusterIPs") {
        return;
    }
    let ip = text(spec, "clusterIP").to_owned();
    match spec.get_mut("clusterIPs").and_then(Value::as_array_mut) {
        Some(ips) if ip.is_empty() => ips.clear(),
        Some(ips) if !ips.is_empty() => ips[0] = json!(ip),
        _ => {}
    }
}

/// Keeps what was allocated to the `old` Service where the `new` one still needs it and is silent:
/// the cluster IPs, the node ports (by port and protocol), the health check's node port. So a client
/// may send the manifest it once created the Service from.
pub fn keep_allocated(new: &mut Value, old: &Value) {
    let (Some(Value::Object(spec)), Some(Value::Object(old))) = (new.get_mut("spec"), old.get("spec")) else {
        return;
    };
    follow_cluster_ip(spec, old);
    let needs_ip = |spec: &Map<String, Value>| {
        matches!(text(spec, "type"), "" | "ClusterIP" | "NodePort" | "LoadBalancer")
    };
    if needs_ip(spec) && needs_ip(old) {
        keep(spec, old, "clusterIP");
        if spec.get("clusterIP") == old.get("clusterIP") {
            keep(spec, old, "clusterIPs");
        }
    }
    let needs_ports = |spec: &Map<String, Value>| matches!(text(spec, "type"), "NodePort" | "LoadBalancer");
    if needs_ports(spec) && needs_ports(old) {
        keep_node_ports(spec, old);
    }
    let checks = |spec: &Map<String, Value>| {
        text(spec, "type") == "LoadBalancer" && text(spec, "externalTrafficPolicy") == "Local"
    };
    if checks(spec) && checks(old) {
        keep(spec, old, "healthCheckNodePort");
    }
}

fn keep(spec: &mut Map<String, Value>, old: &Map<String, Value>, key: &str) {
    let silent = match spec.get(key) {
        None | Some(Value::Null) => true,
        Some(value) => *value == json!("") || *value == json!(0) || *value == json!([]),
    };
    if let (true, Some(value)) = (silent, old.get(key)) {
        spec.insert(key.to_owned(), value.clone());
    }
}

fn keep_node_ports(spec: &mut Map<String, Value>, old: &Map<String, Value>) {
    let old_ports = || old.get("ports").and_then(Value::as_array).into_iter().flatten();
    let same =
        |a: &Value, b: &Value| a.get("port") == b.get("port") && a.get("protocol") == b.get("protocol");
    let mut used: Vec<i64> = Vec::new();
    let ports = spec.get_mut("ports").and_then(Value::as_array_mut);
    let ports: Vec<&mut Value> = ports.into_iter().flatten().collect();
    used.extend(ports.iter().filter_map(|p| p.get("nodePort")?.as_i64()));
    for port in ports {
        if port.get("nodePort").and_then(Value::as_i64).unwrap_or_default() != 0 {
            continue;
        }
        let known = old_ports()
            .find(|o| same(o, port))
            .and_then(|o| o.get("nodePort")?.as_i64());
        if let (Some(number), Value::Object(port)) = (known.filter(|n| *n != 0 && !used.contains(n)), port) {
            used.push(number);
            port.insert("nodePort".to_owned(), json!(number));
        }
    }
}
