//! What upstream takes and warns of: fields that do nothing, that hide each other, that will go away.
//! kubectl prints these beside its answer.

mod node;
mod pod;
mod service;

use super::at::At;
use super::is;
use crate::kinds::Kind;
use crate::names::dns1123_label_errors;
use crate::quantity::Quantity;
use serde_json::Value;

/// Warnings as they are sent, in order.
type Warnings = Vec<String>;

/// The deprecated labels of nodes, and what upstream says of each.
const NODE_LABELS: &[(&str, &str)] = &[
    (
        "beta.kubernetes.io/arch",
        r#"deprecated since v1.14; use "kubernetes.io/arch" instead"#,
    ),
    (
        "beta.kubernetes.io/os",
        r#"deprecated since v1.14; use "kubernetes.io/os" instead"#,
    ),
    (
        "failure-domain.beta.kubernetes.io/region",
        r#"deprecated since v1.17; use "topology.kubernetes.io/region" instead"#,
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        r#"deprecated since v1.17; use "topology.kubernetes.io/zone" instead"#,
    ),
    (
        "beta.kubernetes.io/instance-type",
        r#"deprecated since v1.17; use "node.kubernetes.io/instance-type" instead"#,
    ),
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    (
        "scheduler.alpha.kubernetes.io/preferAvoidPods",
        "deprecated since v1.22; use Taints and Tolerations instead",
    ),
    (
        "node-role.kubernetes.io/master",
        r#"use "node-role.kubernetes.io/control-plane" instead"#,
    ),
];

/// What is doubtful in a new object (`old` is absent) or in an update of one.
pub fn warnings(kind: &Kind, new: &Value, old: Option<&Value>) -> Warnings {
    let mut warnings = Vec::new();
    let root = At::root(new);
    match (&*kind.group, &*kind.kind) {
        // People seldom change pods themselves.
        ("", "Pod") if old.is_none() => {
            name(&root, "the Pod's hostname", &mut warnings);
            pod::pod(&root, &mut warnings);
        }
        ("", "Service") => service::service(&root, &mut warnings),
        ("", "Node") => node::node(&root, &mut warnings),
        ("", "ResourceQuota") if old.is_none() => quota(&root, &mut warnings),
        ("", "PersistentVolumeClaim") => claim(&root, &mut warnings),
        ("", "ServiceAccount") => account(&root, old, &mut warnings),
        ("networking.k8s.io", "Ingress") if old.is_none() => ingress(&root, &mut warnings),
        _ => templates(kind, &root, old, &mut warnings),
    }
    warnings
}

/// What the kinds that make pods say of their template, when it is new or changed.
fn templates(kind: &Kind, root: &At<'_, '_>, old: Option<&Value>, warnings: &mut Warnings) {
    let generation =
        |object: Option<&Value>| object.and_then(|it| it.pointer("/metadata/generation").cloned());
    if old.is_some() && generation(old) == generation(root.value) {
        return;
    }
    let named = matches!(
        &*kind.kind,
        "Deployment" | "ReplicaSet" | "ReplicationController" | "Job" | "CronJob"
    );
    let path: &[&str] = match (&*kind.group, &*kind.kind) {
        ("apps", "Deployment" | "ReplicaSet" | "DaemonSet" | "StatefulSet")
        | ("", "ReplicationController")
        | ("batch", "Job") => &["spec", "template"],
        ("batch", "CronJob") => &["spec", "jobTemplate", "spec", "template"],
        ("", "PodTemplate") => &["template"],
        _ => return,
    };
    if named && old.is_none() {
        name(root, "Pod names and hostnames", warnings);
    }
    let limit = root.child("spec");
    let limit = limit.child("revisionHistoryLimit");
    if is(kind, "apps", "StatefulSet") && limit.number().is_some_and(|n| n < 0) {
        warnings.push(
            "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended"
                .to_owned(),
        );
    }
    descend(root, path, &mut |template| pod::pod(template, warnings));
}

/// Goes down a path of fields and does something there.
fn descend(at: &At<'_, '_>, path: &[&str], at_the_end: &mut dyn FnMut(&At<'_, '_>)) {
    match path {
        [] => at_the_end(at),
        [field, rest @ ..] => descend(&at.child(field), rest, at_the_end),
    }
}

