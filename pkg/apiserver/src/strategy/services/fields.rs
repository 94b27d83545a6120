//! A Service's fields that follow from its others: address families, and what a change of type drops.

use kobune_api::fields::FieldError;
use serde_json::{Value, json};

use crate::object::{at, elements, fields, put, text};

/// Fills in families and policy for a cluster that has IPv4 Services only.
pub fn families(old: Option<&Value>, service: &mut Value) -> Result<(), Vec<FieldError>> {
    if text(service, &["spec", "type"]) == "ExternalName" {
        return Ok(());
    }
    let selects = at(service, &["spec", "selector"])
        .and_then(Value::as_object)
        .is_some_and(|map| !map.is_empty());
    let free = text(service, &["spec", "clusterIP"]) == "None" && !selects;
    let before = old.map_or("", |old| text(old, &["spec", "ipFamilyPolicy"]));
    let policy = match text(service, &["spec", "ipFamilyPolicy"]) {
        "" if !before.is_empty() => before,
        "" if free => "RequireDualStack",
        "" => "SingleStack",
        given => given,
    }
    .to_owned();
    let mut families: Vec<String> = elements(service, &["spec", "ipFamilies"])
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    if families.is_empty() {
        families.push("IPv4".to_owned());
    }
    if free {
        if families.len() < 2 && policy != "SingleStack" {
            families.push(if families[0] == "IPv4" { "IPv6" } else { "IPv4" }.to_owned());
        }
    } else {
        check(&policy, &families)?;
    }
    let spec = fields(service, "spec");
    spec.insert("ipFamilyPolicy".to_owned(), policy.into());
    spec.insert("ipFamilies".to_owned(), json!(families));
    Ok(())
}

fn check(policy: &str, families: &[String]) -> Result<(), Vec<FieldError>> {
    let mut errors = Vec::new();
    if policy == "SingleStack" && families.len() > 1 {
        errors.push(FieldError::invalid(
            "spec.ipFamilyPolicy",
            policy,
            "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified",
        ));
    }
    if policy == "RequireDualStack" {
        errors.push(FieldError::invalid(
            "spec.ipFamilyPolicy",
            policy,
            "this cluster is not configured for dual-stack services",
        ));
    }
    for (at, family) in families
        .iter()
        .enumerate()
        .filter(|(_, family)| *family != "IPv4")
    {
        let field = format!("spec.ipFamilies[{at}]");
        errors.push(FieldError::invalid(
            field,
            family.as_str(),
            "not configured on this cluster",
        ));
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// A change of type drops what the new type has no use for, unless the client changed it as well.
pub fn drop_dependent(old: &Value, new: &mut Value) {
    let had = |object: &Value, types: &[&str]| types.contains(&text(object, &["spec", "type"]));
    let lost = |types: &[&str], new: &Value| had(old, types) && !had(new, types);
    let drop_same = |new: &mut Value, field: &str| {
        if at(old, &["spec", field]) == at(new, &["spec", field]) {
            put(fields(new, "spec"), field, None);
        }
    };
    if lost(&["", "ClusterIP", "NodePort", "LoadBalancer"], new) {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            drop_same(new, field);
        }
    }
    if lost(&["NodePort", "LoadBalancer"], new) {
        drop_same(new, "externalTrafficPolicy");
        let numbers = |object: &Value| -> Vec<Option<i64>> {
            let ports = elements(object, &["spec", "ports"]).iter();
            ports
                .map(|port| port.get("nodePort").and_then(Value::as_i64))
                .collect()
        };
        if numbers(old) == numbers(new) {
            let ports = new["spec"]["ports"].as_array_mut();
            for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
                port.remove("nodePort");
            }
        }
    }
    if lost(&["LoadBalancer"], new) {
        for field in [
            "healthCheckNodePort",
            "allocateLoadBalancerNodePorts",
            "loadBalancerClass",
        ] {
            drop_same(new, field);
        }
        fields(new, "status").insert("loadBalancer".to_owned(), json!({}));
    } else if text(old, &["spec", "externalTrafficPolicy"]) == "Local"
        && text(new, &["spec", "externalTrafficPolicy"]) != "Local"
    {
        drop_same(new, "healthCheckNodePort");
    }
}
