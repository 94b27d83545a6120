//! The spec of a pod, in a Pod or in a template.

use super::at::At;
use super::{Errors, affinity, container, ip, meta, resources, security, volume};
use crate::fields::FieldError;
use crate::names;

/// A pod template: labels, annotations and spec.
pub(super) fn template(template: &At<'_, '_>, errors: &mut Errors) {
    let metadata = template.child("metadata");
    // Upstream's paths leave `metadata` out here.
    meta::labels(
        &template.child("labels").with(metadata.child("labels").value),
        errors,
    );
    meta::annotations(
        &template
            .child("annotations")
            .with(metadata.child("annotations").value),
        errors,
    );
    let spec = template.child("spec");
    pod_spec(&spec, None, errors);
    let ephemeral = spec.child("ephemeralContainers");
    if ephemeral.len() > 0 {
        ephemeral.forbid(errors, "ephemeral containers not allowed in pod template");
    }
}

/// The spec; `pod_name` is given for a Pod, which is checked more strictly than a template.
pub(super) fn pod_spec(spec: &At<'_, '_>, pod_name: Option<&str>, errors: &mut Errors) {
    let grace = spec.child("terminationGracePeriodSeconds");
    grace.require(errors, "");
    let claims = spec.child("resourceClaims");
    let host_users = spec.child("hostUsers").value != Some(&serde_json::Value::Bool(false));
    let volumes = spec.child("volumes");
    let pod = container::Pod {
        volumes: volume::volumes(&volumes, pod_name.unwrap_or_default(), errors),
        claims: claims.items().map(|c| c.child("name").text()).collect(),
        grace: grace.number(),
        host_users,
        restart_policy: spec.child("restartPolicy").text(),
    };
    resource_claims(&claims, errors);
    container::containers(spec, &pod, errors);
    if let Some(wanted) = spec.get("resources") {
        wanted
            .child("claims")
            .forbid_if_set(errors, "claims may not be set for Resources at pod-level");
        resources::requirements(&wanted, resources::Of::Pod, &pod.claims, errors);
    }
    host_network_ports(spec, pod_name.is_some(), errors);
    spec.child("restartPolicy")
        .require_one_of(errors, &["Always", "OnFailure", "Never"]);
    spec.child("dnsPolicy").require_one_of(
        errors,
        &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
    );
    meta::labels(&spec.child("nodeSelector"), errors);
    security::of_pod(spec, errors);
    affinity::affinity(&spec.child("affinity"), errors);
    dns_config(spec, errors);
    gates(spec, errors);
    affinity::topology_spread(&spec.child("topologySpreadConstraints"), errors);
    if !host_users {
        for (field, shown) in [
            ("hostPID", "HostPID"),
            ("hostIPC", "HostIPC"),
            ("hostNetwork", "hostNetwork"),
        ] {
            if spec.child(field).is_true() {
                errors.push(FieldError::forbidden(
                    spec.named(shown),
                    "when `hostUsers` is false",
                ));
            }
        }
    }
    host_name(spec, errors);
    references(spec, errors);
    affinity::tolerations(&spec.child("tolerations"), errors);
    host_aliases(&spec.child("hostAliases"), errors);
    overhead(&spec.child("overhead"), errors);
    file_key_volumes(spec, &volumes, errors);
}

fn references(spec: &At<'_, '_>, errors: &mut Errors) {
    for field in ["serviceAccountName", "nodeName", "priorityClassName"] {
        spec.child(field)
            .valid_if_set(errors, names::dns1123_subdomain_errors);
    }
    for field in ["hostname", "subdomain"] {
        spec.child(field)
            .valid_if_set(errors, names::dns1123_label_errors);
    }
    spec.child("activeDeadlineSeconds")
        .in_range(errors, 1, i32::MAX.into());
    let class = spec.child("runtimeClassName");
    if class.is_set() {
        class.invalid_each(errors, names::dns1123_subdomain_errors(class.text()));
    }
    spec.child("preemptionPolicy")
        .one_of_if_set(errors, &["PreemptLowerPriority", "Never"]);
    if let Some(os) = spec.get("os") {
        os.child("name").require_one_of(errors, &["linux", "windows"]);
    }
}

fn resource_claims(claims: &At<'_, '_>, errors: &mut Errors) {
    let mut known = Vec::new();
    for claim in claims.items() {
        let name = claim.child("name");
        name.require_valid(errors, names::dns1123_label_errors);
        if known.contains(&name.text()) {
            errors.push(FieldError::duplicate(name.path, name.text()));
        }
        known.push(name.text());
        let (given, template) = (
            claim.child("resourceClaimName"),
            claim.child("resourceClaimTemplateName"),
        );
        match (given.is_set(), template.is_set()) {
            (true, true) => claim.invalid(
                errors,
                "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified",
            ),
            (false, false) => {
                claim.invalid(
                    errors,
                    "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
                );
            }
            _ => {}
        }
        for name in [given, template] {
            if name.is_set() {
                name.invalid_each(errors, names::dns1123_subdomain_errors(name.text()));
            }
        }
    }
}

