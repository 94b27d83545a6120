//! Which fields of a kind a field selector may name, and how their values are read, straight from
//! the object's bytes.

mod probe;

use crate::kinds::Kind;
use crate::selectors::{FieldSelector, SelectorError};
use probe::Probe;
use serde_json::Value;
use std::borrow::Cow;

/// One field that can be selected by.
#[derive(Debug)]
struct Label {
    /// How selectors name it.
    name: &'static str,
    /// Where it is in the object; of several places the first that is not empty counts.
    paths: &'static [&'static [&'static str]],
    /// What an absent value counts as.
    absent: &'static str,
}

const fn text(name: &'static str, paths: &'static [&'static [&'static str]]) -> Label {
    Label {
        name,
        paths,
        absent: "",
    }
}

const fn flag(name: &'static str, paths: &'static [&'static [&'static str]]) -> Label {
    Label {
        name,
        paths,
        absent: "false",
    }
}

const fn count(name: &'static str, paths: &'static [&'static [&'static str]]) -> Label {
    Label {
        name,
        paths,
        absent: "0",
    }
}

const NAME: Label = text("metadata.name", &[&["metadata", "name"]]);
const NAMESPACE: Label = text("metadata.namespace", &[&["metadata", "namespace"]]);

/// What every kind without a row of its own supports.
const PLAIN: &[Label] = &[NAME, NAMESPACE];

const POD: &[Label] = &[
    NAME,
    NAMESPACE,
    text("spec.nodeName", &[&["spec", "nodeName"]]),
    text("spec.restartPolicy", &[&["spec", "restartPolicy"]]),
    text("spec.schedulerName", &[&["spec", "schedulerName"]]),
    text("spec.serviceAccountName", &[&["spec", "serviceAccountName"]]),
    flag("spec.hostNetwork", &[&["spec", "hostNetwork"]]),
    text("status.phase", &[&["status", "phase"]]),
    text("status.podIP", &[&["status", "podIP"]]),
    // Upstream accepts this one and never has a value for it.
    text("status.podIPs", &[]),
    text("status.nominatedNodeName", &[&["status", "nominatedNodeName"]]),
];

/// Events are one resource in two groups; their bytes may have either group's field names.
macro_rules! event_labels {
    ($object:literal, $reporting:literal) => {
        [
            text(
                concat!($object, ".kind"),
                &[&["involvedObject", "kind"], &["regarding", "kind"]],
            ),
            text(
                concat!($object, ".namespace"),
                &[&["involvedObject", "namespace"], &["regarding", "namespace"]],
            ),
            text(
                concat!($object, ".name"),
                &[&["involvedObject", "name"], &["regarding", "name"]],
            ),
            text(
                concat!($object, ".uid"),
                &[&["involvedObject", "uid"], &["regarding", "uid"]],
            ),
            text(
                concat!($object, ".apiVersion"),
                &[&["involvedObject", "apiVersion"], &["regarding", "apiVersion"]],
            ),
            text(
                concat!($object, ".resourceVersion"),
                &[
                    &["involvedObject", "resourceVersion"],
                    &["regarding", "resourceVersion"],
                ],
            ),
            text(
                concat!($object, ".fieldPath"),
                &[&["involvedObject", "fieldPath"], &["regarding", "fieldPath"]],
            ),
            text("reason", &[&["reason"]]),
            text($reporting, &[&["reportingComponent"], &["reportingController"]]),
            text("type", &[&["type"]]),
            NAMESPACE,
            NAME,
            text(
                "source",
                &[
                    &["source", "component"],
                    &["deprecatedSource", "component"],
                    &["reportingComponent"],
                    &["reportingController"],
                ],
            ),
        ]
    };
}

const CORE_EVENT: &[Label] = &event_labels!("involvedObject", "reportingComponent");
const EVENTS_EVENT: &[Label] = &event_labels!("regarding", "reportingController");

