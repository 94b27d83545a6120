//! The annotations by which a Deployment and its ReplicaSets remember revisions and sizes.

use std::collections::BTreeMap;

use kobune_client::k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kobune_client::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::size::max_surge;

/// Which rollout this is: 1, 2, ...
pub const REVISION: &str = "deployment.kubernetes.io/revision";
/// Revisions at which the same template was used before, comma separated.
pub const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// The Deployment's size when the ReplicaSet was last scaled.
pub const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
/// The size including surge at that time.
pub const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";

/// The longest revision history kept, in characters, as upstream.
const HISTORY_LIMIT: usize = 2000;

/// Annotations of the Deployment that its ReplicaSets do not inherit.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    "deprecated.deployment.rollback.to",
];

/// The revision of an object; 0 without one.
pub fn revision(meta: &ObjectMeta) -> i64 {
    number(meta, REVISION).unwrap_or_default()
}

/// An annotation that holds a number.
pub fn number(meta: &ObjectMeta, name: &str) -> Option<i64> {
    meta.annotations.as_ref()?.get(name)?.parse().ok()
}

/// The highest revision of these ReplicaSets.
pub fn max_revision<'a>(sets: impl Iterator<Item = &'a ReplicaSet>) -> i64 {
    sets.map(|set| revision(&set.metadata)).max().unwrap_or_default()
}

/// Brings the new ReplicaSet's annotations up to date; answers whether anything changed. A revision only
/// grows; the one it replaces goes to the history. Sizes are written when the set is made.
pub fn update_new_set(deployment: &Deployment, set: &mut ReplicaSet, revision: i64, exists: bool) -> bool {
    let before = set.metadata.annotations.clone();
    let mut annotations = before.clone().unwrap_or_default();
    copy(deployment, &mut annotations);
    let old = annotations.get(REVISION).cloned();
    if old.as_deref().and_then(|old| old.parse().ok()).unwrap_or(0i64) < revision {
        annotations.insert(REVISION.into(), revision.to_string());
        if let Some(old) = old {
            remember(&mut annotations, &old);
        }
    }
    if !exists {
        insert_sizes(deployment, &mut annotations);
    }
    set.metadata.annotations = Some(annotations).filter(|annotations| !annotations.is_empty());
    set.metadata.annotations != before
}

fn copy(deployment: &Deployment, annotations: &mut BTreeMap<String, String>) {
    for (name, value) in deployment.metadata.annotations.iter().flatten() {
        if !NOT_COPIED.contains(&name.as_str()) && annotations.get(name) != Some(value) {
            annotations.insert(name.clone(), value.clone());
        }
    }
}

fn remember(annotations: &mut BTreeMap<String, String>, old: &str) {
    let history = annotations
        .get(REVISION_HISTORY)
        .map(String::as_str)
        .unwrap_or_default();
    if history.split(',').any(|past| past == old) {
        return;
    }
    let mut history = if history.is_empty() {
        old.to_owned()
    } else {
        format!("{history},{old}")
    };
    while history.len() > HISTORY_LIMIT {
        let Some((_, rest)) = history.split_once(',') else {
            break;
        };
        history = rest.to_owned();
    }
    annotations.insert(REVISION_HISTORY.into(), history);
}

/// Writes the sizes; answers whether they differed.
pub fn update_sizes(deployment: &Deployment, set: &mut ReplicaSet) -> bool {
    let annotations = set.metadata.annotations.get_or_insert_default();
    let before = (
        annotations.get(DESIRED_REPLICAS).cloned(),
        annotations.get(MAX_REPLICAS).cloned(),
    );
    insert_sizes(deployment, annotations);
    before
        != (
            annotations.get(DESIRED_REPLICAS).cloned(),
            annotations.get(MAX_REPLICAS).cloned(),
        )
}

fn insert_sizes(deployment: &Deployment, annotations: &mut BTreeMap<String, String>) {
    let replicas = super::size::replicas(deployment);
    annotations.insert(DESIRED_REPLICAS.into(), replicas.to_string());
    annotations.insert(
        MAX_REPLICAS.into(),
        (replicas + max_surge(deployment)).to_string(),
    );
}
