//! What the emptying of a namespace found, and what its conditions say of it. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use kobune_client::k8s_openapi::api::core::v1::{Namespace, NamespaceCondition};
use kobune_client::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The finalizer in a namespace's spec that waits for its content to go.
pub const FINALIZER: &str = "kubernetes";

/// The namespace is being deleted and waits for us.
pub fn is_ours_to_empty(namespace: &Namespace) -> bool {
    let finalizers = namespace
        .spec
        .as_ref()
        .and_then(|spec| spec.finalizers.as_deref())
        .unwrap_or_default();
    namespace.metadata.deletion_timestamp.is_some()
        && finalizers.iter().any(|finalizer| finalizer == FINALIZER)
}

/// Objects of one kind that are still there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remains {
    /// `deployments.apps`, `pods.`
    pub resource: String,
    /// How many.
    pub count: usize,
    /// Finalizers that hold them, and how many objects each holds.
    pub finalizers: BTreeMap<String, usize>,
}

/// What one round of emptying found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Finding {
    /// The API server could not say what kinds there are.
    pub discovery_failure: Option<String>,
    /// Kinds that could not be emptied.
    pub failures: Vec<String>,
    /// What stays, sorted by resource.
    pub remains: Vec<Remains>,
    /// How long the slowest pod may take.
    pub longest_grace: Duration,
}

impl Finding {
    /// Nothing is known without discovery.
    pub fn of_failed_discovery(error: &dyn std::error::Error) -> Self {
        Finding {
            discovery_failure: Some(error.to_string()),
            ..Default::default()
        }
    }

    /// When to look again; `None` when nothing is left. Pods announce their end themselves; what
    /// finalizers hold is looked at in between, less often for slow pods.
    pub fn look_again(&self) -> Option<Duration> {
        if self.discovery_failure.is_none() && self.failures.is_empty() && self.remains.is_empty() {
            return None;
        }
        let held = self.remains.iter().any(|remains| !remains.finalizers.is_empty());
        let patience = if held {
            Duration::from_secs(2)
        } else {
            Duration::from_secs(1)
        };
        Some((self.longest_grace / 2 + Duration::from_secs(1)).clamp(patience, Duration::from_secs(15)))
    }
}

/// The namespace's conditions after a round, in upstream's words.
pub fn conditions(old: &[NamespaceCondition], finding: &Finding, now: Timestamp) -> Vec<NamespaceCondition> {
    let discovery = finding.discovery_failure.as_ref().map(|failure| {
        (
            "DiscoveryFailed",
            format!("Discovery failed for some groups: {failure}"),
        )
    });
    let mut failures = finding.failures.clone();
    failures.sort();
    let failed = (!failures.is_empty()).then(|| {
        let list = failures.join(", ");
        (
            "ContentDeletionFailed",
            format!(
                "Failed to delete all resource types, {} remaining: {list}",
                failures.len()
            ),
        )
    });
    let rows = [
        (
            "NamespaceDeletionDiscoveryFailure",
            discovery,
            "ResourcesDiscovered",
            "All resources successfully discovered",
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            None,
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        (
            "NamespaceDeletionContentFailure",
            failed,
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        (
            "NamespaceContentRemaining",
            remaining(finding),
            "ContentRemoved",
            "All content successfully removed",
        ),
        (
            "NamespaceFinalizersRemaining",
            held(finding),
            "ContentHasNoFinalizers",
            "All content-preserving finalizers finished",
        ),
    ];
    let mut conditions = old.to_vec();
    for (name, problem, fine, all_well) in rows {
        let (status, reason, message) = match problem {
            Some((reason, message)) => ("True", reason, message),
            None => ("False", fine, all_well.to_owned()),
        };
        set(&mut conditions, name, status, reason, message, now);
    }
    conditions
}

fn remaining(finding: &Finding) -> Option<(&'static str, String)> {
    let list: Vec<String> = finding
        .remains
        .iter()
        .map(|remains| format!("{} has {} resource instances", remains.resource, remains.count))
        .collect();
    (!list.is_empty()).then(|| {
        (
            "SomeResourcesRemain",
            format!("Some resources are remaining: {}", list.join(", ")),
        )
    })
}

fn held(finding: &Finding) -> Option<(&'static str, String)> {
    let mut finalizers: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, count) in finding.remains.iter().flat_map(|remains| &remains.finalizers) {
        *finalizers.entry(name).or_default() += count;
    }
    let list: Vec<String> = finalizers
        .iter()
        .map(|(name, count)| format!("{name} in {count} resource instances"))
        .collect();
    (!list.is_empty()).then(|| {
        (
            "SomeFinalizersRemain",
            format!(
                "Some content in the namespace has finalizers remaining: {}",
                list.join(", ")
            ),
        )
    })
}

fn set(
    all: &mut Vec<NamespaceCondition>,
    name: &str,
    status: &str,
    reason: &str,
    message: String,
    now: Timestamp,
) {
    let new = |since| NamespaceCondition {
        type_: name.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message.clone()),
        last_transition_time: since,
    };
    match all.iter_mut().find(|condition| condition.type_ == name) {
        Some(old) => {
            let same = old.status == status;
            let since = if same {
                old.last_transition_time.clone()
            } else {
                Some(Time(now))
            };
            *old = new(since);
        }
        None => all.push(new(Some(Time(now)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pods_left() -> Finding {
        Finding {
            remains: vec![Remains {
                resource: "pods.".into(),
                count: 2,
                finalizers: [("x.io/keep".to_owned(), 1)].into(),
            }],
            ..Default::default()
        }
    }

    #[test]
    fn an_empty_namespace_is_finalized_at_once() {
        assert_eq!(Finding::default().look_again(), None);
        assert!(
            conditions(&[], &Finding::default(), Timestamp::UNIX_EPOCH)
                .iter()
                .all(|c| c.status == "False")
        );
    }

    #[test]
    fn what_remains_is_told_in_upstreams_words() {
        let all = conditions(&[], &pods_left(), Timestamp::UNIX_EPOCH);
        let message = |name: &str| {
            all.iter()
                .find(|c| c.type_ == name)
                .and_then(|c| c.message.clone())
                .unwrap()
        };
        assert_eq!(
            message("NamespaceContentRemaining"),
            "Some resources are remaining: pods. has 2 resource instances"
        );
        assert_eq!(
            message("NamespaceFinalizersRemaining"),
            "Some content in the namespace has finalizers remaining: x.io/keep in 1 resource instances"
        );
        assert!(pods_left().look_again().is_some());
    }

    #[test]
    fn a_condition_keeps_its_time_while_its_status_stays() {
        let first = conditions(&[], &pods_left(), Timestamp::UNIX_EPOCH);
        let later = Timestamp::from_second(60).unwrap();
        let second = conditions(&first, &pods_left(), later);
        assert_eq!(first, second);
        let gone = conditions(&second, &Finding::default(), later);
        let remaining = gone
            .iter()
            .find(|c| c.type_ == "NamespaceContentRemaining")
            .unwrap();
        assert_eq!(remaining.last_transition_time, Some(Time(later)));
    }

    #[test]
    fn only_a_leaving_namespace_is_emptied() {
        let mut namespace: Namespace = serde_json::from_value(
            serde_json::json!({"metadata": {"name": "a"}, "spec": {"finalizers": ["kubernetes"]}}),
        )
        .unwrap();
        assert!(!is_ours_to_empty(&namespace));
        namespace.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        assert!(is_ours_to_empty(&namespace));
    }
}
