//! The other groups: networking, RBAC, storage, admission, flow control and what else has defaults.

use super::rule::{Rule, fill};
use super::{child, text};
use serde_json::{Map, Value, json};

const RBAC: &str = "rbac.authorization.k8s.io";

/// One object of one of these groups.
pub(super) fn apply(group: &str, kind: &str, object: &mut Map<String, Value>) {
    fill(object, rules(group, kind));
    match (group, kind) {
        (RBAC, _) => subjects(object),
        ("networking.k8s.io", "NetworkPolicy") => policy_types(object),
        ("storage.k8s.io", "CSIDriver") => lifecycle_modes(object),
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration") => {
            fill(object, PRIORITY_LEVEL);
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => custom_resource(object),
        _ => {}
    }
}

fn rules(group: &str, kind: &str) -> &'static [Rule] {
    match (group, kind) {
        ("networking.k8s.io", "NetworkPolicy") => {
            const {
                &[
                    Rule::object("spec.podSelector"),
                    Rule::nil("spec.ingress[].ports[].protocol", "TCP"),
                    Rule::nil("spec.egress[].ports[].protocol", "TCP"),
                ]
            }
        }
        ("networking.k8s.io", "Ingress") => const { &[Rule::object("status.loadBalancer")] },
        ("networking.k8s.io", "IngressClass") => const { &[Rule::nil("spec.parameters?.scope", "Cluster")] },
        (RBAC, "RoleBinding" | "ClusterRoleBinding") => const { &[Rule::zero("roleRef.apiGroup", RBAC)] },
        ("storage.k8s.io", "StorageClass") => {
            const {
                &[
                    Rule::nil("reclaimPolicy", "Delete"),
                    Rule::nil("volumeBindingMode", "Immediate"),
                ]
            }
        }
        ("storage.k8s.io", "CSIDriver") => {
            const {
                &[
                    Rule::nil_flag("spec.attachRequired", true),
                    Rule::nil_flag("spec.podInfoOnMount", false),
                    Rule::nil_flag("spec.storageCapacity", false),
                    Rule::nil("spec.fsGroupPolicy", "ReadWriteOnceWithFSType"),
                    Rule::nil_flag("spec.requiresRepublish", false),
                    Rule::nil_flag("spec.seLinuxMount", false),
                ]
            }
        }
        ("storage.k8s.io", "CSIStorageCapacity") => {
            const { &[Rule::quantity("capacity"), Rule::quantity("maximumVolumeSize")] }
        }
        ("discovery.k8s.io", "EndpointSlice") => {
            const {
                &[
                    Rule::nil("ports[].name", ""),
                    Rule::nil("ports[].protocol", "TCP"),
                ]
            }
        }
        ("admissionregistration.k8s.io", kind) => admission(kind),
        ("scheduling.k8s.io", "PriorityClass") => {
            const { &[Rule::nil("preemptionPolicy", "PreemptLowerPriority")] }
        }
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => {
            const { &[Rule::zero_number("spec.matchingPrecedence", 1000)] }
        }
        ("resource.k8s.io", "ResourceClaim") => {
            const {
                &[
                    Rule::zero("spec.devices.requests[].exactly?.allocationMode", "ExactCount"),
                    Rule::zero(
                        "spec.devices.requests[].firstAvailable[].allocationMode",
                        "ExactCount",
                    ),
                ]
            }
        }
        ("policy", "PodDisruptionBudget") => const { &[Rule::object("status")] },
        ("authentication.k8s.io", "TokenRequest") => {
            const { &[Rule::nil_number("spec.expirationSeconds", 3600)] }
        }
        ("apiregistration.k8s.io", "APIService") => const { &[Rule::nil_number("spec.service?.port", 443)] },
        _ => &[],
    }
}