/// A name that becomes part of host names should be a DNS label.
fn name(root: &At<'_, '_>, used_in: &str, warnings: &mut Warnings) {
    let meta = root.child("metadata");
    let errors = dns1123_label_errors(meta.child("name").text());
    if !errors.is_empty() {
        warnings.push(format!(
            "metadata.name: this is used in {used_in}, which can result in surprising behavior; a DNS label is recommended: [{}]",
            errors.join(" ")
        ));
    }
}

/// The deprecation of a label of nodes.
fn node_label(key: &str) -> Option<&'static str> {
    let mut known = NODE_LABELS.iter();
    known
        .find(|(label, _)| *label == key)
        .map(|(_, message)| *message)
}

/// An amount of bytes that is no whole number.
fn fractional(at: &At<'_, '_>, warnings: &mut Warnings) {
    if let Some(amount) = at.quantity().filter(|amount| !amount.is_integer()) {
        warnings.push(format!(
            "{}: fractional byte value \"{amount}\" is invalid, must be an integer",
            at.path
        ));
    }
}

/// An IPv6 address that is not written as it should be.
fn address(at: &At<'_, '_>, warnings: &mut Warnings) {
    let Ok(std::net::IpAddr::V6(parsed)) = at.text().parse() else {
        return;
    };
    let (given, path) = (at.text(), at.path);
    match parsed.to_ipv4_mapped() {
        Some(mapped) => warnings.push(format!(
            "{path}: non-standard IP address \"{given}\" is invalid: use \"{mapped}\""
        )),
        None if parsed.to_string() != given => warnings.push(format!(
            "{path}: IPv6 address \"{given}\" should be in RFC 5952 canonical format (\"{parsed}\")"
        )),
        None => {}
    }
}

fn annotation<'v>(root: &At<'v, '_>, key: &str) -> Option<&'v str> {
    let meta = root.child("metadata");
    let annotations = meta.child("annotations");
    annotations.map()?.get(key)?.as_str()
}

fn quota(root: &At<'_, '_>, warnings: &mut Warnings) {
    let spec = root.child("spec");
    let hard = spec.child("hard");
    let amount = |name: &str| -> Option<Quantity> { hard.child(name).quantity() };
    for resource in ["cpu", "memory", "ephemeral-storage"] {
        let (plain, limits) = (format!("requests.{resource}"), format!("limits.{resource}"));
        let bare = (resource != "ephemeral-storage").then_some(resource);
        let requested = amount(&plain).map(|amount| (plain.as_str(), amount));
        let requested = requested.or_else(|| bare.and_then(|name| amount(name).map(|it| (name, it))));
        if let (Some((name, requested)), Some(limit)) = (requested, amount(&limits))
            && requested > limit
        {
            warnings.push(format!(
                "ResourceQuota {name} ({requested}) should be less than {limits} ({limit})"
            ));
        }
    }
}

fn claim(root: &At<'_, '_>, warnings: &mut Warnings) {
    const CLASS: &str = "volume.beta.kubernetes.io/storage-class";
    if annotation(root, CLASS).is_some() {
        warnings.push(format!(
            "metadata.annotations[{CLASS}]: deprecated since v1.8; use \"storageClassName\" attribute instead"
        ));
    }
    let spec = root.child("spec");
    let resources = spec.child("resources");
    for field in ["requests", "limits"] {
        let amounts = resources.child(field);
        let storage = amounts.entries().find(|(name, _)| *name == "storage");
        storage
            .iter()
            .for_each(|(_, amount)| fractional(amount, warnings));
    }
}

fn account(root: &At<'_, '_>, old: Option<&Value>, warnings: &mut Warnings) {
    const ENFORCES: &str = "kubernetes.io/enforce-mountable-secrets";
    let enforces = |root: &At<'_, '_>| annotation(root, ENFORCES) == Some("true");
    let before = old.map(At::root);
    if enforces(root) && !before.is_some_and(|before| enforces(&before)) {
        warnings.push(format!(
            "metadata.annotations[{ENFORCES}]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
        ));
    }
}

fn ingress(root: &At<'_, '_>, warnings: &mut Warnings) {
    const CLASS: &str = "kubernetes.io/ingress.class";
    if annotation(root, CLASS).is_some() {
        warnings.push(format!(
            "annotation \"{CLASS}\" is deprecated, please use 'spec.ingressClassName' instead"
        ));
    }
}

#[cfg(test)]
mod tests;
