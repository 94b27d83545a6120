//! Services.

use super::at::At;
use super::container::PROTOCOLS;
use super::{Errors, ip, meta, probe};
use crate::fields::FieldError;
use crate::names;
use std::net::IpAddr;

fn is_headless(spec: &At<'_, '_>) -> bool {
    let ips = spec.child("clusterIPs");
    let mut items = ips.items();
    match (items.next(), items.next()) {
        (Some(first), None) => first.text() == "None",
        (None, _) => spec.child("clusterIP").text() == "None",
        _ => false,
    }
}

/// A Service, new or changed.
pub(super) fn service(root: &At<'_, '_>, old: Option<&At<'_, '_>>, errors: &mut Errors) {
    let spec = root.child("spec");
    let kind = spec.child("type");
    let headless = is_headless(&spec);
    let ports = spec.child("ports");
    if ports.len() == 0 && !headless && kind.text() != "ExternalName" {
        errors.push(FieldError::required(ports.path, ""));
    }
    by_type(&spec, headless, errors);
    let mut known = Vec::new();
    for port in ports.items() {
        one_port(&port, ports.len() > 1, &mut known, errors);
    }
    meta::labels(&spec.child("selector"), errors);
    affinity(&spec, errors);
    cluster_ips(&spec, errors);
    let external = spec.child("externalIPs");
    for address in external.items() {
        if ip::address(&address, errors) {
            ip::endpoint(&address, errors);
        }
    }
    kind.require_one_of(errors, &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]);
    unique_ports(&spec, errors);
    balancer(&spec, errors);
    traffic(&spec, errors);
    if let Some(old) = old {
        update(&spec, &old.child("spec"), errors);
    }
}

fn by_type(spec: &At<'_, '_>, headless: bool, errors: &mut Errors) {
    match spec.child("type").text() {
        kind @ ("LoadBalancer" | "NodePort") if headless => {
            let ips = spec.child("clusterIPs");
            let detail = format!("may not be set to 'None' for {kind} services");
            errors.push(FieldError::invalid(ips.path.index(0), "None", detail));
        }
        "ExternalName" => {
            for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                let at = spec.child(field);
                if at.is_set() && (at.len() > 0 || !at.text().is_empty()) {
                    at.forbid(errors, "may not be set for ExternalName services");
                }
            }
            let name = spec.child("externalName");
            let text = name.text().strip_suffix('.').unwrap_or(name.text());
            if text.is_empty() {
                errors.push(FieldError::required(name.path, ""));
            } else {
                for message in names::dns1123_subdomain_errors(text) {
                    errors.push(FieldError::invalid(name.path, text, message));
                }
            }
        }
        _ => {}
    }
}

fn one_port<'v>(port: &At<'v, '_>, name_required: bool, known: &mut Vec<&'v str>, errors: &mut Errors) {
    let name = port.child("name");
    if !name.text().is_empty() {
        name.invalid_each(errors, names::dns1123_label_errors(name.text()));
        if known.contains(&name.text()) {
            errors.push(FieldError::duplicate(name.path, name.text()));
        }
        known.push(name.text());
    } else if name_required {
        errors.push(FieldError::required(name.path, ""));
    }
    let number = port.child("port");
    for message in names::port_number_errors(number.number().unwrap_or_default()) {
        number.invalid_number(errors, &message);
    }
    port.child("protocol").require_one_of(errors, PROTOCOLS);
    probe::port_number_or_name(&port.child("targetPort"), errors);
    let app = port.child("appProtocol");
    if app.is_set() {
        app.invalid_each(errors, names::qualified_name_errors(app.text()));
    }
}

fn affinity(spec: &At<'_, '_>, errors: &mut Errors) {
    let affinity = spec.child("sessionAffinity");
    affinity.require_one_of(errors, &["ClientIP", "None"]);
    let config = spec.child("sessionAffinityConfig");
    match affinity.text() {
        "ClientIP" => {
            let detail = "when session affinity type is ClientIP";
            let client = config.child("clientIP");
            let timeout = client.child("timeoutSeconds");
            let given = config.require(errors, detail)
                && client.require(errors, detail)
                && timeout.require(errors, detail);
            if given && !(1..=86_400).contains(&timeout.number().unwrap_or_default()) {
                timeout.invalid(errors, "must be greater than 0 and less than 86400");
            }
        }
        "None" => config.forbid_if_set(errors, "must not be set when session affinity is None"),
        _ => {}
    }
}

