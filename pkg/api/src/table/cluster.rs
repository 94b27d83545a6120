//! Kinds of the other groups: RBAC, certificates, admission, flow control and the rest.

use super::row::Row;
use super::{AGE, Column, NAME, storage};
use serde_json::Value;

/// The columns of a kind of one of these groups, if it has its own.
pub(super) fn columns(group: &str, kind: &str) -> Option<&'static [Column]> {
    Some(match (group, kind) {
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => BINDING,
        ("storage.k8s.io", kind) => return storage::columns(kind),
        ("certificates.k8s.io", "CertificateSigningRequest") => SIGNING_REQUEST,
        ("certificates.k8s.io", "ClusterTrustBundle") => const { &[NAME, SIGNER] },
        ("coordination.k8s.io", "Lease") => {
            const {
                &[
                    NAME,
                    Column::text("Holder", "Who holds it.", "spec.holderIdentity"),
                    AGE,
                ]
            }
        }
        ("scheduling.k8s.io", "PriorityClass") => PRIORITY_CLASS,
        ("node.k8s.io", "RuntimeClass") => {
            const {
                &[
                    NAME,
                    Column::text("Handler", "What runs the containers.", "handler"),
                    AGE,
                ]
            }
        }
        ("admissionregistration.k8s.io", kind) => return admission(kind),
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => FLOW_SCHEMA,
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration") => PRIORITY_LEVEL,
        ("resource.k8s.io", "DeviceClass" | "ResourceClaimTemplate") => const { &[NAME, AGE] },
        ("resource.k8s.io", "ResourceClaim") => {
            const {
                &[
                    NAME,
                    Column::of("State", "How far the claim is.", claim_state),
                    AGE,
                ]
            }
        }
        ("resource.k8s.io", "ResourceSlice") => {
            const {
                &[
                    NAME,
                    Column::text("Node", "Node of the devices.", "spec.nodeName"),
                    Column::text("Driver", "Driver of the devices.", "spec.driver"),
                    Column::text("Pool", "Pool of the devices.", "spec.pool.name"),
                    AGE,
                ]
            }
        }
        ("apiregistration.k8s.io", "APIService") => API_SERVICE,
        _ => return None,
    })
}

const BINDING: &[Column] = &[
    NAME,
    Column::of("Role", "The role that is given.", |row| {
        format!("{}/{}", row.text("roleRef.kind"), row.text("roleRef.name")).into()
    }),
    AGE,
    Column::of("Users", "Users it is given to.", |row| subjects(row, "User")).wide(),
    Column::of("Groups", "Groups it is given to.", |row| subjects(row, "Group")).wide(),
    Column::of("ServiceAccounts", "Service accounts it is given to.", |row| {
        subjects(row, "ServiceAccount")
    })
    .wide(),
];

fn subjects(row: &Row<'_>, kind: &str) -> Value {
    let names = row
        .list("subjects")
        .filter(|s| s.text("kind") == kind)
        .map(|s| match kind {
            "ServiceAccount" => format!("{}/{}", s.text("namespace"), s.text("name")),
            _ => s.text("name").to_owned(),
        });
    names.collect::<Vec<_>>().join(", ").into()
}

const SIGNER: Column = Column::text_or("SignerName", "Who signs.", "spec.signerName", "<none>");

const SIGNING_REQUEST: &[Column] = &[
    NAME,
    AGE,
    SIGNER,
    Column::text("Requestor", "Who asks.", "spec.username"),
    Column::of("RequestedDuration", "For how long.", |row| {
        match row.get("spec.expirationSeconds") {
            None => "<none>".into(),
            Some(_) => super::human(jiff::SignedDuration::from_secs(
                row.number("spec.expirationSeconds"),
            ))
            .into(),
        }
    }),
    Column::of("Condition", "How far the request is.", |row| {
        let has = |kind: &str| row.condition("status.conditions", kind).is_some();
        let mut text = match (has("Denied"), has("Approved")) {
            (true, _) => "Denied",
            (_, true) => "Approved",
            _ => "Pending",
        }
        .to_owned();
        if has("Failed") {
            text.push_str(",Failed");
        }
        if !row.text("status.certificate").is_empty() {
            text.push_str(",Issued");
        }
        text.into()
    }),
];

const PRIORITY_CLASS: &[Column] = &[
    NAME,
    Column::number("Value", "The priority.", "value"),
    Column::flag(
        "Global-Default",
        "Whether pods without a class get it.",
        "globalDefault",
        false,
    ),
    AGE,
    Column::text(
        "PreemptionPolicy",
        "Whether its pods displace others.",
        "preemptionPolicy",
    ),
];

