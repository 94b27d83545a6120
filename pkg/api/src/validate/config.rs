//! ConfigMaps, Secrets, Namespaces, LimitRanges, ResourceQuotas.

use super::at::At;
use super::{Errors, resources};
use crate::fields::FieldError;
use crate::names;
use base64::Engine;
use serde_json::Value;

/// The most bytes the data of a ConfigMap or Secret may have.
const MAX_DATA: usize = 1024 * 1024;

/// How many bytes a base64 text decodes to.
fn decoded_len(text: &str) -> usize {
    text.trim_end_matches('=').len() * 3 / 4
}

/// A ConfigMap.
pub(super) fn config_map(root: &At<'_, '_>, errors: &mut Errors) {
    let (data, binary) = (root.child("data"), root.child("binaryData"));
    let mut size = 0;
    for (key, value) in data.entries() {
        key_errors(key, &value, errors);
        if binary.child(key).is_set() {
            errors.push(FieldError::invalid(
                value.path,
                key,
                "duplicate of key present in binaryData",
            ));
        }
        size += value.text().len();
    }
    for (key, value) in binary.entries() {
        key_errors(key, &value, errors);
        size += decoded_len(value.text());
    }
    if size > MAX_DATA {
        errors.push(FieldError::too_long("", MAX_DATA));
    }
}

fn key_errors(key: &str, at: &At<'_, '_>, errors: &mut Errors) {
    for message in names::config_key_errors(key) {
        errors.push(FieldError::invalid(at.path, key, message));
    }
}

/// A Secret.
pub(super) fn secret(root: &At<'_, '_>, errors: &mut Errors) {
    let data = root.child("data");
    let mut size = 0;
    for (key, value) in data.entries() {
        key_errors(key, &value, errors);
        size += decoded_len(value.text());
    }
    if size > MAX_DATA {
        errors.push(FieldError::too_long(data.path, MAX_DATA));
    }
    secret_type(root, &data, errors);
}

fn secret_type(root: &At<'_, '_>, data: &At<'_, '_>, errors: &mut Errors) {
    let has = |key: &str| data.map().is_some_and(|map| map.contains_key(key));
    let mut need = |key: &str| errors.push(FieldError::required(data.path.key(key), ""));
    match root.child("type").text() {
        "kubernetes.io/service-account-token" => {
            let key = "kubernetes.io/service-account.name";
            if super::meta::annotation(root, key).is_none_or(str::is_empty) {
                let metadata = root.child("metadata");
                let annotations = metadata.child("annotations");
                errors.push(FieldError::required(annotations.path.key(key), ""));
            }
        }
        "kubernetes.io/dockercfg" => docker_config(data, ".dockercfg", errors),
        "kubernetes.io/dockerconfigjson" => docker_config(data, ".dockerconfigjson", errors),
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
            need("username");
            need("password");
        }
        "kubernetes.io/ssh-auth" if data.child("ssh-privatekey").text().is_empty() => need("ssh-privatekey"),
        "kubernetes.io/tls" => {
            for key in ["tls.crt", "tls.key"] {
                if !has(key) {
                    need(key);
                }
            }
        }
        _ => {}
    }
}

fn docker_config(data: &At<'_, '_>, key: &str, errors: &mut Errors) {
    let Some(value) = data.get(key) else {
        return errors.push(FieldError::required(data.path.key(key), ""));
    };
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(value.text())
        .unwrap_or_default();
    if let Err(error) = serde_json::from_slice::<serde_json::Map<String, Value>>(&bytes) {
        let path = data.path;
        errors.push(FieldError::invalid(
            path.key(key),
            "<secret contents redacted>",
            error.to_string(),
        ));
    }
}

/// The phase of a Namespace follows its deletion.
pub(super) fn namespace_status(root: &At<'_, '_>, errors: &mut Errors) {
    let metadata = root.child("metadata");
    let status = root.child("status");
    let phase = status.child("phase").text();
    let (wanted, when) = if metadata.child("deletionTimestamp").is_set() {
        ("Terminating", "not empty")
    } else {
        ("Active", "empty")
    };
    if phase != wanted {
        let detail = format!("may only be '{wanted}' if `deletionTimestamp` is {when}");
        errors.push(FieldError::invalid(status.child("Phase").path, phase, detail));
    }
}

