//! Security contexts of pods and containers.

use super::Errors;
use super::at::At;
use crate::fields::FieldError;

const MAX_ID: i64 = i32::MAX as i64;

/// The pod's security context. The host's namespaces are fields of the spec, not of the context.
pub(super) fn of_pod(spec: &At<'_, '_>, errors: &mut Errors) {
    let share = spec.child("shareProcessNamespace");
    let Some(context) = spec.get("securityContext") else {
        return;
    };
    for id in ["fsGroup", "runAsUser", "runAsGroup"] {
        context.child(id).in_range(errors, 0, MAX_ID);
    }
    let groups = context.child("supplementalGroups");
    for group in groups.items() {
        group.in_range(errors, 0, MAX_ID);
    }
    if share.is_true() && spec.child("hostPID").is_true() {
        let path = context.named("shareProcessNamespace");
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.push(FieldError::invalid(path, true, detail));
    }
    sysctls(&context.child("sysctls"), spec, errors);
    context
        .child("fsGroupChangePolicy")
        .one_of_if_set(errors, &["Always", "OnRootMismatch"]);
    profiles(&context, errors);
    context
        .child("supplementalGroupsPolicy")
        .one_of_if_set(errors, &["Merge", "Strict"]);
    context
        .child("seLinuxChangePolicy")
        .one_of_if_set(errors, &["MountOption", "Recursive"]);
}

/// A container's security context.
pub(super) fn of_container(context: &At<'_, '_>, host_users: bool, errors: &mut Errors) {
    for id in ["runAsUser", "runAsGroup"] {
        context.child(id).in_range(errors, 0, MAX_ID);
    }
    let mount = context.child("procMount");
    mount.one_of_if_set(errors, &["Default", "Unmasked"]);
    if host_users && mount.text() == "Unmasked" {
        mount.invalid(errors, "`hostUsers` must be false to use `Unmasked`");
    }
    let escalation = context.child("allowPrivilegeEscalation");
    if escalation.is_set() && !escalation.is_true() {
        if context.child("privileged").is_true() {
            context.invalid(
                errors,
                "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
            );
        }
        let capabilities = context.child("capabilities");
        let added = capabilities.child("add");
        if added.items().any(|c| c.text() == "CAP_SYS_ADMIN") {
            context.invalid(
                errors,
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
            );
        }
    }
    profiles(context, errors);
}

fn profiles(context: &At<'_, '_>, errors: &mut Errors) {
    if let Some(profile) = context.get("seccompProfile") {
        let (kind, local) = (profile.child("type"), profile.child("localhostProfile"));
        kind.one_of(errors, &["Localhost", "RuntimeDefault", "Unconfined"]);
        if kind.text() != "Localhost" {
            if local.is_set() {
                let detail = "can only be set when seccomp type is Localhost";
                errors.push(FieldError::invalid(local.path, profile.shown(), detail));
            }
        } else if !local.is_set() {
            errors.push(FieldError::required(
                local.path,
                "must be set when seccomp type is Localhost",
            ));
        } else {
            super::volume::descending(&local, errors);
        }
    }
    if let Some(profile) = context.get("appArmorProfile") {
        let (kind, local) = (profile.child("type"), profile.child("localhostProfile"));
        kind.require_one_of(errors, &["Localhost", "RuntimeDefault", "Unconfined"]);
        if kind.text() != "Localhost" {
            if local.is_set() {
                local.invalid(errors, "can only be set when AppArmor type is Localhost");
            }
        } else if local.text().trim().is_empty() {
            errors.push(FieldError::required(
                local.path,
                "must be set when AppArmor type is Localhost",
            ));
        }
    }
}

const SYSCTL: &str = "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";

/// Whether `name` can be a sysctl's: segments joined by dots or slashes.
fn is_sysctl(name: &str) -> bool {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    name.len() <= 253
        && name.split(['.', '/']).all(|segment| {
            edge(segment.bytes().next()) && edge(segment.bytes().next_back()) && segment.bytes().all(inner)
        })
}

fn sysctls(list: &At<'_, '_>, spec: &At<'_, '_>, errors: &mut Errors) {
    let mut seen = Vec::new();
    for sysctl in list.items() {
        let name = sysctl.child("name");
        let text = name.text();
        if name.require(errors, "") {
            if !is_sysctl(text) {
                name.invalid(
                    errors,
                    format!("must have at most 253 characters and match regex {SYSCTL}"),
                );
            } else if seen.contains(&text) {
                errors.push(FieldError::duplicate(name.path, text));
            }
        }
        seen.push(text);
        let dotted = text.replace('/', ".");
        if dotted.starts_with("net.") && spec.child("hostNetwork").is_true() {
            name.invalid(errors, "may not be specified when 'hostNetwork' is true");
        }
        let ipc = ["kernel.shm", "kernel.msg", "fs.mqueue."]
            .iter()
            .any(|p| dotted.starts_with(p));
        if (ipc || dotted == "kernel.sem") && spec.child("hostIPC").is_true() {
            name.invalid(errors, "may not be specified when 'hostIPC' is true");
        }
    }
}
