//! Pods: creation, and the few changes an existing pod allows.

use super::at::{At, same};
use super::{Errors, affinity, ip, pod_spec};
use crate::fields::FieldError;
use crate::names;
use serde_json::Value;

/// A Pod, new or changed.
pub(super) fn pod(root: &At<'_, '_>, errors: &mut Errors) {
    let name = root.child("metadata");
    let name = name.child("name").text();
    let spec = root.child("spec");
    pod_spec::pod_spec(&spec, Some(name), errors);
    if spec.child("serviceAccountName").text().is_empty() {
        token_needs_account(&spec, errors);
    }
    for list in ["containers", "initContainers"] {
        let containers = spec.child(list);
        for container in containers.items() {
            image_has_no_blanks(&container, errors);
        }
    }
}

fn image_has_no_blanks(container: &At<'_, '_>, errors: &mut Errors) {
    let image = container.child("image");
    if image.text().trim() != image.text() {
        image.invalid(errors, "must not have leading or trailing whitespace");
    }
}

fn token_needs_account(spec: &At<'_, '_>, errors: &mut Errors) {
    let volumes = spec.child("volumes");
    for volume in volumes.items() {
        let projected = volume.child("projected");
        let sources = projected.child("sources");
        for source in sources.items() {
            let token = source.child("serviceAccountToken");
            token.forbid_if_set(errors, "must not be specified when serviceAccountName is not set");
        }
    }
}

/// What only a new Pod must not have.
pub(super) fn create(root: &At<'_, '_>, errors: &mut Errors) {
    let spec = root.child("spec");
    let ephemeral = spec.child("ephemeralContainers");
    if ephemeral.len() > 0 {
        ephemeral.forbid(errors, "cannot be set on create");
    }
    let node = spec.child("nodeName");
    if !node.text().is_empty() && spec.child("schedulingGates").len() > 0 {
        node.forbid(
            errors,
            "cannot be set until all schedulingGates have been cleared",
        );
    }
}

const UPDATABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,\
    `spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
    `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// What an update changes that it may not change.
pub(super) fn update(root: &At<'_, '_>, old: &At<'_, '_>, errors: &mut Errors) {
    let (spec, before) = (root.child("spec"), old.child("spec"));
    for list in ["containers", "initContainers"] {
        let containers = spec.child(list);
        if containers.len() != before.child(list).len() {
            return containers.forbid(errors, "pod updates may not add or remove containers");
        }
    }
    if !deadline(&spec, &before, errors) {
        return;
    }
    tolerations(&spec.child("tolerations"), &before.child("tolerations"), errors);
    scheduling_gates(
        &spec.child("schedulingGates"),
        &before.child("schedulingGates"),
        errors,
    );
    if same(spec.value, before.value) {
        return;
    }
    let (Some(new), Some(old)) = (spec.value, before.value) else {
        return;
    };
    let munged = with_updatable_fields_of(new, old);
    if !same(Some(&munged), Some(old)) {
        let changes = differences(old, &munged);
        spec.forbid(
            errors,
            format!("pod updates may not change fields other than {UPDATABLE}\n{changes}"),
        );
    }
}

/// It may be set once and then only be brought forward. Says whether to go on.
fn deadline(spec: &At<'_, '_>, before: &At<'_, '_>, errors: &mut Errors) -> bool {
    let deadline = spec.child("activeDeadlineSeconds");
    match (deadline.number(), before.child("activeDeadlineSeconds").number()) {
        (Some(new), _) if !(0..=i64::from(i32::MAX)).contains(&new) => {
            deadline.in_range(errors, 0, i32::MAX.into());
            false
        }
        (Some(new), Some(old)) if new > old => {
            deadline.invalid(errors, "must be less than or equal to previous value");
            false
        }
        (None, Some(_)) => {
            let detail = "must not update from a positive integer to nil value";
            errors.push(FieldError::invalid(deadline.path, Value::Null, detail));
            true
        }
        _ => true,
    }
}

fn tolerations(list: &At<'_, '_>, old: &At<'_, '_>, errors: &mut Errors) {
    let without_seconds = |toleration: &At<'_, '_>| {
        let mut map = toleration.map().cloned().unwrap_or_default();
        map.remove("tolerationSeconds");
        Value::Object(map)
    };
    for toleration in old.items() {
        let wanted = without_seconds(&toleration);
        if !list
            .items()
            .any(|t| same(Some(&without_seconds(&t)), Some(&wanted)))
        {
            return list.forbid(
                errors,
                "existing toleration can not be modified except its tolerationSeconds",
            );
        }
    }
    affinity::tolerations(list, errors);
}

