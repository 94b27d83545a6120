//! Names, labels, annotations, owners and finalizers of every object.

use super::Errors;
use super::at::{At, FIELD_IMMUTABLE};
use crate::fields::FieldError;
use crate::kinds::Kind;
use crate::names::{self, without_trailing_dash};
use serde_json::{Value, json};

/// The most bytes all annotations of an object may have together.
const ANNOTATIONS_MAX: usize = 256 * 1024;

/// What is wrong with `name` as the name of an object of `kind`; for a `generateName`, `prefix` is set.
pub fn name_errors(kind: &Kind, name: &str, prefix: bool) -> Vec<String> {
    let masked;
    let name = if prefix {
        masked = without_trailing_dash(name);
        &masked
    } else {
        name
    };
    match (&*kind.group, &*kind.kind) {
        ("", "Namespace" | "Service") => names::dns1123_label_errors(name),
        ("rbac.authorization.k8s.io", _) => names::path_segment_errors(name),
        ("apps", "StatefulSet") => names::dns1123_label_errors(name),
        ("certificates.k8s.io", "ClusterTrustBundle") => Vec::new(),
        ("networking.k8s.io", "IPAddress") => match name.parse::<std::net::IpAddr>() {
            Ok(ip) if ip.to_string() == name => Vec::new(),
            Ok(_) => vec!["must be a canonical format IP address".to_owned()],
            Err(_) => vec!["must be a valid IP address".to_owned()],
        },
        // Event names are not checked in the core group.
        ("", "Event") => Vec::new(),
        _ => names::dns1123_subdomain_errors(name),
    }
}

/// The metadata of a new object; its name was already generated.
pub(super) fn create(kind: &Kind, root: &At<'_, '_>, errors: &mut Errors) {
    let meta = root.child("metadata");
    if &*kind.kind == "Event" && kind.group.is_empty() {
        return;
    }
    let generate = meta.child("generateName");
    if !generate.text().is_empty() {
        generate.invalid_each(errors, name_errors(kind, generate.text(), true));
    }
    let name = meta.child("name");
    if name.require(errors, "name or generateName is required") {
        name.invalid_each(errors, name_errors(kind, name.text(), false));
    }
    let namespace = meta.child("namespace");
    if !kind.namespaced {
        if !namespace.text().is_empty() {
            namespace.forbid(errors, "not allowed on this type");
        }
    } else {
        namespace.require_valid(errors, names::dns1123_label_errors);
    }
    meta.child("generation").non_negative(errors);
    common(&meta, errors);
    finalizers(&meta, errors);
}

/// What an update may not do to the metadata.
pub(super) fn update(root: &At<'_, '_>, old: &At<'_, '_>, errors: &mut Errors) {
    let (meta, before) = (root.child("metadata"), old.child("metadata"));
    if before.child("deletionTimestamp").is_set() {
        no_new_finalizers(&meta, &before, errors);
    }
    let version = meta.child("resourceVersion");
    if version.text().is_empty() {
        version.invalid(errors, "must be specified for an update");
    }
    let generation = meta.child("generation");
    if generation.number().unwrap_or_default() < before.child("generation").number().unwrap_or_default() {
        generation.invalid_number(errors, "must not be decremented");
    }
    for field in ["name", "namespace", "uid"] {
        let (new, old) = (meta.child(field), before.child(field));
        if new.text() != old.text() {
            new.invalid(errors, FIELD_IMMUTABLE);
        }
    }
    for field in [
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        meta.child(field).immutable(errors, &before.child(field));
    }
    common(&meta, errors);
}

/// Labels, annotations, owners and managed fields.
fn common(meta: &At<'_, '_>, errors: &mut Errors) {
    labels(&meta.child("labels"), errors);
    annotations(&meta.child("annotations"), errors);
    owners(&meta.child("ownerReferences"), errors);
    managed_fields(&meta.child("managedFields"), errors);
}

/// Every key and value of a map of labels.
pub(super) fn labels(labels: &At<'_, '_>, errors: &mut Errors) {
    for (key, value) in labels.map().into_iter().flatten() {
        for message in names::qualified_name_errors(key) {
            errors.push(FieldError::invalid(labels.path, key.as_str(), message));
        }
        let value = value.as_str().unwrap_or_default();
        for message in names::label_value_errors(value) {
            errors.push(FieldError::invalid(labels.path, value, message));
        }
    }
}

