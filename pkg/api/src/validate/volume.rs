//! Volumes of a pod and their mounts.

use super::at::At;
use super::{Errors, env, meta, storage};
use crate::fields::FieldError;
use crate::names;
use serde_json::Value;

const MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";

/// `volumes` of a pod. Gives the volumes that can be mounted: those without mistakes.
pub(super) fn volumes<'v>(list: &At<'v, '_>, pod_name: &str, errors: &mut Errors) -> Vec<&'v Value> {
    let mut good: Vec<&'v Value> = Vec::new();
    let ephemeral: Vec<String> = list
        .items()
        .filter(|v| !pod_name.is_empty() && v.child("ephemeral").is_set())
        .map(|v| format!("{pod_name}-{}", v.child("name").text()))
        .collect();
    for volume in list.items() {
        let before = errors.len();
        source(&volume, errors);
        let name = volume.child("name");
        name.require_valid(errors, names::dns1123_label_errors);
        if named(&good, name.text()).is_some() {
            errors.push(FieldError::duplicate(name.path, name.text()));
        }
        if let (true, Some(value)) = (errors.len() == before, volume.value) {
            good.push(value);
        }
        let reference = volume.child("persistentVolumeClaim");
        let claim = reference.child("claimName");
        if ephemeral.iter().any(|e| e == claim.text()) {
            claim.invalid(
                errors,
                "must not reference a PVC that gets created for an ephemeral volume",
            );
        }
    }
    good
}

/// The volume of this name.
fn named<'v>(volumes: &[&'v Value], name: &str) -> Option<&'v Value> {
    volumes
        .iter()
        .copied()
        .find(|v| v.get("name").and_then(Value::as_str).unwrap_or_default() == name)
}

fn source(volume: &At<'_, '_>, errors: &mut Errors) {
    let mut one = false;
    for (kind, value) in volume.map().into_iter().flatten() {
        if kind == "name" || value.is_null() {
            continue;
        }
        let at = volume.child(kind);
        if one {
            at.forbid(errors, "may not specify more than 1 volume type");
            continue;
        }
        one = true;
        source_of(kind, &at, errors);
    }
    if !one {
        errors.push(FieldError::required(volume.path, "must specify a volume type"));
    }
}

fn source_of(kind: &str, at: &At<'_, '_>, errors: &mut Errors) {
    let mut need = |field: &str| {
        at.child(field).require(errors, "");
    };
    match kind {
        "emptyDir" => {
            let limit = at.child("sizeLimit");
            if limit.quantity().is_some_and(|q| q.is_negative()) {
                limit.forbid(errors, "SizeLimit field must be a valid resource quantity");
            }
        }
        "hostPath" => {
            let path = at.child("path");
            if path.require(errors, "") {
                no_backsteps(&path, errors);
                at.child("type").one_of_if_set(errors, HOST_PATH_TYPES);
            }
        }
        "secret" => {
            need("secretName");
            keyed(at, errors);
        }
        "configMap" => {
            need("name");
            keyed(at, errors);
        }
        "persistentVolumeClaim" => need("claimName"),
        "downwardAPI" => {
            mode(&at.child("defaultMode"), errors);
            let items = at.child("items");
            items.items().for_each(|item| downward_file(&item, at, errors));
        }
        "projected" => projected(at, errors),
        "nfs" => {
            need("server");
            need("path");
            let path = at.child("path");
            if !path.text().starts_with('/') {
                path.invalid(errors, "must be an absolute path");
            }
        }
        "csi" => at
            .child("driver")
            .require_valid(errors, storage::driver_name_errors),
        "ephemeral" => {
            let template = at.child("volumeClaimTemplate");
            if template.require(errors, "") {
                meta::template(&template.child("metadata"), errors);
                storage::claim_spec(&template.child("spec"), errors);
            }
        }
        "image" => {
            need("reference");
            at.child("pullPolicy")
                .one_of_if_set(errors, &["Always", "IfNotPresent", "Never"]);
        }
        "gcePersistentDisk" => need("pdName"),
        "awsElasticBlockStore" | "cinder" => need("volumeID"),
        "gitRepo" => need("repository"),
        "glusterfs" => ["endpoints", "path"].into_iter().for_each(need),
        "rbd" => ["monitors", "image"].into_iter().for_each(need),
        "cephfs" => need("monitors"),
        "iscsi" => ["targetPortal", "iqn"].into_iter().for_each(need),
        "azureFile" => ["secretName", "shareName"].into_iter().for_each(need),
        "azureDisk" => ["diskName", "diskURI"].into_iter().for_each(need),
        "vsphereVolume" => need("volumePath"),
        "quobyte" => ["registry", "volume"].into_iter().for_each(need),
        "flexVolume" => need("driver"),
        "portworxVolume" => need("volumeID"),
        "scaleIO" => ["gateway", "system", "volumeName"].into_iter().for_each(need),
        _ => {}
    }
}

