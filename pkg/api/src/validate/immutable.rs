//! What an update may not change, kind by kind.

use super::at::{At, FIELD_IMMUTABLE, same};
use super::{Errors, node, pod};
use crate::fields::FieldError;
use crate::kinds::Kind;
use serde_json::Value;

/// The changes from `old` to `root` that are not allowed.
pub(super) fn update(kind: &Kind, root: &At<'_, '_>, old: &At<'_, '_>, errors: &mut Errors) {
    let (spec, before) = (root.child("spec"), old.child("spec"));
    match (&*kind.group, &*kind.kind) {
        ("", "Pod") => pod::update(root, old, errors),
        ("", "Node") => node::update(root, old, errors),
        ("", "ConfigMap") => frozen(root, old, &["data", "binaryData"], errors),
        ("", "Secret") => {
            root.child("type").immutable(errors, &old.child("type"));
            frozen(root, old, &["data"], errors);
        }
        ("apps", "Deployment" | "ReplicaSet" | "DaemonSet") => {
            spec.child("selector")
                .immutable(errors, &before.child("selector"));
        }
        ("apps", "StatefulSet") => stateful_set(&spec, &before, errors),
        ("apps", "ControllerRevision") => root.child("data").immutable(errors, &old.child("data")),
        ("batch", "Job") => job(&spec, &before, errors),
        ("", "PersistentVolumeClaim") => claim(root, old, errors),
        ("", "PersistentVolume") => volume(&spec, &before, errors),
        ("", "ResourceQuota") => spec.child("scopes").immutable(errors, &before.child("scopes")),
        ("", "Event") => {}
        ("events.k8s.io", "Event") => event(root, old, errors),
        ("discovery.k8s.io", "EndpointSlice") => {
            root.child("addressType")
                .immutable(errors, &old.child("addressType"));
        }
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => {
            let role = root.child("roleRef");
            if !same(role.value, old.child("roleRef").value) {
                role.invalid(errors, "cannot change roleRef");
            }
        }
        ("scheduling.k8s.io", "PriorityClass") => {
            let value = root.child("value");
            if value.number().unwrap_or_default() != old.child("value").number().unwrap_or_default() {
                value.forbid(errors, "may not be changed in an update.");
            }
            root.child("preemptionPolicy")
                .immutable(errors, &old.child("preemptionPolicy"));
        }
        ("storage.k8s.io", "StorageClass") => {
            for field in ["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"] {
                forbid_change(&root.child(field), &old.child(field), errors);
            }
        }
        ("node.k8s.io", "RuntimeClass") => root.child("handler").immutable(errors, &old.child("handler")),
        ("networking.k8s.io", "IngressClass") => {
            spec.child("controller")
                .immutable(errors, &before.child("controller"));
        }
        ("networking.k8s.io", "IPAddress") => {
            spec.child("parentRef")
                .immutable(errors, &before.child("parentRef"));
        }
        ("certificates.k8s.io", "CertificateSigningRequest") => spec.immutable(errors, &before),
        ("storage.k8s.io", "VolumeAttachment") => spec.immutable(errors, &before),
        ("resource.k8s.io", "ResourceClaim" | "ResourceClaimTemplate") => spec.immutable(errors, &before),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            for field in ["group", "scope"] {
                spec.child(field).immutable(errors, &before.child(field));
            }
        }
        _ => {}
    }
}

fn forbid_change(new: &At<'_, '_>, old: &At<'_, '_>, errors: &mut Errors) {
    if !same(new.value, old.value) {
        new.forbid(errors, "updates to parameters are forbidden.");
    }
}

/// Data marked `immutable` stays, and so does the mark.
fn frozen(root: &At<'_, '_>, old: &At<'_, '_>, fields: &[&str], errors: &mut Errors) {
    if !old.child("immutable").is_true() {
        return;
    }
    let detail = "field is immutable when `immutable` is set";
    if !root.child("immutable").is_true() {
        root.child("immutable").forbid(errors, detail);
    }
    for field in fields {
        if !same(root.child(field).value, old.child(field).value) {
            root.child(field).forbid(errors, detail);
        }
    }
}

/// Whether the two specs differ in more than `but`.
fn differ_beyond(new: &At<'_, '_>, old: &At<'_, '_>, but: &[&str]) -> bool {
    let without = |at: &At<'_, '_>| {
        let mut map = at.map().cloned().unwrap_or_default();
        but.iter().for_each(|field| drop(map.remove(*field)));
        Value::Object(map)
    };
    !same(Some(&without(new)), Some(&without(old)))
}