fn labels_of(group: &str, kind: &str) -> &'static [Label] {
    match (group, kind) {
        ("", "Pod") => POD,
        ("", "Node") => const { &[NAME, flag("spec.unschedulable", &[&["spec", "unschedulable"]])] },
        ("", "Namespace") => const { &[text("status.phase", &[&["status", "phase"]]), NAME] },
        ("", "Secret") => const { &[text("type", &[&["type"]]), NAMESPACE, NAME] },
        ("", "Service") => {
            const {
                &[
                    NAMESPACE,
                    NAME,
                    text("spec.clusterIP", &[&["spec", "clusterIP"]]),
                    text("spec.type", &[&["spec", "type"]]),
                ]
            }
        }
        ("", "ReplicationController") => {
            const {
                &[
                    NAME,
                    NAMESPACE,
                    count("status.replicas", &[&["status", "replicas"]]),
                ]
            }
        }
        ("", "Event") => CORE_EVENT,
        // The group's own names have no `source`.
        ("events.k8s.io", "Event") => EVENTS_EVENT.split_at(12).0,
        ("batch", "Job") => {
            const {
                &[
                    NAME,
                    NAMESPACE,
                    count("status.successful", &[&["status", "succeeded"]]),
                ]
            }
        }
        ("certificates.k8s.io", "CertificateSigningRequest") => {
            const { &[NAME, text("spec.signerName", &[&["spec", "signerName"]])] }
        }
        ("resource.k8s.io", "ResourceSlice") => {
            const {
                &[
                    NAME,
                    text("spec.nodeName", &[&["spec", "nodeName"]]),
                    text("spec.driver", &[&["spec", "driver"]]),
                ]
            }
        }
        _ => PLAIN,
    }
}

fn unsupported(kind: &Kind, label: &str) -> SelectorError {
    SelectorError(match (&*kind.group, &*kind.kind) {
        ("batch", "Job") => format!(
            "field label {} not supported for Job",
            crate::fields::quote(label)
        ),
        ("resource.k8s.io", "ResourceSlice") => {
            format!("field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: {label}")
        }
        (group, name) if !std::ptr::eq(labels_of(group, name), PLAIN) => {
            format!("field label not supported: {label}")
        }
        _ => format!(
            "{} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
            crate::fields::quote(label)
        ),
    })
}

/// A field selector whose fields the kind supports.
#[derive(Clone, Debug, Default)]
pub struct FieldMatcher {
    terms: Vec<Term>,
    /// The value `metadata.name` must have, if the selector says so: the list is one look-up.
    pub name: Option<String>,
    /// The value `metadata.namespace` must have, if the selector says so.
    pub namespace: Option<String>,
}

#[derive(Clone, Debug)]
struct Term {
    paths: Vec<Cow<'static, [Cow<'static, str>]>>,
    absent: &'static str,
    value: String,
    equals: bool,
}

impl FieldMatcher {
    /// Checks that `kind` supports every field of `selector`; the error has upstream's text.
    pub fn new(kind: &Kind, selector: &FieldSelector) -> Result<Self, SelectorError> {
        Self::with_selectable(kind, selector, &[])
    }

    /// The same for a custom resource with selectable fields: paths such as `.spec.color`.
    pub fn with_selectable(
        kind: &Kind,
        selector: &FieldSelector,
        selectable: &[&str],
    ) -> Result<Self, SelectorError> {
        let labels = labels_of(&kind.group, &kind.kind);
        let mut terms = Vec::with_capacity(selector.terms().len());
        for term in selector.terms() {
            // The name that clients of old sent.
            let old = &*term.field == "spec.host" && std::ptr::eq(labels, POD);
            let field = if old { "spec.nodeName" } else { term.field.as_str() };
            let (paths, absent) = if let Some(label) = labels.iter().find(|l| l.name == field) {
                let path = |p: &&[&'static str]| p.iter().map(|s| Cow::Borrowed(*s)).collect();
                (label.paths.iter().map(path).collect(), label.absent)
            } else if selectable.iter().any(|s| s.trim_start_matches('.') == field) {
                (
                    vec![field.split('.').map(|s| Cow::Owned(s.to_owned())).collect()],
                    "",
                )
            } else {
                return Err(unsupported(kind, &term.field));
            };
            terms.push(Term {
                paths,
                absent,
                value: term.value.clone(),
                equals: term.equals,
            });
        }
        let exact = |field| selector.exact(field).map(str::to_owned);
        Ok(FieldMatcher {
            terms,
            name: exact("metadata.name"),
            namespace: exact("metadata.namespace"),
        })
    }

    /// Whether everything matches.
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether the object encoded in `bytes` matches.
    pub fn matches_bytes(&self, bytes: &[u8]) -> bool {
        self.terms
            .iter()
            .all(|t| t.holds(|path| probe::in_bytes(bytes, path)))
    }

    /// Whether the object matches.
    pub fn matches(&self, object: &Value) -> bool {
        self.terms
            .iter()
            .all(|t| t.holds(|path| probe::in_tree(object, path)))
    }
}

impl Term {
    fn holds<'a>(&self, read: impl Fn(&[Cow<'static, str>]) -> Probe<'a>) -> bool {
        let found = self
            .paths
            .iter()
            .map(|path| read(path))
            .find(|value| !value.is_empty());
        let value = found.as_deref().unwrap_or(self.absent);
        (value == self.value) == self.equals
    }
}

#[cfg(test)]
mod tests;