/// Sorted, as upstream lists them; the empty type means no check.
const HOST_PATH_TYPES: &[&str] = &[
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
];

fn mode(at: &At<'_, '_>, errors: &mut Errors) {
    if at.number().is_some_and(|m| !(0..=0o777).contains(&m)) {
        at.invalid(errors, MODE);
    }
}

fn keyed(at: &At<'_, '_>, errors: &mut Errors) {
    mode(&at.child("defaultMode"), errors);
    let items = at.child("items");
    items.items().for_each(|item| key_to_path(&item, errors));
}

fn key_to_path(item: &At<'_, '_>, errors: &mut Errors) {
    item.child("key").require(errors, "");
    let path = item.child("path");
    path.require(errors, "");
    local(&path, errors);
    mode(&item.child("mode"), errors);
}

const VOLUME_FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];

/// One file of the downward API; upstream tells mistakes at the volume's path, not the item's.
fn downward_file(item: &At<'_, '_>, volume: &At<'_, '_>, errors: &mut Errors) {
    let here = volume.with(item.value);
    let path = here.child("path");
    path.require(errors, "");
    local(&path, errors);
    match (here.get("fieldRef"), here.get("resourceFieldRef")) {
        (Some(field), resource) => {
            env::field_ref(&field, VOLUME_FIELDS, errors);
            if resource.is_some() {
                let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.push(FieldError::invalid(here.path, "resource", detail));
            }
        }
        (None, Some(resource)) => env::resource_ref(&resource, true, errors),
        (None, None) => {
            let detail = "one of fieldRef and resourceFieldRef is required";
            errors.push(FieldError::required(here.path, detail));
        }
    }
    mode(&here.child("mode"), errors);
}

fn projected(at: &At<'_, '_>, errors: &mut Errors) {
    mode(&at.child("defaultMode"), errors);
    let mut paths: Vec<String> = Vec::new();
    let sources = at.child("sources");
    for source in sources.items() {
        let count = source
            .map()
            .into_iter()
            .flatten()
            .filter(|(_, v)| !v.is_null())
            .count();
        for kind in ["secret", "configMap"] {
            let Some(part) = source.get(kind) else { continue };
            part.child("name").require(errors, "");
            let items = part.child("items");
            for item in items.items() {
                key_to_path(&item, errors);
                unique_path(
                    at,
                    &mut paths,
                    item.child("path").text(),
                    part.child("name").text(),
                    errors,
                );
            }
        }
        if let Some(part) = source.get("downwardAPI") {
            let items = part.child("items");
            for item in items.items() {
                downward_file(&item, &part, errors);
                let path = item.child("path").text();
                unique_path(at, &mut paths, path, path, errors);
            }
        }
        if let Some(token) = source.get("serviceAccountToken") {
            let seconds = token.child("expirationSeconds");
            if seconds.number().is_some_and(|s| s < 600) {
                seconds.invalid(errors, "may not specify a duration less than 10 minutes");
            }
            if seconds.number().is_some_and(|s| s > 1 << 32) {
                seconds.invalid(errors, "may not specify a duration larger than 2^32 seconds");
            }
            // Upstream tells this at the volume's path.
            let path = at.child("path").with(token.child("path").value);
            if path.require(errors, "") {
                local(&path, errors);
            }
        }
        if count > 1 {
            source.forbid(errors, "may not specify more than 1 volume type per source");
        }
    }
}

fn unique_path(at: &At<'_, '_>, paths: &mut Vec<String>, path: &str, shown: &str, errors: &mut Errors) {
    if path.is_empty() {
        return;
    }
    if paths.iter().any(|p| p == path) {
        errors.push(FieldError::invalid(at.path, shown, "conflicting duplicate paths"));
    } else {
        paths.push(path.to_owned());
    }
}