fn stateful_set(spec: &At<'_, '_>, old: &At<'_, '_>, errors: &mut Errors) {
    let but = [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    if differ_beyond(spec, old, &but) {
        spec.forbid(
            errors,
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
             'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
             'minReadySeconds' are forbidden",
        );
    }
}

/// The template of a suspended Job that has not started may get other scheduling directives.
fn job(spec: &At<'_, '_>, old: &At<'_, '_>, errors: &mut Errors) {
    let (completions, before) = (spec.child("completions"), old.child("completions"));
    let elastic = spec.child("completionMode").text() == "Indexed"
        && completions.number().is_some()
        && completions.number() == spec.child("parallelism").number();
    if !elastic {
        completions.immutable(errors, &before);
    }
    for field in [
        "selector",
        "completionMode",
        "podFailurePolicy",
        "backoffLimitPerIndex",
        "managedBy",
        "successPolicy",
    ] {
        spec.child(field).immutable(errors, &old.child(field));
    }
    let (template, old_template) = (spec.child("template"), old.child("template"));
    if !old.child("suspend").is_true() {
        return template.immutable(errors, &old_template);
    }
    let pod = |template: &At<'_, '_>| {
        let mut pod = template.child("spec").map().cloned().unwrap_or_default();
        for field in ["nodeSelector", "tolerations", "schedulingGates", "affinity"] {
            pod.remove(field);
        }
        Value::Object(pod)
    };
    if !same(Some(&pod(&template)), Some(&pod(&old_template))) {
        errors.push(FieldError::invalid(
            template.path,
            template.shown(),
            FIELD_IMMUTABLE,
        ));
    }
}

fn claim(root: &At<'_, '_>, old: &At<'_, '_>, errors: &mut Errors) {
    let (spec, before) = (root.child("spec"), old.child("spec"));
    let status = root.child("status");
    let bound = status.child("phase").text() == "Bound";
    let mut but = Vec::new();
    if before.child("volumeName").text().is_empty() {
        but.push("volumeName");
    }
    if bound {
        but.extend(["resources", "volumeAttributesClassName"]);
    }
    if !before.child("storageClassName").is_set() {
        but.push("storageClassName");
    }
    if differ_beyond(&spec, &before, &but) {
        let detail = "spec is immutable after creation except resources.requests and \
                      volumeAttributesClassName for bound claims";
        spec.forbid(errors, detail);
    }
    let size = |spec: &At<'_, '_>| {
        let resources = spec.child("resources");
        let requests = resources.child("requests");
        requests.child("storage").quantity()
    };
    let capacity = old.child("status");
    let capacity = capacity.child("capacity");
    let provided = capacity
        .child("storage")
        .quantity()
        .unwrap_or(crate::quantity::Quantity::ZERO);
    if let (Some(new), Some(was)) = (size(&spec), size(&before))
        && new < was
        && new <= provided
    {
        let path = "spec.resources.requests.storage";
        errors.push(FieldError::forbidden(
            path,
            "field can not be less than status.capacity",
        ));
    }
    let mode = spec
        .child("volumeMode")
        .at(crate::fields::Path::new("volumeMode"));
    mode.immutable(errors, &before.child("volumeMode"));
}

fn volume(spec: &At<'_, '_>, old: &At<'_, '_>, errors: &mut Errors) {
    let but = [
        "accessModes",
        "capacity",
        "claimRef",
        "mountOptions",
        "nodeAffinity",
        "persistentVolumeReclaimPolicy",
        "storageClassName",
        "volumeAttributesClassName",
        "volumeMode",
    ];
    if differ_beyond(spec, old, &but) {
        let detail = "spec.persistentvolumesource is immutable after creation";
        errors.push(FieldError::forbidden("spec.persistentvolumesource", detail));
    }
    let mode = spec
        .child("volumeMode")
        .at(crate::fields::Path::new("volumeMode"));
    mode.immutable(errors, &old.child("volumeMode"));
}

fn event(root: &At<'_, '_>, old: &At<'_, '_>, errors: &mut Errors) {
    for (field, shown) in [
        ("regarding", "involvedObject"),
        ("reason", "reason"),
        ("note", "message"),
        ("deprecatedSource", "source"),
        ("deprecatedFirstTimestamp", "firstTimestamp"),
        ("deprecatedLastTimestamp", "lastTimestamp"),
        ("deprecatedCount", "count"),
        ("type", "type"),
        ("eventTime", "eventTime"),
        ("action", "action"),
        ("related", "related"),
        ("reportingController", "reportingController"),
        ("reportingInstance", "reportingInstance"),
    ] {
        let new = root.child(field).at(crate::fields::Path::new(shown));
        new.immutable(errors, &old.child(field));
    }
}
