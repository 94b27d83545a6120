//! Deployments, ReplicaSets, StatefulSets, DaemonSets, ReplicationControllers.

use super::at::At;
use super::{Errors, is, pod_spec, selector, storage};
use crate::fields::FieldError;
use crate::kinds::Kind;
use crate::names;
use crate::selectors::LabelSelector;
use serde_json::Value;

/// The spec of a kind of `apps`.
pub(super) fn spec(kind: &str, root: &At<'_, '_>, errors: &mut Errors) {
    let spec = root.child("spec");
    match kind {
        "Deployment" => deployment(&spec, errors),
        "ReplicaSet" => replica_set(&spec, errors),
        "StatefulSet" => stateful_set(&spec, errors),
        "DaemonSet" => daemon_set(&spec, errors),
        "ControllerRevision" => {
            let revision = root.child("revision");
            revision.non_negative(errors);
            root.child("data").require(errors, "data is mandatory");
        }
        _ => {}
    }
}

fn deployment(spec: &At<'_, '_>, errors: &mut Errors) {
    spec.child("replicas").non_negative(errors);
    selected_template(spec, "deployment", "ReplicaSet", errors);
    strategy(&spec.child("strategy"), errors);
    let ready = spec.child("minReadySeconds");
    ready.non_negative(errors);
    spec.child("revisionHistoryLimit").non_negative(errors);
    let deadline = spec.child("progressDeadlineSeconds");
    deadline.non_negative(errors);
    if deadline
        .number()
        .is_some_and(|d| d <= ready.number().unwrap_or_default())
    {
        deadline.invalid(errors, "must be greater than minReadySeconds");
    }
}

fn strategy(strategy: &At<'_, '_>, errors: &mut Errors) {
    let rolling = strategy.child("rollingUpdate");
    match strategy.child("type").text() {
        "Recreate" => {
            rolling.forbid_if_set(errors, "may not be specified when strategy `type` is 'Recreate'");
        }
        "RollingUpdate" if !rolling.is_set() => {
            let detail = "this should be defaulted and never be nil";
            errors.push(FieldError::required(rolling.path, detail));
        }
        "RollingUpdate" => {
            let (unavailable, surge) = (rolling.child("maxUnavailable"), rolling.child("maxSurge"));
            number_or_percent(&unavailable, errors);
            number_or_percent(&surge, errors);
            if amount(&unavailable) == 0 && amount(&surge) == 0 {
                unavailable.invalid_number(errors, "may not be 0 when `maxSurge` is 0");
            }
            at_most_all(&unavailable, errors);
        }
        _ => errors.push(FieldError::not_supported(
            strategy.path,
            strategy.shown(),
            &["Recreate", "RollingUpdate"],
        )),
    }
}

fn replica_set(spec: &At<'_, '_>, errors: &mut Errors) {
    spec.child("replicas").non_negative(errors);
    spec.child("minReadySeconds").non_negative(errors);
    selected_template(spec, "deployment", "ReplicaSet", errors);
}

fn daemon_set(spec: &At<'_, '_>, errors: &mut Errors) {
    let selector = spec.child("selector");
    selector::label_selector(&selector, errors);
    template(spec, "DaemonSet", errors);
    if selector.is_set() && selector::is_empty(&selector) {
        selector.invalid(errors, "empty selector is invalid for daemonset");
    }
    spec.child("minReadySeconds").non_negative(errors);
    spec.child("revisionHistoryLimit").non_negative(errors);
    let strategy = spec.child("updateStrategy");
    let rolling = strategy.child("rollingUpdate");
    match strategy.child("type").text() {
        "OnDelete" => {}
        "RollingUpdate" if !rolling.is_set() => errors.push(FieldError::required(rolling.path, "")),
        "RollingUpdate" => {
            let (unavailable, surge) = (rolling.child("maxUnavailable"), rolling.child("maxSurge"));
            for value in [&unavailable, &surge] {
                number_or_percent(value, errors);
                at_most_all(value, errors);
            }
            match (amount(&unavailable), amount(&surge)) {
                (0, 0) => {
                    errors.push(FieldError::required(
                        unavailable.path,
                        "cannot be 0 when maxSurge is 0",
                    ));
                }
                (0, _) | (_, 0) => {}
                _ => surge.invalid(errors, "may not be set when maxUnavailable is non-zero"),
            }
        }
        _ => errors.push(FieldError::not_supported(
            strategy.path,
            strategy.shown(),
            &["RollingUpdate", "OnDelete"],
        )),
    }
}