fn scheduling_gates(list: &At<'_, '_>, old: &At<'_, '_>, errors: &mut Errors) {
    for gate in list.items() {
        let name = gate.child("name");
        if !old.items().any(|g| g.child("name").text() == name.text()) {
            let detail = format!(
                "only deletion is allowed, but found new scheduling gate '{}'",
                name.text()
            );
            name.forbid(errors, detail);
        }
    }
}

/// `new` with the old values of the fields an update may change. While a pod is gated its node
/// selector may grow and its node affinity may be narrowed, too.
fn with_updatable_fields_of(new: &Value, old: &Value) -> Value {
    let mut spec = new.clone();
    for list in ["containers", "initContainers"] {
        let old = old.get(list).and_then(Value::as_array).into_iter().flatten();
        let new = spec
            .get_mut(list)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten();
        for (new, old) in new.zip(old) {
            put(new, "image", old.get("image"));
        }
    }
    for field in ["activeDeadlineSeconds", "schedulingGates", "tolerations"] {
        put(&mut spec, field, old.get(field));
    }
    let grace = |spec: &Value| spec.get("terminationGracePeriodSeconds").and_then(Value::as_i64);
    if grace(old).is_some_and(|g| g < 0) && grace(&spec) == Some(1) {
        put(
            &mut spec,
            "terminationGracePeriodSeconds",
            old.get("terminationGracePeriodSeconds"),
        );
    }
    let gated = old
        .get("schedulingGates")
        .and_then(Value::as_array)
        .is_some_and(|gates| !gates.is_empty());
    if gated {
        if only_adds(spec.get("nodeSelector"), old.get("nodeSelector")) {
            put(&mut spec, "nodeSelector", old.get("nodeSelector"));
        }
        let node = |spec: &Value| spec.get("affinity").and_then(|a| a.get("nodeAffinity")).cloned();
        if node(old).is_none()
            && node(&spec).is_some()
            && let Some(affinity) = spec.get_mut("affinity")
        {
            put(affinity, "nodeAffinity", None);
        }
    }
    spec
}

fn only_adds(new: Option<&Value>, old: Option<&Value>) -> bool {
    let old = old.and_then(Value::as_object).into_iter().flatten();
    old.into_iter()
        .all(|(k, v)| new.and_then(|n| n.get(k)) == Some(v))
}

fn put(object: &mut Value, field: &str, value: Option<&Value>) {
    let Value::Object(map) = object else { return };
    match value {
        Some(value) => drop(map.insert(field.to_owned(), value.clone())),
        None => drop(map.remove(field)),
    }
}

/// The changes between two specs, a line each.
fn differences(old: &Value, new: &Value) -> String {
    let mut lines = Vec::new();
    collect("", Some(old), Some(new), &mut lines);
    lines.join("\n")
}

fn collect(path: &str, old: Option<&Value>, new: Option<&Value>, lines: &mut Vec<String>) {
    if same(old, new) {
        return;
    }
    match (old, new) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                collect(&path, a.get(key), b.get(key), lines);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) if a.len() == b.len() => {
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                collect(&format!("{path}[{i}]"), Some(a), Some(b), lines);
            }
        }
        _ => {
            lines.extend(old.filter(|v| !v.is_null()).map(|old| format!("- {path}: {old}")));
            lines.extend(new.filter(|v| !v.is_null()).map(|new| format!("+ {path}: {new}")));
        }
    }
}

/// Ephemeral containers may be added; one that is there stays as it is.
pub(super) fn ephemeral_update(root: &At<'_, '_>, old: &At<'_, '_>, errors: &mut Errors) {
    let (spec, before) = (root.child("spec"), old.child("spec"));
    let (list, old) = (
        spec.child("ephemeralContainers"),
        before.child("ephemeralContainers"),
    );
    for container in old.items() {
        let name = container.child("name").text();
        let quoted = crate::fields::quote(name);
        match list.items().find(|c| c.child("name").text() == name) {
            None => {
                list.forbid(
                    errors,
                    format!("existing ephemeral containers {quoted} may not be removed\n"),
                );
            }
            Some(new) if !same(new.value, container.value) => {
                let changes = differences(&container.shown(), &new.shown());
                let detail = format!("existing ephemeral containers {quoted} may not be changed\n{changes}");
                list.forbid(errors, detail);
            }
            Some(_) => {}
        }
    }
}

