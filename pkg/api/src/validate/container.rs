//! Containers of a pod.

use super::at::At;
use super::{Errors, env, probe, resources, security, volume};
use crate::fields::FieldError;
use crate::names;
use serde_json::Value;

/// What the checks of a container need to know of its pod.
pub(super) struct Pod<'a> {
    pub(super) volumes: Vec<&'a Value>,
    pub(super) claims: Vec<&'a str>,
    pub(super) grace: Option<i64>,
    pub(super) host_users: bool,
    pub(super) restart_policy: &'a str,
}

/// All three lists of containers.
pub(super) fn containers(spec: &At<'_, '_>, pod: &Pod<'_>, errors: &mut Errors) {
    let (regular, init) = (spec.child("containers"), spec.child("initContainers"));
    let ephemeral = spec.child("ephemeralContainers");
    regular_containers(&regular, pod, errors);
    init_containers(&init, &regular, pod, errors);
    ephemeral_containers(&ephemeral, &regular, &init, pod, errors);
}

fn regular_containers(list: &At<'_, '_>, pod: &Pod<'_>, errors: &mut Errors) {
    if !list.require(errors, "") {
        return;
    }
    let mut known = Vec::new();
    for container in list.items() {
        common(&container, pod, errors);
        let name = container.child("name");
        if known.contains(&name.text()) {
            errors.push(FieldError::duplicate(name.path, name.text()));
        }
        known.push(name.text());
        probe::of_container(&container, pod.grace, errors);
        restart_policy(&container, errors);
    }
    let mut ports = Vec::new();
    for container in list.items() {
        host_ports(&container, &mut ports, errors);
    }
}

fn init_containers(list: &At<'_, '_>, regular: &At<'_, '_>, pod: &Pod<'_>, errors: &mut Errors) {
    let mut known: Vec<&str> = regular.items().map(|c| c.child("name").text()).collect();
    for container in list.items() {
        common(&container, pod, errors);
        let sidecar = container.child("restartPolicy").text() == "Always";
        restart_policy(&container, errors);
        let name = container.child("name");
        if known.contains(&name.text()) {
            errors.push(FieldError::duplicate(name.path, name.text()));
        } else if !name.text().is_empty() {
            known.push(name.text());
        }
        host_ports(&container, &mut Vec::new(), errors);
        if sidecar {
            probe::of_container(&container, pod.grace, errors);
            continue;
        }
        for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
            let detail = "may not be set for init containers without restartPolicy=Always";
            container.child(field).forbid_if_set(errors, detail);
        }
    }
}

fn ephemeral_containers(
    list: &At<'_, '_>,
    regular: &At<'_, '_>,
    init: &At<'_, '_>,
    pod: &Pod<'_>,
    errors: &mut Errors,
) {
    let mut known: Vec<&str> = regular
        .items()
        .chain(init.items())
        .map(|c| c.child("name").text())
        .collect();
    let targets: Vec<&str> = known.clone();
    for container in list.items() {
        common(&container, pod, errors);
        let name = container.child("name");
        if known.contains(&name.text()) {
            errors.push(FieldError::duplicate(name.path, name.text()));
        }
        known.push(name.text());
        let target = container.child("targetContainerName");
        if !target.text().is_empty() && !targets.contains(&target.text()) {
            errors.push(FieldError::not_found(target.path, target.text()));
        }
        for field in [
            "ports",
            "livenessProbe",
            "readinessProbe",
            "startupProbe",
            "lifecycle",
            "resizePolicy",
        ] {
            if container.child(field).len() > 0 {
                container
                    .child(field)
                    .forbid(errors, "cannot be set for an Ephemeral Container");
            }
        }
        let resources = container.child("resources");
        if resources.len() > 0 {
            resources.forbid(errors, "cannot be set for an Ephemeral Container");
        }
        let mounts = container.child("volumeMounts");
        for mount in mounts.items() {
            for field in ["subPath", "subPathExpr"] {
                if !mount.child(field).text().is_empty() {
                    mount
                        .child(field)
                        .forbid(errors, "cannot be set for an Ephemeral Container");
                }
            }
        }
    }
}

