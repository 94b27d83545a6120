//! Which old ReplicaSets the revision history no longer needs.

use kobune_client::k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};

use super::annotations::revision;
use super::size::{actual, wanted};

/// Beyond `revisionHistoryLimit` (10 without one) the oldest revisions go, but never a ReplicaSet that has
/// or wants pods, or whose controller has not yet seen its newest spec.
pub fn superfluous<'a>(deployment: &Deployment, old: &[&'a ReplicaSet]) -> Vec<&'a ReplicaSet> {
    let limit = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.revision_history_limit)
        .unwrap_or(10);
    let mut kept: Vec<&ReplicaSet> = old
        .iter()
        .copied()
        .filter(|set| set.metadata.deletion_timestamp.is_none())
        .collect();
    let surplus = kept
        .len()
        .saturating_sub(usize::try_from(limit).unwrap_or_default());
    kept.sort_by_key(|set| revision(&set.metadata));
    kept.truncate(surplus);
    kept.retain(|set| {
        let seen = set.status.as_ref().and_then(|status| status.observed_generation);
        actual(set) == 0 && wanted(set) == 0 && set.metadata.generation <= seen
    });
    kept
}