/// Only resources (and how to resize) may change.
pub(super) fn resize(root: &At<'_, '_>, old: &At<'_, '_>, errors: &mut Errors) {
    let (spec, before) = (root.child("spec"), old.child("spec"));
    let (Some(new), Some(old)) = (spec.value, before.value) else {
        return;
    };
    let mut munged = new.clone();
    for list in ["containers", "initContainers"] {
        let old = old.get(list).and_then(Value::as_array).into_iter().flatten();
        let new = munged
            .get_mut(list)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten();
        for (new, old) in new.zip(old) {
            put(new, "resources", old.get("resources"));
            put(new, "resizePolicy", old.get("resizePolicy"));
        }
    }
    put(&mut munged, "resources", old.get("resources"));
    if !same(Some(&munged), Some(old)) {
        let changes = differences(old, &munged);
        spec.forbid(
            errors,
            format!("only cpu and memory resources are mutable\n{changes}"),
        );
    }
}

/// What a status update may not do.
pub(super) fn status_update(root: &At<'_, '_>, old: &At<'_, '_>, errors: &mut Errors) {
    let (status, before) = (root.child("status"), old.child("status"));
    let conditions = status.child("conditions");
    for condition in conditions.items() {
        let kind = condition.child("type").text();
        for message in names::qualified_name_errors(kind) {
            errors.push(FieldError::invalid(condition.child("Type").path, kind, message));
        }
    }
    let node = |root: &At<'_, '_>| root.child("spec").child("nodeName").text().to_owned();
    if node(root) != node(old) {
        errors.push(FieldError::forbidden(
            status.child("nodeName").path,
            "may not be changed directly",
        ));
    }
    let nominated = status.child("nominatedNodeName");
    if nominated.text() != before.child("nominatedNodeName").text() {
        nominated.valid_if_set(errors, names::dns1123_subdomain_errors);
    }
    let (class, old_class) = (status.child("qosClass"), before.child("qosClass"));
    if old_class.is_set() && class.text() != old_class.text() {
        class.immutable(errors, &old_class);
    }
    restarts(root, old, errors);
    for field in ["podIPs", "hostIPs"] {
        let addresses = status.child(field);
        for address in addresses.items() {
            ip::address(&address.child("ip"), errors);
        }
        if addresses.len() > 2 {
            addresses.invalid(errors, "may specify no more than one IP for each IP family");
        }
    }
}

/// A container that has ended stays ended, unless its restart policy starts it again.
fn restarts(root: &At<'_, '_>, old: &At<'_, '_>, errors: &mut Errors) {
    let spec = old.child("spec");
    let policy = spec.child("restartPolicy").text();
    for (statuses, containers) in [
        ("containerStatuses", "containers"),
        ("initContainerStatuses", "initContainers"),
        ("ephemeralContainerStatuses", ""),
    ] {
        let (status, before) = (root.child("status"), old.child("status"));
        let (list, old) = (status.child(statuses), before.child(statuses));
        let containers = spec.child(containers);
        for (i, ended) in old.items().enumerate() {
            let state = ended.child("state");
            let Some(terminated) = state.get("terminated") else {
                continue;
            };
            let name = ended.child("name").text();
            let container = containers.items().find(|c| c.child("name").text() == name);
            let own = container
                .as_ref()
                .map(|c| c.child("restartPolicy").text().to_owned())
                .unwrap_or_default();
            let has_rules = container.is_some_and(|c| c.child("restartPolicyRules").len() > 0);
            let policy = if own.is_empty() { policy } else { own.as_str() };
            let failed = terminated.child("exitCode").number().unwrap_or_default() != 0;
            let may = !statuses.starts_with("eph")
                && (has_rules || policy == "Always" || (policy == "OnFailure" && failed));
            let runs = list
                .items()
                .any(|s| s.child("name").text() == name && !s.child("state").child("terminated").is_set());
            if runs && !may {
                let path = list.path;
                let path = path.index(i);
                let detail = "may not be transitioned to non-terminated state";
                errors.push(FieldError::forbidden(path.child("state"), detail));
            }
        }
    }
}