/// On the host's network the host's port is the container's; a template may be silent.
fn host_network_ports(spec: &At<'_, '_>, is_pod: bool, errors: &mut Errors) {
    if !spec.child("hostNetwork").is_true() {
        return;
    }
    let containers = spec.child("containers");
    for container in containers.items() {
        let ports = container.child("ports");
        for port in ports.items() {
            let host = port.child("hostPort");
            let number = host.number().unwrap_or_default();
            let silent = !is_pod && number == 0;
            if !silent && number != port.child("containerPort").number().unwrap_or_default() {
                host.invalid_number(errors, "must match `containerPort` when `hostNetwork` is true");
            }
        }
    }
}

fn dns_config(spec: &At<'_, '_>, errors: &mut Errors) {
    let config = spec.child("dnsConfig");
    let servers = config.child("nameservers");
    if spec.child("dnsPolicy").text() == "None" {
        if !config.require(errors, "must provide `dnsConfig` when `dnsPolicy` is None") {
            return;
        }
        let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        if !servers.require(errors, detail) {
            return;
        }
    }
    if servers.len() > 3 {
        servers.invalid(errors, "must not have more than 3 nameservers");
    }
    servers.items().for_each(|server| {
        ip::address(&server, errors);
    });
    let searches = config.child("searches");
    if searches.len() > 32 {
        searches.invalid(errors, "must not have more than 32 search paths");
    }
    let total: usize = searches.items().map(|s| s.text().len() + 1).sum();
    if total > 2049 {
        searches.invalid(
            errors,
            "must not have more than 2048 characters (including spaces) in the search list",
        );
    }
    for search in searches.items().filter(|s| s.text() != ".") {
        // Underscores are allowed here.
        let text = search
            .text()
            .strip_suffix('.')
            .unwrap_or(search.text())
            .replace('_', "a");
        search.invalid_each(errors, names::dns1123_subdomain_errors(&text));
    }
    let options = config.child("options");
    for option in options.items() {
        if option.child("name").text().is_empty() {
            errors.push(FieldError::required(option.path, "must not be empty"));
        }
    }
}

fn gates(spec: &At<'_, '_>, errors: &mut Errors) {
    let ready = spec.child("readinessGates");
    for gate in ready.items() {
        let kind = gate.child("conditionType");
        kind.invalid_each(errors, names::qualified_name_errors(kind.text()));
    }
    let scheduling = spec.child("schedulingGates");
    let mut known = Vec::new();
    for gate in scheduling.items() {
        let name = gate.child("name").text();
        for message in names::qualified_name_errors(name) {
            errors.push(FieldError::invalid(gate.path, name, message));
        }
        if known.contains(&name) {
            errors.push(FieldError::duplicate(gate.path, name));
        }
        known.push(name);
    }
}

fn host_name(spec: &At<'_, '_>, errors: &mut Errors) {
    let name = spec.child("hostnameOverride");
    if !name.is_set() {
        return;
    }
    if spec.child("setHostnameAsFQDN").is_true() {
        name.forbid(errors, "may not be specified when setHostnameAsFQDN is true");
    }
    if spec.child("hostNetwork").is_true() {
        name.forbid(errors, "may not be specified when hostNetwork is true");
    }
    if name.text().len() > 64 {
        errors.push(FieldError::too_long(name.path, 64));
    }
    name.invalid_each(errors, names::dns1123_subdomain_errors(name.text()));
}

fn host_aliases(list: &At<'_, '_>, errors: &mut Errors) {
    for alias in list.items() {
        ip::address(&alias.child("ip"), errors);
        let hosts = alias.child("hostnames");
        for host in hosts.items() {
            host.invalid_each(errors, names::dns1123_subdomain_errors(host.text()));
        }
    }
}

fn overhead(overhead: &At<'_, '_>, errors: &mut Errors) {
    for (name, quantity) in overhead.entries() {
        resources::amount(name, &quantity, errors);
    }
}

/// A variable read from a file needs an emptyDir volume.
fn file_key_volumes(spec: &At<'_, '_>, volumes: &At<'_, '_>, errors: &mut Errors) {
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        let containers = spec.child(list);
        for container in containers.items() {
            let variables = container.child("env");
            for variable in variables.items() {
                let from = variable.child("valueFrom");
                let Some(reference) = from.get("fileKeyRef") else {
                    continue;
                };
                let name = reference.child("volumeName");
                match volumes.items().find(|v| v.child("name").text() == name.text()) {
                    None => errors.push(FieldError::not_found(name.path, name.text())),
                    Some(volume) if !volume.child("emptyDir").is_set() => {
                        name.invalid(errors, "referenced volume must be of type emptyDir");
                    }
                    Some(_) => {}
                }
            }
        }
    }
}