/// A path without `..` in it.
pub(super) fn no_backsteps(at: &At<'_, '_>, errors: &mut Errors) {
    if at.text().split('/').any(|part| part == "..") {
        at.invalid(errors, "must not contain '..'");
    }
}

/// A relative path without `..` in it.
pub(super) fn descending(at: &At<'_, '_>, errors: &mut Errors) {
    if at.text().starts_with('/') {
        at.invalid(errors, "must be a relative path");
    }
    no_backsteps(at, errors);
}

/// The same, that does not begin with `..` either.
fn local(at: &At<'_, '_>, errors: &mut Errors) {
    descending(at, errors);
    if at.text().starts_with("..") && !at.text().starts_with("../") && at.text() != ".." {
        at.invalid(errors, "must not start with '..'");
    }
}

/// `volumeMounts` and `volumeDevices` of a container.
pub(super) fn mounts(container: &At<'_, '_>, volumes: &[&Value], errors: &mut Errors) {
    let (mounts, devices) = (container.child("volumeMounts"), container.child("volumeDevices"));
    let mut points = Vec::new();
    for mount in mounts.items() {
        let (name, point) = (mount.child("name"), mount.child("mountPath"));
        name.require(errors, "");
        if named(volumes, name.text()).is_none() {
            errors.push(FieldError::not_found(name.path, name.text()));
        }
        point.require(errors, "");
        if points.contains(&point.text()) {
            point.invalid(errors, "must be unique");
        }
        points.push(point.text());
        for device in devices.items() {
            if device.child("name").text() == name.text() {
                name.invalid(errors, "must not already exist in volumeDevices");
            }
            if device.child("devicePath").text() == point.text() {
                point.invalid(errors, "must not already exist as a path in volumeDevices");
            }
        }
        mount_options(&mount, &mounts, container, errors);
    }
    let (mut names, mut paths) = (Vec::new(), Vec::new());
    for device in devices.items() {
        let (name, path) = (device.child("name"), device.child("devicePath"));
        name.require(errors, "");
        unique(&name, &mut names, errors);
        match named(volumes, name.text()) {
            None => errors.push(FieldError::not_found(name.path, name.text())),
            Some(v)
                if v.get("persistentVolumeClaim")
                    .or_else(|| v.get("ephemeral"))
                    .is_none() =>
            {
                name.invalid(
                    errors,
                    "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
                )
            }
            Some(_) => {}
        }
        path.require(errors, "");
        unique(&path, &mut paths, errors);
        if path.text().split('/').any(|p| p == "..") {
            path.invalid(errors, "can not contain backsteps ('..')");
        }
    }
}

fn unique<'v>(at: &At<'v, '_>, seen: &mut Vec<&'v str>, errors: &mut Errors) {
    if seen.contains(&at.text()) {
        at.invalid(errors, "must be unique");
    }
    seen.push(at.text());
}

/// Upstream tells these mistakes at the list's path.
fn mount_options(mount: &At<'_, '_>, list: &At<'_, '_>, container: &At<'_, '_>, errors: &mut Errors) {
    let here = list.with(mount.value);
    let (sub, expression) = (here.child("subPath"), here.child("subPathExpr"));
    if !sub.text().is_empty() {
        descending(&sub, errors);
    }
    if !expression.text().is_empty() {
        if !sub.text().is_empty() {
            mount
                .child("subPathExpr")
                .invalid(errors, "subPathExpr and subPath are mutually exclusive");
        }
        descending(&expression, errors);
    }
    let propagation = here.child("mountPropagation");
    propagation.one_of_if_set(errors, &["Bidirectional", "HostToContainer", "None"]);
    let context = container.child("securityContext");
    if propagation.text() == "Bidirectional" && !context.child("privileged").is_true() {
        propagation.forbid(
            errors,
            "Bidirectional mount propagation is available only to privileged containers",
        );
    }
    let recursive = here.child("recursiveReadOnly");
    recursive.one_of_if_set(errors, &["Disabled", "Enabled", "IfPossible"]);
    if matches!(recursive.text(), "Enabled" | "IfPossible") {
        if !mount.child("readOnly").is_true() {
            recursive.forbid(errors, "may only be specified when readOnly is true");
        }
        if !matches!(propagation.text(), "" | "None") {
            recursive.forbid(
                errors,
                "may only be specified when mountPropagation is None or not specified",
            );
        }
    }
}
