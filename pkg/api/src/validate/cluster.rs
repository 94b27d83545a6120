//! RBAC, priority classes, webhooks, signing requests and the other kinds of the cluster.

use super::at::At;
use super::{Errors, selector, signing};
use crate::fields::FieldError;
use crate::kinds::Kind;
use crate::names;

const RBAC: &str = "rbac.authorization.k8s.io";

/// What of these kinds the schema does not say.
pub(super) fn spec(kind: &Kind, root: &At<'_, '_>, errors: &mut Errors) {
    let spec = root.child("spec");
    match (&*kind.group, &*kind.kind) {
        (RBAC, "Role") => rules(root, true, errors),
        (RBAC, "ClusterRole") => {
            rules(root, false, errors);
            aggregation(root, errors);
        }
        (RBAC, "RoleBinding") => binding(root, true, errors),
        (RBAC, "ClusterRoleBinding") => binding(root, false, errors),
        ("scheduling.k8s.io", "PriorityClass") => priority_class(root, errors),
        ("node.k8s.io", "RuntimeClass") => {
            root.child("handler")
                .require_valid(errors, names::dns1123_label_errors);
        }
        ("certificates.k8s.io", "CertificateSigningRequest") => signing::request(root, errors),
        (
            "admissionregistration.k8s.io",
            "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration",
        ) => {
            let webhooks = root.child("webhooks");
            webhooks
                .items()
                .for_each(|webhook| webhook_errors(&webhook, errors));
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => custom_resource(root, &spec, errors),
        ("apiregistration.k8s.io", "APIService") => api_service(root, &spec, errors),
        _ => {}
    }
}

fn rules(root: &At<'_, '_>, namespaced: bool, errors: &mut Errors) {
    let rules = root.child("rules");
    for rule in rules.items() {
        rule.child("verbs")
            .require(errors, "verbs must contain at least one value");
        let urls = rule.child("nonResourceURLs");
        let of_resources = ["apiGroups", "resources", "resourceNames"];
        if urls.len() > 0 {
            if namespaced {
                urls.invalid(errors, "namespaced rules cannot apply to non-resource URLs");
            }
            if of_resources.iter().any(|f| rule.child(f).len() > 0) {
                urls.invalid(
                    errors,
                    "rules cannot apply to both regular resources and non-resource URLs",
                );
            }
            continue;
        }
        rule.child("apiGroups")
            .require(errors, "resource rules must supply at least one api group");
        rule.child("resources")
            .require(errors, "resource rules must supply at least one resource");
    }
}

fn aggregation(root: &At<'_, '_>, errors: &mut Errors) {
    let Some(rule) = root.get("aggregationRule") else {
        return;
    };
    let selectors = rule.child("clusterRoleSelectors");
    selectors.require(
        errors,
        "at least one clusterRoleSelector required if aggregationRule is non-nil",
    );
    selectors
        .items()
        .for_each(|s| selector::label_selector(&s, errors));
}

fn binding(root: &At<'_, '_>, namespaced: bool, errors: &mut Errors) {
    let role = root.child("roleRef");
    let kinds: &[&str] = if namespaced {
        &["Role", "ClusterRole"]
    } else {
        &["ClusterRole"]
    };
    role.child("apiGroup").one_of(errors, &[RBAC]);
    role.child("kind").one_of(errors, kinds);
    role.child("name")
        .require_valid(errors, names::path_segment_errors);
    let subjects = root.child("subjects");
    for subject in subjects.items() {
        let name = subject.child("name");
        name.require(errors, "");
        let (kind, group) = (subject.child("kind"), subject.child("apiGroup"));
        match kind.text() {
            "ServiceAccount" => {
                name.valid_if_set(errors, names::dns1123_subdomain_errors);
                if !group.text().is_empty() {
                    group.one_of(errors, &[""]);
                }
                if !namespaced {
                    subject.child("namespace").require(errors, "");
                }
            }
            "User" | "Group" => group.one_of(errors, &[RBAC]),
            _ => kind.one_of(errors, &["ServiceAccount", "User", "Group"]),
        }
    }
}

fn priority_class(root: &At<'_, '_>, errors: &mut Errors) {
    const HIGHEST: i64 = 1_000_000_000;
    let metadata = root.child("metadata");
    let (name, value) = (metadata.child("name"), root.child("value"));
    let number = value.number().unwrap_or_default();
    let known = [
        ("system-node-critical", 2 * HIGHEST + 1000),
        ("system-cluster-critical", 2 * HIGHEST),
    ];
    if name.text().starts_with("system-") {
        if !known.contains(&(name.text(), number)) {
            let detail = "priority class names with 'system-' prefix are reserved for system use only. error: \
                          unknown system priority class";
            name.forbid(errors, detail);
        }
    } else if number > HIGHEST {
        value.forbid(
            errors,
            format!("maximum allowed value of a user defined priority is {HIGHEST}"),
        );
    }
    root.child("preemptionPolicy")
        .one_of_if_set(errors, &["PreemptLowerPriority", "Never"]);
}

fn webhook_errors(webhook: &At<'_, '_>, errors: &mut Errors) {
    let name = webhook.child("name");
    if name.require(errors, "") {
        let messages = names::dns1123_subdomain_errors(name.text());
        if !messages.is_empty() {
            name.invalid(errors, messages.join(","));
        } else if name.text().split('.').count() < 3 {
            name.invalid(
                errors,
                "should be a domain with at least three segments separated by dots",
            );
        }
    }
    webhook
        .child("failurePolicy")
        .one_of_if_set(errors, &["Fail", "Ignore"]);
    webhook
        .child("matchPolicy")
        .one_of_if_set(errors, &["Equivalent", "Exact"]);
    webhook
        .child("sideEffects")
        .require_one_of(errors, &["None", "NoneOnDryRun"]);
    let timeout = webhook.child("timeoutSeconds");
    if timeout.number().is_some_and(|t| !(1..=30).contains(&t)) {
        timeout.invalid(errors, "the timeout value must be between 1 and 30 seconds");
    }
    for field in ["namespaceSelector", "objectSelector"] {
        selector::label_selector(&webhook.child(field), errors);
    }
    let client = webhook.child("clientConfig");
    let (url, service) = (client.child("url"), client.child("service"));
    if url.is_set() == service.is_set() {
        let detail = "exactly one of url or service is required";
        errors.push(FieldError::required(client.path, detail));
    } else if url.is_set() && !url.text().starts_with("https://") {
        url.invalid(errors, "'https' is the only allowed URL scheme");
    }
    webhook
        .child("admissionReviewVersions")
        .require(errors, "must specify one of v1, v1beta1");
}

fn custom_resource(root: &At<'_, '_>, spec: &At<'_, '_>, errors: &mut Errors) {
    let metadata = root.child("metadata");
    let (name, group) = (metadata.child("name"), spec.child("group"));
    let crd = spec.child("names");
    let plural = crd.child("plural");
    let wanted = format!("{}.{}", plural.text(), group.text());
    if name.text() != wanted {
        name.invalid(errors, "must be spec.names.plural+\".\"+spec.group");
    }
    if group.require(errors, "") {
        group.invalid_each(errors, names::dns1123_subdomain_errors(group.text()));
        if !group.text().contains('.') {
            group.invalid(errors, "should be a domain with at least one dot");
        }
    }
    spec.child("scope")
        .require_one_of(errors, &["Cluster", "Namespaced"]);
    for field in ["plural", "singular"] {
        crd.child(field)
            .require_valid(errors, names::dns1035_label_errors);
    }
    for field in ["kind", "listKind"] {
        crd.child(field)
            .require_valid(errors, |text| names::dns1035_label_errors(&text.to_lowercase()));
    }
    let versions = spec.child("versions");
    let stored = versions.items().filter(|v| v.child("storage").is_true()).count();
    if stored != 1 {
        versions.invalid(errors, "must have exactly one version marked as storage version");
    }
    let mut known = Vec::new();
    for version in versions.items() {
        let name = version.child("name");
        name.require_valid(errors, names::dns1035_label_errors);
        if known.contains(&name.text()) {
            errors.push(FieldError::invalid(
                versions.path,
                versions.shown(),
                "must contain unique version names",
            ));
        }
        known.push(name.text());
        let schema = version.child("schema");
        schema
            .child("openAPIV3Schema")
            .require(errors, "schemas are required");
    }
}

fn api_service(root: &At<'_, '_>, spec: &At<'_, '_>, errors: &mut Errors) {
    let metadata = root.child("metadata");
    let (group, version) = (spec.child("group").text(), spec.child("version").text());
    let wanted = format!("{version}.{group}");
    let name = metadata.child("name");
    if name.text() != wanted {
        name.invalid(
            errors,
            format!("must be `spec.version+\".\"+spec.group`: \"{wanted}\""),
        );
    }
    for (field, max) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1000)] {
        let at = spec.child(field);
        if !(1..=max).contains(&at.number().unwrap_or_default()) {
            at.invalid_number(errors, &format!("must be positive and less than {max}"));
        }
    }
}