fn stateful_set(spec: &At<'_, '_>, errors: &mut Errors) {
    let management = spec.child("podManagementPolicy");
    if management.require(errors, "") && !matches!(management.text(), "OrderedReady" | "Parallel") {
        management.invalid(errors, "must be 'OrderedReady' or 'Parallel'");
    }
    let strategy = spec.child("updateStrategy");
    let rolling = strategy.child("rollingUpdate");
    match strategy.child("type").text() {
        "" => errors.push(FieldError::required(strategy.path, "")),
        "OnDelete" if rolling.is_set() => {
            rolling.invalid(errors, "only allowed for updateStrategy 'RollingUpdate'");
        }
        "OnDelete" => {}
        "RollingUpdate" => {
            rolling.child("partition").non_negative(errors);
            let unavailable = rolling.child("maxUnavailable");
            if unavailable.is_set() {
                number_or_percent(&unavailable, errors);
                if amount(&unavailable) == 0 {
                    unavailable.invalid(errors, "cannot be 0");
                }
                at_most_all(&unavailable, errors);
            }
        }
        _ => strategy.invalid(errors, "must be 'RollingUpdate' or 'OnDelete'"),
    }
    let retention = spec.child("persistentVolumeClaimRetentionPolicy");
    for when in ["whenDeleted", "whenScaled"] {
        retention.child(when).one_of_if_set(errors, &["Delete", "Retain"]);
    }
    spec.child("replicas").non_negative(errors);
    spec.child("minReadySeconds").non_negative(errors);
    let ordinals = spec.child("ordinals");
    ordinals.child("start").non_negative(errors);
    spec.child("serviceName")
        .valid_if_set(errors, names::dns1123_label_errors);
    let claims = spec.child("volumeClaimTemplates");
    for claim in claims.items() {
        storage::claim_spec(&claim.child("spec"), errors);
    }
    stateful_template(spec, &claims, errors);
}

/// The template is checked as it will be: with the claims as volumes, and host names given by the
/// controller.
fn stateful_template(spec: &At<'_, '_>, claims: &At<'_, '_>, errors: &mut Errors) {
    let Some(Value::Object(given)) = spec.value else {
        return;
    };
    let mut filled = given.clone();
    let pod = filled
        .get_mut("template")
        .and_then(|t| t.get_mut("spec"))
        .and_then(Value::as_object_mut);
    if let Some(pod) = pod {
        pod.remove("subdomain");
        pod.remove("hostname");
        let volumes = pod.entry("volumes").or_insert_with(|| Value::Array(Vec::new()));
        if volumes.is_null() {
            *volumes = Value::Array(Vec::new());
        }
        if let Value::Array(volumes) = volumes {
            for claim in claims.items() {
                let meta = claim.child("metadata");
                let name = meta.child("name").text();
                volumes.retain(|v| v.get("name").and_then(Value::as_str) != Some(name));
                let source = serde_json::json!({ "claimName": name });
                volumes.insert(
                    0,
                    serde_json::json!({ "name": name, "persistentVolumeClaim": source }),
                );
            }
        }
    }
    let filled = Value::Object(filled);
    selected_template(&spec.with(Some(&filled)), "statefulset", "StatefulSet", errors);
}

/// A ReplicationController.
pub(super) fn replication_controller(root: &At<'_, '_>, errors: &mut Errors) {
    let spec = root.child("spec");
    spec.child("minReadySeconds").non_negative(errors);
    let selector = spec.child("selector");
    if selector.len() == 0 {
        errors.push(FieldError::required(selector.path, ""));
    }
    let replicas = spec.child("replicas");
    if replicas.require(errors, "") {
        replicas.non_negative(errors);
    }
    if spec.child("template").require(errors, "") {
        let wanted = LabelSelector::from_map(selector.map());
        matching_labels(&spec, &wanted, errors);
        pod_template(&spec, "ReplicationController", errors);
    }
}

