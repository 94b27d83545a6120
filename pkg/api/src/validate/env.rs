//! Environment variables and where their values come from.

use super::Errors;
use super::at::At;
use crate::fields::FieldError;
use crate::names;
use crate::quantity::Quantity;

/// `env` of a container.
pub(super) fn env(list: &At<'_, '_>, errors: &mut Errors) {
    for variable in list.items() {
        variable
            .child("name")
            .require_valid(errors, names::env_var_name_errors);
        if let Some(from) = variable.get("valueFrom") {
            value_from(&from, !variable.child("value").text().is_empty(), errors);
        }
    }
}

const ENV_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

fn value_from(from: &At<'_, '_>, has_value: bool, errors: &mut Errors) {
    let mut sources = 0;
    let mut source = |name: &'static str, check: &mut dyn FnMut(&At<'_, '_>)| {
        if let Some(at) = from.get(name) {
            sources += 1;
            check(&at);
        }
    };
    source("fieldRef", &mut |at| field_ref(at, ENV_FIELDS, errors));
    source("resourceFieldRef", &mut |at| resource_ref(at, false, errors));
    for name in ["configMapKeyRef", "secretKeyRef"] {
        source(name, &mut |at| {
            let name = at.child("name");
            name.invalid_each(errors, names::dns1123_subdomain_errors(name.text()));
            at.child("key").require_valid(errors, names::config_key_errors);
        });
    }
    source("fileKeyRef", &mut |at| {
        at.child("key").require_valid(errors, names::env_var_name_errors);
        at.child("volumeName")
            .require_valid(errors, names::dns1123_label_errors);
        let path = at.child("path");
        if path.require(errors, "") {
            super::volume::no_backsteps(&path, errors);
        }
    });
    let detail = match sources {
        0 => {
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        }
        _ if has_value => "may not be specified when `value` is not empty",
        2.. => "may not have more than one field specified at a time",
        _ => return,
    };
    errors.push(FieldError::invalid(from.path, "", detail));
}

/// A field of the pod (`metadata.labels['x']`).
pub(super) fn field_ref(at: &At<'_, '_>, supported: &[&str], errors: &mut Errors) {
    let path = at.child("fieldPath");
    if !at.child("apiVersion").require(errors, "") || !path.require(errors, "") {
        return;
    }
    let text = path.text();
    if let Some((map, rest)) = text.split_once("['")
        && let Some(key) = rest.strip_suffix("']")
    {
        let key = match map {
            "metadata.annotations" => key.to_lowercase(),
            "metadata.labels" => key.to_owned(),
            _ => {
                let detail =
                    format!("error converting fieldPath: field label does not support subscript: {text}");
                return path.invalid(errors, detail);
            }
        };
        for message in names::qualified_name_errors(&key) {
            errors.push(FieldError::invalid(at.path, key.as_str(), message));
        }
    } else if !known_label(text) {
        path.invalid(
            errors,
            format!("error converting fieldPath: field label not supported: {text}"),
        );
    } else if !supported.contains(&text) {
        path.one_of(errors, supported);
    }
}

/// Fields of a pod that the downward API knows at all.
fn known_label(text: &str) -> bool {
    ENV_FIELDS.contains(&text)
        || matches!(
            text,
            "metadata.annotations" | "metadata.labels" | "spec.restartPolicy" | "spec.schedulerName"
        )
        || matches!(text, "status.phase" | "spec.host" | "status.nominatedNodeName")
}

const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// A resource of a container; in a volume the container must be named.
pub(super) fn resource_ref(at: &At<'_, '_>, volume: bool, errors: &mut Errors) {
    let resource = at.child("resource");
    let name = resource.text();
    let huge = name.starts_with("requests.hugepages-") || name.starts_with("limits.hugepages-");
    if volume && at.child("containerName").text().is_empty() {
        at.child("containerName").require(errors, "");
    } else if resource.require(errors, "") && !RESOURCES.contains(&name) && !huge {
        resource.one_of(errors, RESOURCES);
    }
    let divisor = at.child("divisor").quantity().unwrap_or(Quantity::ZERO);
    if !divisor.is_zero() {
        check_divisor(at, name, &divisor.to_string(), errors);
    }
}

fn check_divisor(at: &At<'_, '_>, resource: &str, divisor: &str, errors: &mut Errors) {
    const BYTES: &[&str] = &[
        "1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei",
    ];
    let (supported, what) = match resource.split_once('.').map_or(resource, |(_, r)| r) {
        "cpu" => (&["1m", "1"][..], "cpu"),
        "memory" => (BYTES, "memory"),
        "ephemeral-storage" => (BYTES, "local ephemeral storage"),
        r if r.starts_with("hugepages-") => (BYTES, "hugepages"),
        _ => return,
    };
    if supported.contains(&divisor) {
        return;
    }
    let list = if what == "cpu" {
        "1m and 1".to_owned()
    } else {
        BYTES.join(", ")
    };
    let detail = format!("only divisor's values {list} are supported with the {what} resource");
    errors.push(FieldError::invalid(at.child("divisor").path, resource, detail));
}

/// `envFrom` of a container.
pub(super) fn env_from(list: &At<'_, '_>, errors: &mut Errors) {
    for source in list.items() {
        source
            .child("prefix")
            .valid_if_set(errors, names::env_var_name_errors);
        let mut sources = 0;
        for kind in ["configMapRef", "secretRef"] {
            if let Some(at) = source.get(kind) {
                sources += 1;
                let name = at.child("name");
                if name.require(errors, "") {
                    let masked = names::without_trailing_dash(name.text());
                    name.invalid_each(errors, names::dns1123_subdomain_errors(&masked));
                }
            }
        }
        let detail = match sources {
            0 => "must specify one of: `configMapRef` or `secretRef`",
            1 => continue,
            _ => "may not have more than one field specified at a time",
        };
        errors.push(FieldError::invalid(list.path, "", detail));
    }
}
