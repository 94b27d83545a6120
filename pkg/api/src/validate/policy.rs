//! Autoscalers, disruption budgets, Ingresses, NetworkPolicies, Leases, EndpointSlices.

use super::at::At;
use super::{Errors, apps, endpoints, ip, selector};
use crate::fields::FieldError;
use crate::kinds::Kind;
use crate::names;

/// The spec of one of these kinds.
pub(super) fn spec(kind: &Kind, root: &At<'_, '_>, old: Option<&At<'_, '_>>, errors: &mut Errors) {
    let spec = root.child("spec");
    match &*kind.kind {
        "HorizontalPodAutoscaler" => autoscaler(&spec, errors),
        "PodDisruptionBudget" => budget(&spec, errors),
        "Ingress" => ingress(&spec, errors),
        "IngressClass" => {
            let controller = spec.child("controller");
            controller.require(errors, "");
            if controller.text().len() > 250 {
                errors.push(FieldError::too_long(controller.path, 250));
            }
            if let Some(parameters) = spec.get("parameters") {
                parameters.child("kind").require(errors, "kind is required");
                parameters.child("name").require(errors, "name is required");
                parameters
                    .child("scope")
                    .require_one_of(errors, &["Cluster", "Namespace"]);
            }
        }
        "NetworkPolicy" => network_policy(&spec, errors),
        "ServiceCIDR" => {
            let ranges = spec.child("cidrs");
            ranges.require(errors, "at least one CIDR required");
            ranges
                .items()
                .for_each(|range| ip::range(&range, range.text(), errors));
        }
        "Lease" => lease(&spec, errors),
        "EndpointSlice" => endpoints::slice(root, old, errors),
        _ => {}
    }
}

fn lease(spec: &At<'_, '_>, errors: &mut Errors) {
    let duration = spec.child("leaseDurationSeconds");
    if duration.number().is_some_and(|d| d <= 0) {
        duration.invalid(errors, "must be greater than 0");
    }
    spec.child("leaseTransitions").non_negative(errors);
    let (strategy, preferred) = (spec.child("strategy"), spec.child("preferredHolder"));
    strategy.one_of_if_set(errors, &["OldestEmulationVersion"]);
    if !preferred.text().is_empty() && strategy.text().is_empty() {
        preferred.forbid(errors, "may only be specified if `strategy` is defined");
    }
}

fn autoscaler(spec: &At<'_, '_>, errors: &mut Errors) {
    let (min, max) = (spec.child("minReplicas"), spec.child("maxReplicas"));
    if min.number().is_some_and(|n| n < 1) {
        min.invalid(errors, "must be greater than or equal to 1");
    }
    match max.number().unwrap_or_default() {
        0 => errors.push(FieldError::required(max.path, "must be set and greater than 0")),
        n if n < 0 => max.invalid(errors, "must be greater than or equal to 1"),
        n if min.number().is_some_and(|min| n < min) => {
            max.invalid(errors, "must be greater than or equal to `minReplicas`");
        }
        _ => {}
    }
    let target = spec.child("scaleTargetRef");
    for field in ["kind", "name"] {
        target
            .child(field)
            .require_valid(errors, names::path_segment_errors);
    }
    let metrics = spec.child("metrics");
    for metric in metrics.items() {
        let known = ["ContainerResource", "External", "Object", "Pods", "Resource"];
        metric.child("type").require_one_of(errors, &known);
    }
}

fn budget(spec: &At<'_, '_>, errors: &mut Errors) {
    let (min, max) = (spec.child("minAvailable"), spec.child("maxUnavailable"));
    if min.is_set() && max.is_set() {
        spec.invalid(errors, "minAvailable and maxUnavailable cannot be both set");
    }
    for at in [min, max] {
        apps::number_or_percent(&at, errors);
        apps::at_most_all(&at, errors);
    }
    selector::label_selector(&spec.child("selector"), errors);
    let policies = &["AlwaysAllow", "IfHealthyBudget"];
    spec.child("unhealthyPodEvictionPolicy")
        .one_of_if_set(errors, policies);
}

fn ingress(spec: &At<'_, '_>, errors: &mut Errors) {
    let (rules, default) = (spec.child("rules"), spec.child("defaultBackend"));
    if rules.len() == 0 && !default.is_set() {
        let detail = "either `defaultBackend` or `rules` must be specified";
        errors.push(FieldError::invalid(spec.path, serde_json::Value::Null, detail));
    }
    if default.is_set() {
        backend(&default, errors);
    }
    for rule in rules.items() {
        host(&rule.child("host"), errors);
        let Some(http) = rule.get("http") else { continue };
        let paths = http.child("paths");
        paths.require(errors, "");
        paths.items().for_each(|path| ingress_path(&path, errors));
    }
    let tls = spec.child("tls");
    for entry in tls.items() {
        let hosts = entry.child("hosts");
        hosts.items().for_each(|name| host(&name, errors));
        entry
            .child("secretName")
            .valid_if_set(errors, names::dns1123_subdomain_errors);
    }
    let class = spec.child("ingressClassName");
    if class.is_set() {
        class.invalid_each(errors, names::dns1123_subdomain_errors(class.text()));
    }
}