fn admission(kind: &str) -> Option<&'static [Column]> {
    const PARAM_KIND: Column = Column::of("ParamKind", "Kind of the parameters.", |row| {
        match row.get("spec.paramKind") {
            None => "<unset>".into(),
            Some(_) => format!(
                "{}/{}",
                row.text("spec.paramKind.apiVersion"),
                row.text("spec.paramKind.kind")
            )
            .into(),
        }
    });
    Some(match kind {
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => {
            const {
                &[
                    NAME,
                    Column::size("Webhooks", "How many webhooks.", "webhooks"),
                    AGE,
                ]
            }
        }
        "ValidatingAdmissionPolicy" => {
            const {
                &[
                    NAME,
                    Column::size("Validations", "How many rules.", "spec.validations"),
                    PARAM_KIND,
                    AGE,
                ]
            }
        }
        "MutatingAdmissionPolicy" => {
            const {
                &[
                    NAME,
                    Column::size("Mutations", "How many changes.", "spec.mutations"),
                    PARAM_KIND,
                    AGE,
                ]
            }
        }
        "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding" => {
            const {
                &[
                    NAME,
                    Column::text("PolicyName", "The policy.", "spec.policyName"),
                    Column::of("ParamRef", "Its parameters.", param_ref),
                    AGE,
                ]
            }
        }
        _ => return None,
    })
}

fn param_ref(row: &Row<'_>) -> Value {
    match (row.text("spec.paramRef.name"), row.get("spec.paramRef.selector")) {
        ("", None) => "<unset>".into(),
        ("", Some(_)) => row.selector("spec.paramRef.selector").into(),
        (name, _) => format!("{}/{name}", row.text_or("spec.paramRef.namespace", "*")).into(),
    }
}

const FLOW_SCHEMA: &[Column] = &[
    NAME,
    Column::text(
        "PriorityLevel",
        "Its priority level.",
        "spec.priorityLevelConfiguration.name",
    ),
    Column::number(
        "MatchingPrecedence",
        "Lower is looked at first.",
        "spec.matchingPrecedence",
    )
    .typed("string"),
    Column::text_or(
        "DistinguisherMethod",
        "What tells flows apart.",
        "spec.distinguisherMethod.type",
        "<none>",
    ),
    AGE,
    Column::of("MissingPL", "Whether the priority level is missing.", |row| {
        row.condition("status.conditions", "Dangling")
            .map_or("?", |c| c.text("status"))
            .into()
    }),
];

const PRIORITY_LEVEL: &[Column] = &[
    NAME,
    Column::text("Type", "Limited or Exempt.", "spec.type"),
    Column::of("NominalConcurrencyShares", "Its share of the seats.", |row| {
        value_or_none(row, "spec.limited.nominalConcurrencyShares")
    }),
    Column::of("Queues", "How many queues.", |row| {
        value_or_none(row, "spec.limited.limitResponse.queuing.queues")
    }),
    Column::of("HandSize", "Queues a flow may use.", |row| {
        value_or_none(row, "spec.limited.limitResponse.queuing.handSize")
    }),
    Column::of("QueueLengthLimit", "Requests a queue holds.", |row| {
        value_or_none(row, "spec.limited.limitResponse.queuing.queueLengthLimit")
    }),
    AGE,
];

fn value_or_none(row: &Row<'_>, path: &str) -> Value {
    row.get(path).cloned().unwrap_or_else(|| "<none>".into())
}

fn claim_state(row: &Row<'_>) -> Value {
    let mut states = Vec::new();
    if row.is_deleting() {
        states.push("deleted");
    }
    if row.get("status.allocation").is_some() {
        states.push("allocated");
        if row.size("status.reservedFor") > 0 {
            states.push("reserved");
        }
    } else if states.is_empty() {
        states.push("pending");
    }
    states.join(",").into()
}

const API_SERVICE: &[Column] = &[
    NAME,
    Column::of("Service", "Who serves it.", |row| match row.get("spec.service") {
        None => "Local".into(),
        Some(_) => format!(
            "{}/{}",
            row.text("spec.service.namespace"),
            row.text("spec.service.name")
        )
        .into(),
    }),
    Column::of("Available", "Whether it is served.", |row| {
        let Some(condition) = row.condition("status.conditions", "Available") else {
            return "Unknown".into();
        };
        match (condition.text("status"), condition.text("reason")) {
            ("True", _) => "True".into(),
            (status, "") => status.into(),
            (status, reason) => format!("{status} ({reason})").into(),
        }
    }),
    AGE,
];
