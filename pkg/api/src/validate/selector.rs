//! `LabelSelector` objects.

use super::at::At;
use super::{Errors, meta};
use crate::names;

/// The form of a `LabelSelector`; an absent one is fine.
pub(super) fn label_selector(selector: &At<'_, '_>, errors: &mut Errors) {
    meta::labels(&selector.child("matchLabels"), errors);
    let expressions = selector.child("matchExpressions");
    for expression in expressions.items() {
        requirement(&expression, &["In", "NotIn"], errors);
    }
}

/// Whether the selector has no requirement.
pub(super) fn is_empty(selector: &At<'_, '_>) -> bool {
    selector.child("matchLabels").len() + selector.child("matchExpressions").len() == 0
}

fn requirement(expression: &At<'_, '_>, with_values: &[&str], errors: &mut Errors) {
    let (operator, values) = (expression.child("operator"), expression.child("values"));
    match operator.text() {
        op if with_values.contains(&op) => {
            values.require(errors, "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" => {
            if values.len() > 0 {
                values.forbid(
                    errors,
                    "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                );
            }
        }
        _ => operator.invalid(errors, "not a valid selector operator"),
    }
    let key = expression.child("key");
    key.invalid_each(errors, names::qualified_name_errors(key.text()));
    for value in values.items() {
        value.invalid_each(errors, names::label_value_errors(value.text()));
    }
}

/// One requirement of a node selector, which knows `Gt` and `Lt` too. Preferences may have values that
/// no label can have.
pub(super) fn node_requirement(expression: &At<'_, '_>, check_values: bool, errors: &mut Errors) {
    let (operator, values) = (expression.child("operator"), expression.child("values"));
    match operator.text() {
        "In" | "NotIn" => {
            values.require(errors, "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" => {
            if values.len() > 0 {
                values.forbid(
                    errors,
                    "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                );
            }
        }
        "Gt" | "Lt" => {
            if values.len() != 1 {
                let detail = "must be specified single value when `operator` is 'Lt' or 'Gt'";
                errors.push(crate::fields::FieldError::required(values.path, detail));
            }
        }
        _ => operator.invalid(errors, "not a valid selector operator"),
    }
    let key = expression.child("key");
    key.invalid_each(errors, names::qualified_name_errors(key.text()));
    if check_values {
        for value in values.items() {
            value.invalid_each(errors, names::label_value_errors(value.text()));
        }
    }
}