/// Selector and template of a set.
fn selected_template(spec: &At<'_, '_>, whose: &str, owner: &str, errors: &mut Errors) {
    let at = spec.child("selector");
    if !at.is_set() {
        errors.push(FieldError::required(at.path, ""));
    } else {
        selector::label_selector(&at, errors);
        if selector::is_empty(&at) {
            at.invalid(errors, format!("empty selector is invalid for {whose}"));
        }
    }
    template(spec, owner, errors);
}

fn template(spec: &At<'_, '_>, owner: &str, errors: &mut Errors) {
    let at = spec.child("selector");
    match LabelSelector::from_object(at.value) {
        Err(_) => at.invalid(errors, "invalid label selector"),
        Ok(selector) => {
            matching_labels(spec, &selector, errors);
            pod_template(spec, owner, errors);
        }
    }
}

fn matching_labels(spec: &At<'_, '_>, selector: &LabelSelector, errors: &mut Errors) {
    if selector.is_everything() {
        return;
    }
    let template = spec.child("template");
    let metadata = template.child("metadata");
    let labels = metadata.child("labels");
    if !selector.matches(&labels.map()) {
        let shown = labels.value.cloned().unwrap_or(serde_json::Value::Null);
        errors.push(FieldError::invalid(
            labels.path,
            shown,
            "`selector` does not match template `labels`",
        ));
    }
}

fn pod_template(spec: &At<'_, '_>, owner: &str, errors: &mut Errors) {
    let template = spec.child("template");
    pod_spec::template(&template, errors);
    let pod = template.child("spec");
    pod.child("restartPolicy").one_of(errors, &["Always"]);
    let detail = format!("activeDeadlineSeconds in {owner} is not Supported");
    pod.child("activeDeadlineSeconds").forbid_if_set(errors, &detail);
}

/// A number that is not negative, or a percentage.
pub(super) fn number_or_percent(at: &At<'_, '_>, errors: &mut Errors) {
    if at.value.is_some_and(Value::is_string) {
        at.invalid_each(errors, names::percent_errors(at.text()));
    } else {
        at.non_negative(errors);
    }
}

fn percent(at: &At<'_, '_>) -> Option<i64> {
    at.text().strip_suffix('%')?.parse().ok()
}

fn amount(at: &At<'_, '_>) -> i64 {
    at.number().or_else(|| percent(at)).unwrap_or_default()
}

/// A percentage of at most 100.
pub(super) fn at_most_all(at: &At<'_, '_>, errors: &mut Errors) {
    if percent(at).is_some_and(|p| p > 100) {
        at.invalid(errors, "must not be greater than 100%");
    }
}

/// The counters in the status of any of them.
pub(super) fn status(kind: &Kind, root: &At<'_, '_>, old: &At<'_, '_>, errors: &mut Errors) {
    let (status, before) = (root.child("status"), old.child("status"));
    for (name, value) in status.map().into_iter().flatten() {
        if value.is_number() {
            status.child(name).non_negative(errors);
        }
    }
    let number = |name: &str| status.child(name).number().unwrap_or_default();
    let replicas = number("replicas");
    if !is(kind, "apps", "DaemonSet") {
        for name in [
            "updatedReplicas",
            "fullyLabeledReplicas",
            "readyReplicas",
            "availableReplicas",
        ] {
            if number(name) > replicas {
                status
                    .child(name)
                    .invalid(errors, "cannot be greater than status.replicas");
            }
        }
        if number("availableReplicas") > number("readyReplicas") {
            status
                .child("availableReplicas")
                .invalid(errors, "cannot be greater than readyReplicas");
        }
    }
    let (collisions, earlier) = (status.child("collisionCount"), before.child("collisionCount"));
    if collisions.number().unwrap_or_default() < earlier.number().unwrap_or_default() {
        collisions.invalid_number(errors, "cannot be decremented");
    }
}
