//! Requests and limits.

use super::Errors;
use super::at::At;
use crate::fields::FieldError;
use crate::names;

/// Whether a request may be less than the limit.
fn may_overcommit(resource: &str) -> bool {
    is_native(resource) && !resource.starts_with("hugepages-")
}

/// Kubernetes' own resources: no domain, or one of kubernetes.io.
fn is_native(resource: &str) -> bool {
    resource
        .split_once('/')
        .is_none_or(|(domain, _)| domain.contains("kubernetes.io"))
}

fn is_standard_for_container(resource: &str) -> bool {
    matches!(resource, "cpu" | "memory" | "ephemeral-storage") || resource.starts_with("hugepages-")
}

/// What pods or containers may ask for.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Of {
    Container,
    Pod,
}

/// A `ResourceRequirements`.
pub(super) fn requirements(at: &At<'_, '_>, of: Of, claims: &[&str], errors: &mut Errors) {
    let (limits, requests) = (at.child("limits"), at.child("requests"));
    let (mut compute, mut huge) = (false, false);
    let mut note = |name: &str| {
        compute |= matches!(name, "cpu" | "memory");
        huge |= name.starts_with("hugepages-");
    };
    for (name, quantity) in limits.entries() {
        note(name);
        resource_name(name, &quantity, of, errors);
        amount(name, &quantity, errors);
    }
    for (name, quantity) in requests.entries() {
        note(name);
        resource_name(name, &quantity, of, errors);
        amount(name, &quantity, errors);
        against_limit(name, &quantity, &limits, &requests, errors);
    }
    if huge && !compute {
        at.forbid(errors, "HugePages require cpu or memory");
    }
    claim_names(&at.child("claims"), claims, errors);
}

fn against_limit(
    name: &str,
    request: &At<'_, '_>,
    limits: &At<'_, '_>,
    requests: &At<'_, '_>,
    errors: &mut Errors,
) {
    let Some(limit) = limits.child(name).quantity() else {
        if !may_overcommit(name) {
            let detail = "Limit must be set for non overcommitable resources";
            errors.push(FieldError::required(limits.path, detail));
        }
        return;
    };
    let Some(quantity) = request.quantity() else {
        return;
    };
    let relation = if quantity != limit && !may_overcommit(name) {
        "must be equal to"
    } else if quantity > limit {
        "must be less than or equal to"
    } else {
        return;
    };
    let detail = format!("{relation} {name} limit of {limit}");
    errors.push(FieldError::invalid(requests.path, quantity.to_string(), detail));
}

fn resource_name(name: &str, at: &At<'_, '_>, of: Of, errors: &mut Errors) {
    let invalid = |detail: &str| FieldError::invalid(at.path, name, detail);
    let messages = names::qualified_name_errors(name);
    if !messages.is_empty() {
        errors.extend(messages.iter().map(|m| invalid(m)));
        return;
    }
    let standard = is_standard_for_container(name);
    if of == Of::Pod {
        if !standard || name == "ephemeral-storage" {
            errors.push(FieldError::not_supported(
                at.path,
                name,
                &["cpu", "hugepages-", "memory"],
            ));
        }
    } else if !name.contains('/') {
        if !standard {
            errors.push(invalid("must be a standard resource type or fully qualified"));
            errors.push(invalid("must be a standard resource for containers"));
        }
    } else if !is_native(name) && name.starts_with("requests.") {
        errors.push(invalid("doesn't follow extended resource name standard"));
    }
}

/// A quantity that is not negative, and whole for resources that come in pieces.
pub(super) fn amount(name: &str, at: &At<'_, '_>, errors: &mut Errors) {
    let Some(quantity) = at.quantity() else {
        return at.invalid(errors, "must be a valid resource quantity");
    };
    if quantity.is_negative() {
        errors.push(FieldError::invalid(
            at.path,
            quantity.to_string(),
            "must be greater than or equal to 0",
        ));
    }
    let pieces = !is_native(name)
        || matches!(
            name,
            "pods" | "services" | "replicationcontrollers" | "resourcequotas"
        );
    let counted = pieces
        || matches!(name, "secrets" | "configmaps" | "persistentvolumeclaims")
        || name.starts_with("services.");
    if counted && quantity.milli_value() % 1000 != 0 {
        errors.push(FieldError::invalid(
            at.path,
            quantity.to_string(),
            "must be an integer",
        ));
    }
}

fn claim_names(claims: &At<'_, '_>, known: &[&str], errors: &mut Errors) {
    let mut seen: Vec<String> = Vec::new();
    for claim in claims.items() {
        let (name, request) = (claim.child("name").text(), claim.child("request").text());
        if name.is_empty() {
            errors.push(FieldError::required(claim.path, ""));
            continue;
        }
        let key = if request.is_empty() {
            name.to_owned()
        } else {
            format!("{name}/{request}")
        };
        let overlaps = |other: &String| {
            *other == key || *other == name || (request.is_empty() && other.split('/').next() == Some(name))
        };
        if seen.iter().any(overlaps) {
            errors.push(FieldError::duplicate(claim.path, key.as_str()));
        }
        seen.push(key);
        if !known.contains(&name) {
            let mut error = FieldError::not_found(claim.path, name);
            error.detail = "must be one of the names in pod.spec.resourceClaims".to_owned();
            error.detail += &if known.is_empty() {
                " which is empty".to_owned()
            } else {
                format!(": {}", known.join(", "))
            };
            errors.push(error);
        }
    }
}
