//! PersistentVolumes, their claims, and the kinds of storage.k8s.io.

use super::at::At;
use super::{Errors, affinity, resources, selector};
use crate::fields::FieldError;
use crate::names;
use crate::quantity::Quantity;

const ACCESS_MODES: &[&str] = &[
    "ReadOnlyMany",
    "ReadWriteMany",
    "ReadWriteOnce",
    "ReadWriteOncePod",
];

/// The spec of one of these kinds.
pub(super) fn spec(kind: &str, root: &At<'_, '_>, errors: &mut Errors) {
    let spec = root.child("spec");
    match kind {
        "PersistentVolumeClaim" => claim_spec(&spec, errors),
        "PersistentVolume" => volume(&spec, errors),
        "StorageClass" => class(root, errors),
        "CSIDriver" => {
            let modes = spec.child("volumeLifecycleModes");
            for mode in modes.items() {
                mode.one_of(errors, &["Ephemeral", "Persistent"]);
            }
            spec.child("fsGroupPolicy")
                .one_of_if_set(errors, &["ReadWriteOnceWithFSType", "File", "None"]);
        }
        "CSIStorageCapacity" => {
            root.child("storageClassName")
                .require_valid(errors, names::dns1123_subdomain_errors);
            for field in ["capacity", "maximumVolumeSize"] {
                let at = root.child(field);
                if at.is_set() {
                    resources::amount("storage", &at, errors);
                }
            }
        }
        _ => {}
    }
}

fn access_modes(modes: &At<'_, '_>, errors: &mut Errors) {
    let (mut once_pod, mut other) = (false, false);
    for mode in modes.items() {
        if !ACCESS_MODES.contains(&mode.text()) {
            errors.push(FieldError::not_supported(modes.path, mode.text(), ACCESS_MODES));
        } else if mode.text() == "ReadWriteOncePod" {
            once_pod = true;
        } else {
            other = true;
        }
    }
    if once_pod && other {
        modes.forbid(errors, "may not use ReadWriteOncePod with other access modes");
    }
}

/// The spec of a claim.
pub(super) fn claim_spec(spec: &At<'_, '_>, errors: &mut Errors) {
    let modes = spec.child("accessModes");
    modes.require(errors, "at least 1 access mode is required");
    selector::label_selector(&spec.child("selector"), errors);
    access_modes(&modes, errors);
    let wanted = spec.child("resources");
    let requests = wanted.child("requests");
    let storage = requests.child("storage");
    // Upstream's path leaves `requests` out.
    let at = storage.at(wanted.path.key("storage"));
    match at.quantity() {
        _ if !at.is_set() => errors.push(FieldError::required(at.path, "")),
        Some(quantity) if quantity <= Quantity::ZERO => {
            errors.push(FieldError::invalid(
                at.path,
                quantity.to_string(),
                "must be greater than zero",
            ));
        }
        _ => resources::amount("storage", &at, errors),
    }
    for field in ["storageClassName", "volumeAttributesClassName"] {
        spec.child(field)
            .valid_if_set(errors, names::dns1123_subdomain_errors);
    }
    spec.child("volumeMode")
        .one_of_if_set(errors, &["Block", "Filesystem"]);
    for field in ["dataSource", "dataSourceRef"] {
        if let Some(source) = spec.get(field) {
            data_source(&source, errors);
        }
    }
}

fn data_source(source: &At<'_, '_>, errors: &mut Errors) {
    let (group, kind) = (source.child("apiGroup"), source.child("kind"));
    source.child("name").require(errors, "");
    kind.require(errors, "");
    if group.text().is_empty() && kind.text() != "PersistentVolumeClaim" {
        let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
        errors.push(FieldError::invalid(source.path, kind.text(), detail));
    }
    group.valid_if_set(errors, names::dns1123_subdomain_errors);
    source
        .child("namespace")
        .valid_if_set(errors, names::dns1123_label_errors);
}

/// The fields of a volume's spec that are not its source.
const NO_SOURCE: &[&str] = &[
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

fn volume(spec: &At<'_, '_>, errors: &mut Errors) {
    let modes = spec.child("accessModes");
    modes.require(errors, "");
    access_modes(&modes, errors);
    let capacity = spec.child("capacity");
    if capacity.len() == 0 {
        errors.push(FieldError::required(capacity.path, ""));
    }
    if capacity.len() != 1 || !capacity.child("storage").is_set() {
        let shown = capacity.value.cloned().unwrap_or(serde_json::Value::Null);
        errors.push(FieldError::not_supported(capacity.path, shown, &["storage"]));
    }
    for (_, quantity) in capacity.entries() {
        if quantity.quantity().is_none_or(|q| q <= Quantity::ZERO) {
            quantity.invalid(errors, "must be greater than zero");
        }
    }
    let policies = &["Delete", "Recycle", "Retain"];
    spec.child("persistentVolumeReclaimPolicy")
        .one_of_if_set(errors, policies);
    if let Some(node) = spec.get("nodeAffinity") {
        let required = node.child("required");
        if required.require(errors, "must specify required node constraints") {
            affinity::node_selector(&required, errors);
        }
    }
    let sources = spec
        .map()
        .into_iter()
        .flatten()
        .filter(|(k, v)| !NO_SOURCE.contains(&&***k) && !v.is_null());
    let mut sources = sources.map(|(key, _)| key);
    match (sources.next(), sources.next()) {
        (None, _) => errors.push(FieldError::required(spec.path, "must specify a volume type")),
        (Some(_), Some(second)) => {
            spec.child(second)
                .forbid(errors, "may not specify more than 1 volume type");
        }
        (Some(kind), None) => volume_source(kind, &spec.child(kind), errors),
    }
    spec.child("storageClassName")
        .valid_if_set(errors, names::dns1123_subdomain_errors);
    spec.child("volumeMode")
        .one_of_if_set(errors, &["Block", "Filesystem"]);
}

fn volume_source(kind: &str, at: &At<'_, '_>, errors: &mut Errors) {
    match kind {
        "hostPath" => {
            let path = at.child("path");
            if path.require(errors, "") {
                super::volume::no_backsteps(&path, errors);
            }
        }
        "local" => {
            at.child("path").require(errors, "");
        }
        "nfs" => {
            at.child("server").require(errors, "");
            at.child("path").require(errors, "");
        }
        "csi" => {
            at.child("driver").require_valid(errors, driver_name_errors);
            at.child("volumeHandle").require(errors, "");
        }
        _ => {}
    }
}

/// The name of a CSI driver: a domain of at most 63 bytes, in any case of letters.
pub(super) fn driver_name_errors(name: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if name.len() > 63 {
        errors.push("must be no more than 63 characters".to_owned());
    }
    errors.extend(names::dns1123_subdomain_errors(&name.to_lowercase()));
    errors
}

fn class(root: &At<'_, '_>, errors: &mut Errors) {
    root.child("provisioner")
        .require_valid(errors, |name| names::qualified_name_errors(&name.to_lowercase()));
    root.child("reclaimPolicy")
        .one_of_if_set(errors, &["Delete", "Retain"]);
    root.child("volumeBindingMode")
        .require_one_of(errors, &["Immediate", "WaitForFirstConsumer"]);
    let parameters = root.child("parameters");
    if parameters.len() > 512 {
        errors.push(FieldError::too_long("Provisioner Parameters Length", 512));
    }
    for (key, at) in parameters.entries() {
        if key.is_empty() {
            at.invalid(errors, "field can not be empty.");
        }
    }
}