fn common(container: &At<'_, '_>, pod: &Pod<'_>, errors: &mut Errors) {
    container
        .child("name")
        .require_valid(errors, names::dns1123_label_errors);
    container.child("image").require(errors, "");
    container
        .child("terminationMessagePolicy")
        .require_one_of(errors, &["File", "FallbackToLogsOnError"]);
    ports(&container.child("ports"), errors);
    env::env(&container.child("env"), errors);
    env::env_from(&container.child("envFrom"), errors);
    volume::mounts(container, &pod.volumes, errors);
    container
        .child("imagePullPolicy")
        .require_one_of(errors, &["Always", "IfNotPresent", "Never"]);
    let wanted = container.child("resources");
    resources::requirements(&wanted, resources::Of::Container, &pod.claims, errors);
    resize_policy(&container.child("resizePolicy"), pod, errors);
    if let Some(context) = container.get("securityContext") {
        security::of_container(&context, pod.host_users, errors);
    }
}

/// The protocols of ports.
pub(super) const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];

fn ports(list: &At<'_, '_>, errors: &mut Errors) {
    let mut known = Vec::new();
    for port in list.items() {
        let name = port.child("name");
        if !name.text().is_empty() {
            let messages = names::port_name_errors(name.text());
            if !messages.is_empty() {
                name.invalid_each(errors, messages);
            } else if known.contains(&name.text()) {
                errors.push(FieldError::duplicate(name.path, name.text()));
            } else {
                known.push(name.text());
            }
        }
        let number = port.child("containerPort");
        match number.number().unwrap_or_default() {
            0 => errors.push(FieldError::required(number.path, "")),
            n => number.invalid_each(errors, names::port_number_errors(n)),
        }
        let host = port.child("hostPort");
        match host.number().unwrap_or_default() {
            0 => {}
            n => host.invalid_each(errors, names::port_number_errors(n)),
        }
        port.child("protocol").require_one_of(errors, PROTOCOLS);
    }
}

fn host_ports(container: &At<'_, '_>, taken: &mut Vec<String>, errors: &mut Errors) {
    let list = container.child("ports");
    for port in list.items() {
        let host = port.child("hostPort");
        let Some(number) = host.number().filter(|n| *n != 0) else {
            continue;
        };
        let key = format!(
            "{}/{}/{number}",
            port.child("protocol").text(),
            port.child("hostIP").text()
        );
        if taken.contains(&key) {
            errors.push(FieldError::duplicate(host.path, key));
        } else {
            taken.push(key);
        }
    }
}

fn restart_policy(container: &At<'_, '_>, errors: &mut Errors) {
    let (policy, rules) = (
        container.child("restartPolicy"),
        container.child("restartPolicyRules"),
    );
    if !policy.is_set() && rules.len() > 0 {
        let detail = "must specify restartPolicy when restart rules are used";
        errors.push(FieldError::required(policy.path, detail));
    }
    policy.one_of_if_set(errors, &["Always", "Never", "OnFailure"]);
    if rules.len() > 20 {
        errors.push(FieldError::too_many(rules.path, rules.len(), 20));
    }
    for rule in rules.items() {
        rule.child("action").one_of(errors, &["Restart"]);
        let codes = rule.child("exitCodes");
        if codes.require(errors, "must be specified") {
            codes.child("operator").one_of(errors, &["In", "NotIn"]);
            let values = codes.child("values");
            if values.len() > 255 {
                errors.push(FieldError::too_many(values.path, values.len(), 255));
            }
        }
    }
}

/// Upstream tells mistakes of entries at the list's path.
fn resize_policy(list: &At<'_, '_>, pod: &Pod<'_>, errors: &mut Errors) {
    let mut known = Vec::new();
    for entry in list.items() {
        let (resource, policy) = (
            entry.child("resourceName").text(),
            entry.child("restartPolicy").text(),
        );
        if known.contains(&resource) {
            errors.push(FieldError::duplicate(entry.path, resource));
        }
        known.push(resource);
        let mut one_of = |text: &str, supported: &[&str]| match text {
            "" => errors.push(FieldError::required(list.path, "")),
            t if !supported.contains(&t) => errors.push(FieldError::not_supported(list.path, t, supported)),
            _ => {}
        };
        one_of(resource, &["cpu", "memory"]);
        one_of(policy, &["NotRequired", "RestartContainer"]);
        if pod.restart_policy == "Never" && policy != "NotRequired" {
            let detail = "must be 'NotRequired' when pod `restartPolicy` is 'Never'";
            errors.push(FieldError::invalid(list.path, policy, detail));
        }
    }
}
