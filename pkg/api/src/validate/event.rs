//! Events, of the core group and of events.k8s.io, which is stricter.

use super::Errors;
use super::at::At;
use crate::fields::FieldError;
use crate::kinds::Kind;
use crate::names;

/// An Event. Only a new one of events.k8s.io must have what that group added.
pub(super) fn event(kind: &Kind, root: &At<'_, '_>, new: bool, errors: &mut Errors) {
    let core = kind.group.is_empty();
    let (object, reporting, message) = if core {
        ("involvedObject", "reportingComponent", "message")
    } else {
        ("regarding", "reportingController", "note")
    };
    let metadata = root.child("metadata");
    let namespace = metadata.child("namespace").text();
    let involved = root.child(object);
    let theirs = involved.child("namespace").text();
    let timed = root.child("eventTime").is_set();
    let agrees = match (timed, theirs) {
        (false, "") => matches!(namespace, "" | "default"),
        (false, theirs) => namespace == theirs,
        (true, "") => matches!(namespace, "default" | "kube-system"),
        (true, _) => true,
    };
    if !agrees {
        errors.push(FieldError::invalid(
            "involvedObject.namespace",
            theirs,
            "does not match event.namespace",
        ));
    }
    if timed {
        let reporter = root.child(reporting);
        reporter.require(errors, "");
        reporter.invalid_each(errors, names::qualified_name_errors(reporter.text()));
        for (field, max) in [("reportingInstance", 128), ("action", 128), ("reason", 128)] {
            let at = root.child(field);
            at.require(errors, "");
            limited(field, at.text(), max, errors);
        }
        limited("message", root.child(message).text(), 1024, errors);
    }
    for text in names::dns1123_subdomain_errors(namespace) {
        errors.push(FieldError::invalid("namespace", namespace, text));
    }
    if !core && new {
        strict(root, errors);
    }
}

fn limited(field: &str, text: &str, max: usize, errors: &mut Errors) {
    if text.len() > max {
        errors.push(FieldError::invalid(
            field,
            "",
            format!("can have at most {max} characters"),
        ));
    }
}

fn strict(root: &At<'_, '_>, errors: &mut Errors) {
    if let Some(series) = root.get("series") {
        if series.child("count").number().unwrap_or_default() < 2 {
            errors.push(FieldError::invalid("series.count", "", "should be at least 2"));
        }
        series.child("lastObservedTime").require(errors, "");
    }
    root.child("eventTime").require(errors, "");
    let kind = root.child("type").text();
    if !matches!(kind, "Normal" | "Warning") {
        errors.push(FieldError::invalid(
            "type",
            "",
            format!("has invalid value: {kind}"),
        ));
    }
    for (field, shown) in [
        ("deprecatedFirstTimestamp", "firstTimestamp"),
        ("deprecatedLastTimestamp", "lastTimestamp"),
        ("deprecatedCount", "count"),
    ] {
        let at = root.child(field);
        if at.is_set() && at.number() != Some(0) {
            errors.push(FieldError::invalid(shown, "", "needs to be unset"));
        }
    }
    let source = root.child("deprecatedSource");
    if ["component", "host"]
        .iter()
        .any(|f| !source.child(f).text().is_empty())
    {
        errors.push(FieldError::invalid("source", "", "needs to be unset"));
    }
}
