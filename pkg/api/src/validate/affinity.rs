//! Where a pod may run: affinity, tolerations, topology spread.

use super::at::At;
use super::{Errors, selector};
use crate::fields::FieldError;
use crate::names;

/// `affinity` of a pod.
pub(super) fn affinity(affinity: &At<'_, '_>, errors: &mut Errors) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    if let Some(node) = affinity.get("nodeAffinity") {
        if let Some(required) = node.get(REQUIRED) {
            node_selector(&required, errors);
        }
        let preferred = node.child(PREFERRED);
        for term in preferred.items() {
            weight(&term, errors);
            node_term(&term.child("preference"), false, errors);
        }
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(pods) = affinity.get(kind) else { continue };
        let required = pods.child(REQUIRED);
        required.items().for_each(|term| pod_term(&term, errors));
        let preferred = pods.child(PREFERRED);
        for term in preferred.items() {
            weight(&term, errors);
            pod_term(&term.child("podAffinityTerm"), errors);
        }
    }
}

fn weight(term: &At<'_, '_>, errors: &mut Errors) {
    let weight = term.child("weight");
    if !(1..=100).contains(&weight.number().unwrap_or_default()) {
        weight.invalid_number(errors, "must be in the range 1-100");
    }
}

/// A `NodeSelector`.
pub(super) fn node_selector(at: &At<'_, '_>, errors: &mut Errors) {
    let terms = at.child("nodeSelectorTerms");
    if terms.require(errors, "must have at least one node selector term") {
        terms.items().for_each(|term| node_term(&term, true, errors));
    }
}

fn node_term(term: &At<'_, '_>, check_values: bool, errors: &mut Errors) {
    let expressions = term.child("matchExpressions");
    for expression in expressions.items() {
        selector::node_requirement(&expression, check_values, errors);
    }
    let fields = term.child("matchFields");
    for field in fields.items() {
        let (operator, values) = (field.child("operator"), field.child("values"));
        if !matches!(operator.text(), "In" | "NotIn") {
            operator.invalid(errors, "not a valid selector operator");
        } else if values.len() != 1 {
            let detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            errors.push(FieldError::required(values.path, detail));
        }
        let key = field.child("key");
        if key.text() != "metadata.name" {
            key.invalid(errors, "not a valid field selector key");
            continue;
        }
        for value in values.items() {
            value.invalid_each(errors, names::dns1123_subdomain_errors(value.text()));
        }
    }
}

fn pod_term(term: &At<'_, '_>, errors: &mut Errors) {
    for field in ["labelSelector", "namespaceSelector"] {
        selector::label_selector(&term.child(field), errors);
    }
    let namespaces = term.child("namespaces");
    for namespace in namespaces.items() {
        for message in names::dns1123_label_errors(namespace.text()) {
            // Upstream's path, in the singular.
            errors.push(FieldError::invalid(
                term.child("namespace").path,
                namespace.text(),
                message,
            ));
        }
    }
    let key = term.child("topologyKey");
    key.require(errors, "can not be empty");
    key.invalid_each(errors, names::qualified_name_errors(key.text()));
}

/// The effects of taints.
const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// `tolerations` of a pod.
pub(super) fn tolerations(list: &At<'_, '_>, errors: &mut Errors) {
    for toleration in list.items() {
        let (key, operator) = (toleration.child("key"), toleration.child("operator"));
        key.valid_if_set(errors, names::qualified_name_errors);
        if key.text().is_empty() && operator.text() != "Exists" {
            let detail =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.push(FieldError::invalid(operator.path, operator.text(), detail));
        }
        let effect = toleration.child("effect");
        if toleration.child("tolerationSeconds").is_set() && effect.text() != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.push(FieldError::invalid(effect.path, effect.text(), detail));
        }
        let value = toleration.child("value").text();
        match operator.text() {
            "Equal" | "" => {
                let messages = names::label_value_errors(value);
                if !messages.is_empty() {
                    errors.push(FieldError::invalid(operator.path, value, messages.join(";")));
                }
            }
            "Exists" if !value.is_empty() => {
                let detail = "value must be empty when `operator` is 'Exists'";
                errors.push(FieldError::invalid(operator.path, value, detail));
            }
            "Exists" => {}
            _ => operator.one_of(errors, &["Equal", "Exists"]),
        }
        if !effect.text().is_empty() {
            effect.one_of(errors, EFFECTS);
        }
    }
}

/// `taints` of a node.
pub(super) fn taints(list: &At<'_, '_>, errors: &mut Errors) {
    let mut known = Vec::new();
    for taint in list.items() {
        let (key, value, effect) = (taint.child("key"), taint.child("value"), taint.child("effect"));
        key.invalid_each(errors, names::qualified_name_errors(key.text()));
        let messages = names::label_value_errors(value.text());
        if !messages.is_empty() {
            value.invalid(errors, messages.join(";"));
        }
        effect.require_one_of(errors, EFFECTS);
        let pair = (key.text(), effect.text());
        if known.contains(&pair) {
            let mut error = FieldError::duplicate(taint.path, taint.shown());
            error.detail = "taints must be unique by key and effect pair".to_owned();
            errors.push(error);
        }
        known.push(pair);
    }
}

/// `topologySpreadConstraints` of a pod.
pub(super) fn topology_spread(list: &At<'_, '_>, errors: &mut Errors) {
    for (i, constraint) in list.items().enumerate() {
        constraint.child("maxSkew").positive(errors);
        let (key, action) = (
            constraint.child("topologyKey"),
            constraint.child("whenUnsatisfiable"),
        );
        key.require(errors, "can not be empty");
        action.one_of(errors, &["DoNotSchedule", "ScheduleAnyway"]);
        let same = |other: At<'_, '_>| {
            other.child("topologyKey").text() == key.text()
                && other.child("whenUnsatisfiable").text() == action.text()
        };
        if list.items().skip(i + 1).any(same) {
            let path = constraint.child("{topologyKey, whenUnsatisfiable}").path;
            errors.push(FieldError::duplicate(
                path,
                format!("{{{}, {}}}", key.text(), action.text()),
            ));
        }
        let domains = constraint.child("minDomains");
        if domains.is_set() {
            domains.positive(errors);
            if action.text() != "DoNotSchedule" {
                domains.invalid(
                    errors,
                    format!(
                        "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {}",
                        action.text()
                    ),
                );
            }
        }
        for policy in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            constraint
                .child(policy)
                .one_of_if_set(errors, &["Honor", "Ignore"]);
        }
        selector::label_selector(&constraint.child("labelSelector"), errors);
    }
}