/// The finalizers in a Namespace's spec.
pub(super) fn namespace_finalizers(root: &At<'_, '_>, errors: &mut Errors) {
    let spec = root.child("spec");
    let list = spec.child("finalizers");
    for finalizer in list.items() {
        let name = finalizer.text();
        let mut say = |detail: String| errors.push(FieldError::invalid(list.path, name, detail));
        names::qualified_name_errors(name).into_iter().for_each(&mut say);
        if !name.contains('/') && !matches!(name, "kubernetes" | "orphan" | "foregroundDeletion") {
            say("name is neither a standard finalizer name nor is it fully qualified".to_owned());
        }
    }
}

/// A ResourceQuota.
pub(super) fn resource_quota(root: &At<'_, '_>, errors: &mut Errors) {
    let spec = root.child("spec");
    let hard = spec.child("hard");
    for (name, quantity) in hard.entries() {
        quota_name(name, &quantity, errors);
        resources::amount(name, &quantity, errors);
    }
    let scopes = spec.child("scopes");
    let known = [
        "BestEffort",
        "CrossNamespacePodAffinity",
        "NotBestEffort",
        "NotTerminating",
        "PriorityClass",
        "Terminating",
        "VolumeAttributesClass",
    ];
    for scope in scopes.items() {
        if !known.contains(&scope.text()) {
            errors.push(FieldError::invalid(
                scopes.path,
                scopes.shown(),
                "unsupported scope",
            ));
        }
    }
    let has = |name: &str| scopes.items().any(|s| s.text() == name);
    if (has("BestEffort") && has("NotBestEffort")) || (has("Terminating") && has("NotTerminating")) {
        scopes.invalid(errors, "conflicting scopes");
    }
}

fn quota_name(name: &str, at: &At<'_, '_>, errors: &mut Errors) {
    const STANDARD: &[&str] = &[
        "cpu",
        "memory",
        "ephemeral-storage",
        "requests.cpu",
        "requests.memory",
        "requests.storage",
        "requests.ephemeral-storage",
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
        "pods",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "persistentvolumeclaims",
        "configmaps",
        "services.nodeports",
        "services.loadbalancers",
    ];
    let messages = names::qualified_name_errors(name);
    let huge = name.starts_with("hugepages-") || name.starts_with("requests.hugepages-");
    if !messages.is_empty() {
        errors.extend(
            messages
                .into_iter()
                .map(|m| FieldError::invalid(at.path, name, m)),
        );
    } else if !name.contains('/') && !STANDARD.contains(&name) && !huge {
        errors.push(FieldError::invalid(
            at.path,
            name,
            "must be a standard resource type or fully qualified",
        ));
        errors.push(FieldError::invalid(
            at.path,
            name,
            "must be a standard resource for quota",
        ));
    }
}

/// A LimitRange.
pub(super) fn limit_range(root: &At<'_, '_>, errors: &mut Errors) {
    let spec = root.child("spec");
    let limits = spec.child("limits");
    let mut known = Vec::new();
    for limit in limits.items() {
        let kind = limit.child("type");
        kind.invalid_each(errors, names::qualified_name_errors(kind.text()));
        if known.contains(&kind.text()) {
            errors.push(FieldError::duplicate(kind.path, kind.text()));
        }
        known.push(kind.text());
        if kind.text() == "Pod" {
            for field in ["default", "defaultRequest"] {
                if limit.child(field).len() > 0 {
                    limit
                        .child(field)
                        .forbid(errors, "may not be specified when `type` is 'Pod'");
                }
            }
        }
        ordered(&limit, errors);
    }
}

/// min <= default request <= default <= max, for each resource.
fn ordered(limit: &At<'_, '_>, errors: &mut Errors) {
    let relations = [
        ("min", "max", "min", "min value", "max value"),
        (
            "min",
            "defaultRequest",
            "defaultRequest",
            "min value",
            "default request value",
        ),
        (
            "defaultRequest",
            "max",
            "defaultRequest",
            "default request value",
            "max value",
        ),
        (
            "defaultRequest",
            "default",
            "defaultRequest",
            "default request value",
            "default limit value",
        ),
        ("min", "default", "default", "min value", "default value"),
        ("default", "max", "default", "default value", "max value"),
    ];
    for (less, more, told, less_words, more_words) in relations {
        let (less, more, told) = (limit.child(less), limit.child(more), limit.child(told));
        for (name, quantity) in less.entries() {
            let (Some(a), Some(b)) = (quantity.quantity(), more.child(name).quantity()) else {
                continue;
            };
            if a > b {
                let detail = format!("{less_words} {a} is greater than {more_words} {b}");
                let shown = told.child(name).shown();
                errors.push(FieldError::invalid(told.path.key(name), shown, detail));
            }
        }
    }
}
