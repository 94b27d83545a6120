//! Sizes: how many pods a Deployment has, may have on top, and may miss.

use kobune_client::k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kobune_client::k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Pods the Deployment wants.
pub fn replicas(deployment: &Deployment) -> i32 {
    deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1)
}

/// Pods a ReplicaSet wants.
pub fn wanted(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// Pods of a ReplicaSet that are available.
pub fn available(set: &ReplicaSet) -> i32 {
    set.status
        .as_ref()
        .and_then(|status| status.available_replicas)
        .unwrap_or_default()
}

/// Pods of a ReplicaSet that exist.
pub fn actual(set: &ReplicaSet) -> i32 {
    set.status
        .as_ref()
        .map(|status| status.replicas)
        .unwrap_or_default()
}

/// Whether the strategy is RollingUpdate (the default).
pub fn is_rolling(deployment: &Deployment) -> bool {
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    strategy.and_then(|strategy| strategy.type_.as_deref()) != Some("Recreate")
}

/// Pods allowed above the size during a rollout.
pub fn max_surge(deployment: &Deployment) -> i32 {
    if is_rolling(deployment) {
        fenceposts(deployment).0
    } else {
        0
    }
}

/// Pods that may be missing during a rollout, never more than there are.
pub fn max_unavailable(deployment: &Deployment) -> i32 {
    if !is_rolling(deployment) || replicas(deployment) == 0 {
        return 0;
    }
    fenceposts(deployment).1.min(replicas(deployment))
}

/// Surge is rounded up and absence down; if both come to nothing one pod may be missing, or the rollout
/// could never take a step.
fn fenceposts(deployment: &Deployment) -> (i32, i32) {
    let rolling = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.strategy.as_ref())
        .and_then(|strategy| strategy.rolling_update.as_ref());
    let total = replicas(deployment);
    let surge = scaled(
        rolling.and_then(|rolling| rolling.max_surge.as_ref()),
        total,
        true,
    );
    let unavailable = scaled(
        rolling.and_then(|rolling| rolling.max_unavailable.as_ref()),
        total,
        false,
    );
    if surge == 0 && unavailable == 0 {
        (0, 1)
    } else {
        (surge, unavailable)
    }
}

/// A number, or a percentage of `total`. Without a value: 25 %, as defaulting would have filled in.
pub fn scaled(value: Option<&IntOrString>, total: i32, up: bool) -> i32 {
    let percent = match value {
        Some(IntOrString::Int(number)) => return (*number).max(0),
        Some(IntOrString::String(text)) => text.trim_end_matches('%').parse::<i64>().unwrap_or_default(),
        None => 25,
    };
    let hundredths = percent.max(0) * i64::from(total);
    let whole = if up {
        (hundredths + 99) / 100
    } else {
        hundredths / 100
    };
    i32::try_from(whole).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surge_rounds_up_and_absence_down() {
        let quarter = IntOrString::String("25%".into());
        assert_eq!(scaled(Some(&quarter), 10, true), 3);
        assert_eq!(scaled(Some(&quarter), 10, false), 2);
        assert_eq!(scaled(Some(&IntOrString::Int(4)), 10, false), 4);
    }

    #[test]
    fn a_rollout_can_always_take_a_step() {
        let one: Deployment = serde_json::from_value(serde_json::json!({
            "metadata": {}, "spec": {"replicas": 1, "selector": {}, "template": {},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": "25%"}}}
        }))
        .unwrap();
        assert_eq!((max_surge(&one), max_unavailable(&one)), (0, 1));
    }
}