fn host(host: &At<'_, '_>, errors: &mut Errors) {
    let text = host.text();
    if text.is_empty() {
        return;
    }
    if text.parse::<std::net::IpAddr>().is_ok() {
        host.invalid(errors, "must be a DNS name, not an IP address");
    }
    if text.contains('*') {
        host.invalid_each(errors, names::wildcard_subdomain_errors(text));
    } else {
        host.invalid_each(errors, names::dns1123_subdomain_errors(text));
    }
}

fn ingress_path(path: &At<'_, '_>, errors: &mut Errors) {
    let (kind, text) = (path.child("pathType"), path.child("path"));
    if !kind.require(errors, "pathType must be specified") {
        return;
    }
    let exact = matches!(kind.text(), "Exact" | "Prefix");
    if exact || kind.text() == "ImplementationSpecific" {
        if !text.text().starts_with('/') && (exact || !text.text().is_empty()) {
            text.invalid(errors, "must be an absolute path");
        }
    } else {
        kind.one_of(errors, &["Exact", "ImplementationSpecific", "Prefix"]);
    }
    if exact {
        for sequence in ["//", "/./", "/../", "%2f", "%2F"] {
            if text.text().contains(sequence) {
                text.invalid(errors, format!("must not contain '{sequence}'"));
            }
        }
        for suffix in ["/..", "/."] {
            if text.text().ends_with(suffix) {
                text.invalid(errors, format!("cannot end with '{suffix}'"));
            }
        }
    }
    backend(&path.child("backend"), errors);
}

fn backend(backend: &At<'_, '_>, errors: &mut Errors) {
    match (backend.get("service"), backend.get("resource")) {
        (Some(_), Some(_)) => {
            backend.invalid(errors, "cannot set both resource and service backends");
        }
        (None, None) => {
            errors.push(FieldError::required(
                backend.path,
                "port name or number is required",
            ));
        }
        (Some(service), None) => {
            service
                .child("name")
                .require_valid(errors, names::dns1123_label_errors);
            let port = service.child("port");
            let (name, number) = (port.child("name"), port.child("number"));
            match (name.text(), number.number().unwrap_or_default()) {
                ("", 0) => {
                    errors.push(FieldError::required(
                        service.path,
                        "port name or number is required",
                    ));
                }
                ("", n) => number.invalid_each(errors, names::port_number_errors(n)),
                (_, 0) => name.invalid_each(errors, names::port_name_errors(name.text())),
                _ => service.invalid(errors, "cannot set both port name & port number"),
            }
        }
        (None, Some(resource)) => {
            for field in ["kind", "name"] {
                resource.child(field).require(errors, "");
            }
        }
    }
}

fn network_policy(spec: &At<'_, '_>, errors: &mut Errors) {
    selector::label_selector(&spec.child("podSelector"), errors);
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        let rules = spec.child(direction);
        for rule in rules.items() {
            let ports = rule.child("ports");
            ports.items().for_each(|port| policy_port(&port, errors));
            let list = rule.child(peers);
            list.items().for_each(|peer| policy_peer(&peer, errors));
        }
    }
    let types = spec.child("policyTypes");
    if types.len() > 2 {
        types.invalid(errors, "may not specify more than two policyTypes");
        return;
    }
    for kind in types.items() {
        kind.one_of(errors, &["Ingress", "Egress"]);
    }
}

fn policy_port(port: &At<'_, '_>, errors: &mut Errors) {
    port.child("protocol")
        .one_of_if_set(errors, super::container::PROTOCOLS);
    let (number, end) = (port.child("port"), port.child("endPort"));
    if number.is_set() {
        super::probe::port_number_or_name(&number, errors);
    }
    if let Some(last) = end.number() {
        match number.number() {
            None if number.is_set() => end.invalid(errors, "may not be specified when `port` is non-numeric"),
            None => errors.push(FieldError::required(
                number.path,
                "must be specified when `endPort` is set",
            )),
            Some(first) if last < first => {
                end.invalid(errors, "must be greater than or equal to `port`");
            }
            Some(_) => end.invalid_each(errors, names::port_number_errors(last)),
        }
    }
}

fn policy_peer(peer: &At<'_, '_>, errors: &mut Errors) {
    let selectors = ["podSelector", "namespaceSelector"];
    let set = selectors.iter().filter(|s| peer.child(s).is_set()).count();
    for field in selectors {
        selector::label_selector(&peer.child(field), errors);
    }
    let block = peer.child("ipBlock");
    if block.is_set() {
        let range = block.child("cidr");
        if range.require(errors, "") {
            ip::range(&range, range.text(), errors);
        }
        let except = block.child("except");
        except
            .items()
            .for_each(|range| ip::range(&range, range.text(), errors));
        if set > 0 {
            peer.forbid(errors, "may not specify both ipBlock and another peer");
        }
    } else if set == 0 {
        errors.push(FieldError::required(peer.path, "must specify a peer"));
    }
}
