//! Proportional scaling: a Deployment that is resized in the middle of a rollout spreads the change over
//! its ReplicaSets by their shares, so that the risk of the rollout stays what it was.

use kobune_client::k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};

use super::annotations::{self, MAX_REPLICAS};
use super::size::{max_surge, replicas, wanted};

/// The new size of each active ReplicaSet, in the order given.
pub fn sizes(deployment: &Deployment, active: &[&ReplicaSet]) -> Vec<i32> {
    let total: i32 = active.iter().map(|set| wanted(set)).sum();
    let allowed = match replicas(deployment) {
        0 => 0,
        size => size + max_surge(deployment),
    };
    let to_add = allowed - total;
    let mut order: Vec<usize> = (0..active.len()).collect();
    // Bigger first; among equals a growing Deployment favours the newer, a shrinking one the older.
    order.sort_by(|a, b| {
        let (a, b) = (active[*a], active[*b]);
        let age = a.metadata.creation_timestamp.cmp(&b.metadata.creation_timestamp);
        wanted(b)
            .cmp(&wanted(a))
            .then(if to_add > 0 { age.reverse() } else { age })
    });
    let mut sizes: Vec<i32> = active.iter().map(|set| wanted(set)).collect();
    let mut added = 0;
    for index in &order {
        let share = proportion(deployment, active[*index], to_add, added);
        sizes[*index] += share;
        added += share;
    }
    // What rounding left over goes to the biggest.
    if let Some(biggest) = order.first().filter(|_| to_add != 0) {
        sizes[*biggest] = (sizes[*biggest] + to_add - added).max(0);
    }
    sizes
}

fn proportion(deployment: &Deployment, set: &ReplicaSet, to_add: i32, added: i32) -> i32 {
    if wanted(set) == 0 || to_add == 0 || to_add == added {
        return 0;
    }
    let (share, left) = (fraction(deployment, set), to_add - added);
    if to_add > 0 {
        share.min(left)
    } else {
        share.max(left)
    }
}

/// How much the set would change if it kept its share of the whole.
fn fraction(deployment: &Deployment, set: &ReplicaSet) -> i32 {
    if replicas(deployment) == 0 {
        return -wanted(set);
    }
    let before = annotations::number(&set.metadata, MAX_REPLICAS)
        .filter(|before| *before > 0)
        .unwrap_or_else(|| {
            i64::from(
                deployment
                    .status
                    .as_ref()
                    .and_then(|status| status.replicas)
                    .unwrap_or_default(),
            )
            .max(1)
        });
    let after = i64::from(replicas(deployment) + max_surge(deployment));
    let size = (2 * i64::from(wanted(set)) * after + before) / (2 * before);
    i32::try_from(size).unwrap_or(i32::MAX) - wanted(set)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment(replicas: i32, surge: i32) -> Deployment {
        serde_json::from_value(
            json!({"metadata": {}, "spec": {"replicas": replicas, "selector": {}, "template": {},
            "strategy": {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": 0}}}}),
        )
        .unwrap()
    }

    fn set(name: &str, replicas: i32, max: i32, second: i64) -> ReplicaSet {
        let created = jiff::Timestamp::from_second(second).unwrap().to_string();
        serde_json::from_value(json!({"metadata": {"name": name, "creationTimestamp": created,
            "annotations": {MAX_REPLICAS: max.to_string()}}, "spec": {"replicas": replicas, "selector": {}}}))
        .unwrap()
    }

    #[test]
    fn growth_is_spread_by_share() {
        // 10 pods, surge 3: 8 old and 5 new, resized to 15.
        let (old, new) = (set("old", 8, 13, 1), set("new", 5, 13, 2));
        assert_eq!(sizes(&deployment(15, 3), &[&old, &new]), [11, 7]);
    }

    #[test]
    fn the_sum_is_always_what_is_allowed() {
        for (old, new, to) in [(3, 2, 17), (9, 1, 4), (7, 7, 1), (1, 1, 100), (20, 3, 2)] {
            let (old, new) = (set("old", old, old + new, 1), set("new", new, old + new, 2));
            let sum: i32 = sizes(&deployment(to, 2), &[&old, &new]).iter().sum();
            assert_eq!(sum, to + 2);
        }
    }

    #[test]
    fn zero_takes_everything_down() {
        let (old, new) = (set("old", 3, 5, 1), set("new", 2, 5, 2));
        assert_eq!(sizes(&deployment(0, 2), &[&old, &new]), [0, 0]);
    }
}
