//! Probes, lifecycle hooks and their handlers.

use super::Errors;
use super::at::At;
use crate::names;

/// Which of a container's probes.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Liveness,
    Readiness,
    Startup,
}

/// All probes and hooks of a container that goes on running.
pub(super) fn of_container(container: &At<'_, '_>, grace: Option<i64>, errors: &mut Errors) {
    if let Some(lifecycle) = container.get("lifecycle") {
        for hook in ["postStart", "preStop"] {
            if let Some(hook) = lifecycle.get(hook) {
                handler(&hook, &["exec", "httpGet", "tcpSocket", "sleep"], grace, errors);
            }
        }
    }
    for (name, kind) in [
        ("livenessProbe", Kind::Liveness),
        ("readinessProbe", Kind::Readiness),
        ("startupProbe", Kind::Startup),
    ] {
        if let Some(at) = container.get(name) {
            probe(&at, kind, grace, errors);
        }
    }
}

fn probe(at: &At<'_, '_>, kind: Kind, grace: Option<i64>, errors: &mut Errors) {
    handler(at, &["exec", "httpGet", "tcpSocket", "grpc"], grace, errors);
    for field in [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ] {
        at.child(field).non_negative(errors);
    }
    let own_grace = at.child("terminationGracePeriodSeconds");
    if own_grace.number().is_some_and(|n| n <= 0) {
        own_grace.invalid(errors, "must be greater than 0");
    }
    let threshold = at.child("successThreshold");
    match kind {
        Kind::Readiness if own_grace.is_set() => {
            own_grace.invalid(errors, "must not be set for readinessProbes");
        }
        Kind::Liveness | Kind::Startup if threshold.number() != Some(1) => {
            threshold.invalid_number(errors, "must be 1");
        }
        _ => {}
    }
}

fn handler(at: &At<'_, '_>, kinds: &[&str], grace: Option<i64>, errors: &mut Errors) {
    let mut one = false;
    for kind in kinds {
        let Some(action) = at.get(kind) else { continue };
        if one {
            action.forbid(errors, "may not specify more than 1 handler type");
            continue;
        }
        one = true;
        match *kind {
            "exec" => {
                action.child("command").require(errors, "");
            }
            "httpGet" => http_get(&action, errors),
            "sleep" => sleep(&action, grace, errors),
            _ => port_number_or_name(&action.child("port"), errors),
        }
    }
    if !one {
        errors.push(crate::fields::FieldError::required(
            at.path,
            "must specify a handler type",
        ));
    }
}

fn http_get(at: &At<'_, '_>, errors: &mut Errors) {
    at.child("path").require(errors, "");
    port_number_or_name(&at.child("port"), errors);
    at.child("scheme").one_of(errors, &["HTTP", "HTTPS"]);
    let headers = at.child("httpHeaders");
    for header in headers.items() {
        let name = header.child("name").text();
        for message in names::http_header_name_errors(name) {
            errors.push(crate::fields::FieldError::invalid(headers.path, name, message));
        }
    }
}

fn sleep(at: &At<'_, '_>, grace: Option<i64>, errors: &mut Errors) {
    let seconds = at.child("seconds").number().unwrap_or_default();
    if let Some(grace) = grace
        && !(0..=grace).contains(&seconds)
    {
        let detail = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        errors.push(crate::fields::FieldError::invalid(at.path, seconds, detail));
    }
}

/// A port's number, or its name if it is a text.
pub(super) fn port_number_or_name(port: &At<'_, '_>, errors: &mut Errors) {
    if port.value.is_some_and(serde_json::Value::is_string) {
        port.invalid_each(errors, names::port_name_errors(port.text()));
    } else {
        for message in names::port_number_errors(port.number().unwrap_or_default()) {
            port.invalid_number(errors, &message);
        }
    }
}