fn admission(kind: &str) -> &'static [Rule] {
    const WEBHOOK: [Rule; 7] = [
        Rule::nil("webhooks[].failurePolicy", "Fail"),
        Rule::nil("webhooks[].matchPolicy", "Equivalent"),
        Rule::object("webhooks[].namespaceSelector"),
        Rule::object("webhooks[].objectSelector"),
        Rule::nil_number("webhooks[].timeoutSeconds", 10),
        Rule::nil("webhooks[].rules[].scope", "*"),
        Rule::nil_number("webhooks[].clientConfig.service?.port", 443),
    ];
    match kind {
        "ValidatingWebhookConfiguration" => &WEBHOOK,
        "MutatingWebhookConfiguration" => {
            const {
                let [a, b, c, d, e, f, g] = WEBHOOK;
                &[
                    a,
                    b,
                    c,
                    d,
                    e,
                    f,
                    g,
                    Rule::nil("webhooks[].reinvocationPolicy", "Never"),
                ]
            }
        }
        "ValidatingAdmissionPolicy" | "MutatingAdmissionPolicy" => {
            const {
                &[
                    Rule::nil("spec.failurePolicy", "Fail"),
                    Rule::nil("spec.matchConstraints?.matchPolicy", "Equivalent"),
                    Rule::object("spec.matchConstraints?.namespaceSelector"),
                    Rule::object("spec.matchConstraints?.objectSelector"),
                    Rule::nil("spec.matchConstraints?.resourceRules[].scope", "*"),
                    Rule::nil("spec.matchConstraints?.excludeResourceRules[].scope", "*"),
                ]
            }
        }
        "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding" => {
            const {
                &[
                    Rule::nil("spec.matchResources?.matchPolicy", "Equivalent"),
                    Rule::object("spec.matchResources?.namespaceSelector"),
                    Rule::object("spec.matchResources?.objectSelector"),
                    Rule::nil("spec.matchResources?.resourceRules[].scope", "*"),
                    Rule::nil("spec.matchResources?.excludeResourceRules[].scope", "*"),
                ]
            }
        }
        _ => &[],
    }
}

const PRIORITY_LEVEL: &[Rule] = &[
    Rule::nil_number("spec.exempt?.nominalConcurrencyShares", 0),
    Rule::nil_number("spec.exempt?.lendablePercent", 0),
    Rule::nil_number("spec.limited?.nominalConcurrencyShares", 30),
    Rule::nil_number("spec.limited?.lendablePercent", 0),
    Rule::zero_number("spec.limited?.limitResponse?.queuing?.handSize", 8),
    Rule::zero_number("spec.limited?.limitResponse?.queuing?.queues", 64),
    Rule::zero_number("spec.limited?.limitResponse?.queuing?.queueLengthLimit", 50),
];

/// Users and groups are of RBAC's own group, service accounts of the core group.
fn subjects(object: &mut Map<String, Value>) {
    for subject in object
        .get_mut("subjects")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        let Value::Object(subject) = subject else { continue };
        if matches!(text(subject, "kind"), "User" | "Group") {
            fill(subject, const { &[Rule::zero("apiGroup", RBAC)] });
        }
    }
}

/// A policy that does not say is about ingress, and about egress if it has egress rules.
fn policy_types(object: &mut Map<String, Value>) {
    let Some(spec) = child(object, "spec") else { return };
    let empty = |list: Option<&Value>| list.and_then(Value::as_array).is_none_or(Vec::is_empty);
    if empty(spec.get("policyTypes")) {
        let types = if empty(spec.get("egress")) {
            json!(["Ingress"])
        } else {
            json!(["Ingress", "Egress"])
        };
        spec.insert("policyTypes".to_owned(), types);
    }
}

fn lifecycle_modes(object: &mut Map<String, Value>) {
    let Some(spec) = child(object, "spec") else { return };
    if spec
        .get("volumeLifecycleModes")
        .and_then(Value::as_array)
        .is_none_or(Vec::is_empty)
    {
        spec.insert("volumeLifecycleModes".to_owned(), json!(["Persistent"]));
    }
}

fn custom_resource(object: &mut Map<String, Value>) {
    let Some(spec) = child(object, "spec") else { return };
    if let Some(names) = child(spec, "names") {
        let kind = text(names, "kind").to_owned();
        for (key, name) in [
            ("singular", kind.to_lowercase()),
            ("listKind", format!("{kind}List")),
        ] {
            if !kind.is_empty() && text(names, key).is_empty() {
                names.insert(key.to_owned(), json!(name));
            }
        }
    }
    fill(
        spec,
        const {
            &[
                Rule::nil("conversion.strategy", "None"),
                Rule::nil_number("conversion.webhook?.clientConfig?.service?.port", 443),
            ]
        },
    );
}