fn cluster_ips(spec: &At<'_, '_>, errors: &mut Errors) {
    if spec.child("type").text() == "ExternalName" {
        return;
    }
    let (one, all) = (spec.child("clusterIP"), spec.child("clusterIPs"));
    let first = all.items().next().map(|ip| ip.text());
    match (one.text(), first) {
        ("", Some(_)) => all.invalid(errors, "must be empty when `clusterIP` is not specified"),
        ("", None) => {}
        (_, None) => errors.push(FieldError::required(all.path, "")),
        (one, Some(first)) if one != first => all.invalid(errors, "first value must match `clusterIP`"),
        _ => {}
    }
    let families = spec.child("ipFamilies");
    let mut known = Vec::new();
    for family in families.items() {
        family.one_of(errors, &["IPv4", "IPv6"]);
        if known.contains(&family.text()) {
            errors.push(FieldError::duplicate(family.path, family.text()));
        }
        known.push(family.text());
    }
    let policies = &["PreferDualStack", "RequireDualStack", "SingleStack"];
    spec.child("ipFamilyPolicy").one_of_if_set(errors, policies);
    let mut bad = false;
    for (i, address) in all.items().enumerate() {
        if i == 0 && address.text() == "None" {
            if all.len() > 1 {
                bad = true;
                all.invalid(errors, "'None' must be the first and only value");
            }
            continue;
        }
        bad |= !ip::address(&address, errors);
    }
    if all.len() > 2 {
        all.invalid(errors, "may only hold up to 2 values");
    }
    if !bad {
        match_families(&all, &known, errors);
    }
}

fn match_families(all: &At<'_, '_>, families: &[&str], errors: &mut Errors) {
    let is_v6 = |text: &str| matches!(text.parse(), Ok(IpAddr::V6(_)));
    let sixes = all.items().filter(|ip| is_v6(ip.text())).count();
    if all.len() > 1 && (sixes == 0 || sixes == all.len()) {
        all.invalid(errors, "may specify no more than one IP for each IP family");
    }
    for (i, (address, family)) in all.items().zip(families).enumerate() {
        if address.text() != "None" && is_v6(address.text()) != (*family == "IPv6") {
            let detail = format!("expected an {family} value as indicated by `ipFamilies[{i}]`");
            address.invalid(errors, detail);
        }
    }
}

fn unique_ports(spec: &At<'_, '_>, errors: &mut Errors) {
    let ports = spec.child("ports");
    let number = |port: &At<'_, '_>, field: &str| port.child(field).number().unwrap_or_default();
    let (mut node, mut own) = (Vec::new(), Vec::new());
    for port in ports.items() {
        let protocol = port.child("protocol").text();
        let node_port = port.child("nodePort");
        let chosen = number(&port, "nodePort");
        if chosen != 0 {
            if spec.child("type").text() == "ClusterIP" {
                node_port.forbid(errors, "may not be used when `type` is 'ClusterIP'");
            }
            if node.contains(&(protocol, chosen)) {
                errors.push(FieldError::duplicate(node_port.path, chosen));
            }
            node.push((protocol, chosen));
        }
        let pair = (protocol, number(&port, "port"));
        if own.contains(&pair) {
            let shown = serde_json::json!({ "protocol": pair.0, "port": pair.1 });
            errors.push(FieldError::duplicate(port.path, shown));
        }
        own.push(pair);
    }
}

fn balancer(spec: &At<'_, '_>, errors: &mut Errors) {
    let balanced = spec.child("type").text() == "LoadBalancer";
    let only = "may only be used when `type` is 'LoadBalancer'";
    let given = spec.child("loadBalancerSourceRanges");
    // Upstream's path begins with a capital.
    let ranges = spec.child("LoadBalancerSourceRanges").with(given.value);
    if ranges.len() > 0 {
        if !balanced {
            ranges.forbid(errors, only);
        }
        ranges
            .items()
            .for_each(|range| ip::range(&range, range.text().trim(), errors));
    }
    let allocate = spec.child("allocateLoadBalancerNodePorts");
    if allocate.is_set() && !balanced {
        allocate.forbid(errors, only);
    }
    let class = spec.child("loadBalancerClass");
    if class.is_set() {
        if balanced {
            class.invalid_each(errors, names::qualified_name_errors(class.text()));
        } else {
            class.forbid(errors, only);
        }
    }
}