/// Every key of the annotations, in any case of letters, and their size together.
pub(super) fn annotations(annotations: &At<'_, '_>, errors: &mut Errors) {
    let mut size = 0;
    for (key, value) in annotations.map().into_iter().flatten() {
        for message in names::qualified_name_errors(&key.to_lowercase()) {
            errors.push(FieldError::invalid(annotations.path, key.as_str(), message));
        }
        size += key.len() + value.as_str().unwrap_or_default().len();
    }
    if size > ANNOTATIONS_MAX {
        errors.push(FieldError::too_long(annotations.path, ANNOTATIONS_MAX));
    }
}

fn owners(owners: &At<'_, '_>, errors: &mut Errors) {
    let mut controller: Option<String> = None;
    for owner in owners.items() {
        let mut say = |field: &str, detail: &str| {
            let path = owners.path;
            errors.push(FieldError::invalid(
                path.child(field),
                owner.child(field).text(),
                detail,
            ));
        };
        let version = owner.child("apiVersion").text();
        if version.rsplit('/').next().is_none_or(str::is_empty) {
            say("apiVersion", "version must not be empty");
        }
        for field in ["kind", "name", "uid"] {
            if owner.child(field).text().is_empty() {
                say(field, "must not be empty");
            }
        }
        if version == "v1" && owner.child("kind").text() == "Event" {
            let detail = "/v1, Kind=Event is disallowed from being an owner";
            errors.push(FieldError::invalid(owners.path, owner.shown(), detail));
        }
        if owner.child("controller").is_true() {
            let name = format!("{}/{}", owner.child("kind").text(), owner.child("name").text());
            match &controller {
                None => controller = Some(name),
                Some(first) => owners.invalid(
                    errors,
                    format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references \
                         for {first} and {name}"
                    ),
                ),
            }
        }
    }
}

fn finalizers(meta: &At<'_, '_>, errors: &mut Errors) {
    let list = meta.child("finalizers");
    let mut known = [false, false];
    for finalizer in list.items() {
        let name = finalizer.text();
        for message in names::qualified_name_errors(name) {
            errors.push(FieldError::invalid(list.path, name, message));
        }
        known[0] |= name == "orphan";
        known[1] |= name == "foregroundDeletion";
    }
    if known == [true, true] {
        list.invalid(
            errors,
            "finalizer orphan and foregroundDeletion cannot be both set",
        );
    }
}

fn no_new_finalizers(meta: &At<'_, '_>, before: &At<'_, '_>, errors: &mut Errors) {
    let list = meta.child("finalizers");
    let old = before.child("finalizers");
    let mut extra: Vec<&str> = list
        .items()
        .map(|f| f.text())
        .filter(|f| !old.items().any(|o| o.text() == *f))
        .collect();
    if extra.is_empty() {
        return;
    }
    extra.sort_unstable();
    let shown: Vec<String> = extra.iter().map(|f| crate::fields::quote(f)).collect();
    let shown = shown.join(", ");
    list.forbid(
        errors,
        format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers \
             []string{{{shown}}}"
        ),
    );
}

fn managed_fields(list: &At<'_, '_>, errors: &mut Errors) {
    for entry in list.items() {
        let operation = entry.child("operation");
        if !matches!(operation.text(), "Apply" | "Update") {
            operation.invalid(errors, "must be `Apply` or `Update`");
        }
        let kind = entry.child("fieldsType");
        if !matches!(kind.text(), "" | "FieldsV1") {
            kind.invalid(errors, "must be `FieldsV1`");
        }
        let manager = entry.child("manager");
        if manager.text().len() > 128 {
            errors.push(FieldError::too_long(manager.path, 128));
        }
        let subresource = entry.child("subresource");
        if subresource.text().len() > 256 {
            errors.push(FieldError::too_long(subresource.path, 256));
        }
    }
}

/// The metadata of a template that may have labels and annotations only (claims of a pod).
pub(super) fn template(meta: &At<'_, '_>, errors: &mut Errors) {
    annotations(&meta.child("annotations"), errors);
    labels(&meta.child("labels"), errors);
    for (key, value) in meta.map().into_iter().flatten() {
        if !matches!(&**key, "labels" | "annotations") && !value.is_null() && *value != json!("") {
            errors.push(FieldError::forbidden(meta.path.child(key), "cannot be set"));
        }
    }
}

/// The value of an annotation.
pub(super) fn annotation<'v>(root: &At<'v, '_>, key: &str) -> Option<&'v str> {
    root.child("metadata")
        .child("annotations")
        .map()?
        .get(key)
        .and_then(Value::as_str)
}