fn traffic(spec: &At<'_, '_>, errors: &mut Errors) {
    let kind = spec.child("type").text();
    let external = matches!(kind, "LoadBalancer" | "NodePort")
        || (kind == "ClusterIP" && spec.child("externalIPs").len() > 0);
    let policy = spec.child("externalTrafficPolicy");
    if external {
        policy.require_one_of(errors, &["Cluster", "Local"]);
    } else if !policy.text().is_empty() {
        policy.invalid(errors, "may only be set for externally-accessible services");
    }
    let health = spec.child("healthCheckNodePort");
    let checked = kind == "LoadBalancer" && policy.text() == "Local";
    match health.number().unwrap_or_default() {
        // The registry allocates it after this check.
        0 => {}
        _ if !checked => health.invalid(
            errors,
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
        ),
        number => health.invalid_each(errors, names::port_number_errors(number)),
    }
    let internal = spec.child("internalTrafficPolicy");
    if kind != "ExternalName" {
        internal.require(errors, "");
    }
    internal.one_of_if_set(errors, &["Cluster", "Local"]);
    let distributions = &["PreferClose", "PreferSameZone", "PreferSameNode"];
    spec.child("trafficDistribution")
        .one_of_if_set(errors, distributions);
}

/// Addresses and families may be added and the second one released, but the first stays.
fn update(spec: &At<'_, '_>, old: &At<'_, '_>, errors: &mut Errors) {
    let external = |spec: &At<'_, '_>| spec.child("type").text() == "ExternalName";
    if external(spec) || external(old) {
        return;
    }
    let (headless, was_headless) = (is_headless(spec), is_headless(old));
    if !(headless && was_headless) {
        kept(spec, old, "clusterIPs", "clusterIP", errors);
    }
    if !headless && !was_headless {
        kept(spec, old, "ipFamilies", "ipFamily", errors);
    }
    let balanced = |spec: &At<'_, '_>| spec.child("type").text() == "LoadBalancer";
    let (class, old_class) = (spec.child("loadBalancerClass"), old.child("loadBalancerClass"));
    if balanced(spec) && balanced(old) && class.text() != old_class.text() {
        class.invalid(errors, "may not change once set");
    }
    let (health, old_health) = (
        spec.child("healthCheckNodePort"),
        old.child("healthCheckNodePort"),
    );
    let checked = |spec: &At<'_, '_>| balanced(spec) && spec.child("externalTrafficPolicy").text() == "Local";
    if checked(spec) && checked(old) && health.number() != old_health.number() {
        health.forbid(errors, "field is immutable");
    }
}

fn kept(spec: &At<'_, '_>, old: &At<'_, '_>, field: &str, one: &str, errors: &mut Errors) {
    let (list, old) = (spec.child(field), old.child(field));
    let texts = |list: &At<'_, '_>| list.items().map(|i| i.text().to_owned()).collect::<Vec<_>>();
    let (new, before) = (texts(&list), texts(&old));
    let shown = list.value.cloned().unwrap_or_else(|| serde_json::json!([]));
    let mut say = |i: usize, detail: String| {
        errors.push(FieldError::invalid(list.path.index(i), shown.clone(), detail));
    };
    if new.is_empty() && !before.is_empty() {
        return say(0, format!("primary {one} can not be unset"));
    }
    for (i, (new, before)) in new.iter().zip(&before).enumerate() {
        if new != before {
            say(i, "may not change once set".to_owned());
        }
    }
    let policy = spec.child("ipFamilyPolicy");
    if before.len() > new.len() && new.len() == 1 && policy.text() != "SingleStack" {
        policy.invalid(
            errors,
            format!("must be set to 'SingleStack' when releasing the secondary {one}"),
        );
    }
}

/// The status: addresses of the load balancer.
pub(super) fn status(root: &At<'_, '_>, errors: &mut Errors) {
    let (spec, status) = (root.child("spec"), root.child("status"));
    let balancer = status.child("loadBalancer");
    let ingress = balancer.child("ingress");
    if ingress.len() > 0 && spec.child("type").text() != "LoadBalancer" {
        ingress.forbid(errors, "may only be used when `spec.type` is \"LoadBalancer\"");
        return;
    }
    for entry in ingress.items() {
        let (address, host) = (entry.child("ip"), entry.child("hostname"));
        if !address.text().is_empty() {
            ip::address(&address, errors);
        }
        host.valid_if_set(errors, names::dns1123_subdomain_errors);
        if host.text().parse::<IpAddr>().is_ok() {
            host.invalid(errors, "must be a DNS name, not an IP address");
        }
        entry.child("ipMode").one_of_if_set(errors, &["Proxy", "VIP"]);
    }
}
