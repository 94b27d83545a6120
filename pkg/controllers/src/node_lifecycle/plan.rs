//! What a node's heartbeats and conditions mean for its conditions, its taints and its pods. Pure.

use std::time::Duration;

use jiff::Timestamp;
use kobune_client::k8s_openapi::api::core::v1::{Node, NodeCondition, Pod, Taint, Toleration};
use kobune_client::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kobune_client::tolerations::covers;

/// How long a node may be silent before its state is unknown (`--node-monitor-grace-period`).
pub const GRACE: Duration = Duration::from_secs(50);

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
const NOT_COUNTED: &str = "node.kubernetes.io/exclude-disruption";

/// Conditions of a silent node that become Unknown.
const REPORTED: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// Conditions that keep new pods away while they hold, and the taint that says so.
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];

/// The condition of type `name`.
pub fn condition<'a>(node: &'a Node, name: &str) -> Option<&'a NodeCondition> {
    node.status
        .as_ref()?
        .conditions
        .as_deref()?
        .iter()
        .find(|condition| condition.type_ == name)
}

/// The node's conditions when nothing was heard of it for too long; `None` when they say so already.
pub fn silent(node: &Node, now: Timestamp) -> Option<Vec<NodeCondition>> {
    let mut conditions = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.clone())
        .unwrap_or_default();
    let mut changed = false;
    for name in REPORTED {
        let at = conditions.iter().position(|condition| condition.type_ == name);
        let (reason, message) = match at {
            Some(_) => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
            None => ("NodeStatusNeverUpdated", "Kubelet never posted node status."),
        };
        if at.is_some_and(|at| conditions[at].status == "Unknown") {
            continue;
        }
        changed = true;
        let unknown = NodeCondition {
            type_: name.into(),
            status: "Unknown".into(),
            reason: Some(reason.into()),
            message: Some(message.into()),
            last_heartbeat_time: match at {
                Some(at) => conditions[at].last_heartbeat_time.clone(),
                None => node.metadata.creation_timestamp.clone(),
            },
            last_transition_time: Some(Time(now)),
        };
        match at {
            Some(at) => conditions[at] = unknown,
            None => conditions.push(unknown),
        }
    }
    changed.then_some(conditions)
}

/// Whether a node counts when it is asked whether any is well (upstream's label for those that do not).
fn counts(node: &Node) -> bool {
    let labels = node.metadata.labels.as_ref();
    !labels.is_some_and(|labels| labels.contains_key(NOT_COUNTED))
}

/// Whether pods may be sent away from nodes that are not well: not while none is, for then the fault is
/// more likely here, and there is nowhere to go. A cluster's only node never loses its pods.
pub fn may_evict<'n>(nodes: impl IntoIterator<Item = &'n Node>) -> bool {
    let mut counted = nodes.into_iter().filter(|node| counts(node)).peekable();
    counted.peek().is_none() || counted.any(is_ready)
}

/// Whether the node says that it is well.
pub fn is_ready(node: &Node) -> bool {
    condition(node, "Ready").is_some_and(|ready| ready.status == "True")
}

/// The taints the node should have; `None` when it has them. Taints that are not ours stay. Ready decides
/// over not-ready and unreachable, the pressures and the cordon over theirs; `evict` over what sends pods
/// away ([`may_evict`]).
pub fn taints(node: &Node, evict: bool, now: Timestamp) -> Option<Vec<Taint>> {
    let present = node
        .spec
        .as_ref()
        .and_then(|spec| spec.taints.clone())
        .unwrap_or_default();
    let mut wanted = wanted(node);
    wanted.retain(|(_, effect)| evict || *effect != "NoExecute");
    let is_ours = |taint: &Taint| {
        let keyed = |key: &str| taint.key == key;
        ((keyed(NOT_READY) || keyed(UNREACHABLE)) && taint.effect != "PreferNoSchedule")
            || (taint.effect == "NoSchedule"
                && (keyed(UNSCHEDULABLE) || PRESSURES.iter().any(|(_, key)| keyed(key))))
    };
    let is_wanted = |taint: &Taint| {
        wanted
            .iter()
            .any(|(key, effect)| taint.key == *key && taint.effect == *effect)
    };
    let mut taints: Vec<Taint> = present
        .iter()
        .filter(|taint| !is_ours(taint) || is_wanted(taint))
        .cloned()
        .collect();
    for (key, effect) in &wanted {
        if !taints
            .iter()
            .any(|taint| taint.key == *key && taint.effect == *effect)
        {
            let time_added = (*effect == "NoExecute").then_some(Time(now));
            taints.push(Taint {
                key: (*key).into(),
                effect: (*effect).into(),
                value: None,
                time_added,
            });
        }
    }
    (taints != present).then_some(taints)
}

fn wanted(node: &Node) -> Vec<(&'static str, &'static str)> {
    let mut wanted = Vec::new();
    match condition(node, "Ready").map(|ready| ready.status.as_str()) {
        Some("True") => {}
        Some("Unknown") => wanted.extend([(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")]),
        // A node that has just registered has not said anything yet: no pods, but no eviction either.
        None => wanted.push((NOT_READY, "NoSchedule")),
        Some(_) => wanted.extend([(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")]),
    }
    for (name, key) in PRESSURES {
        if condition(node, name).is_some_and(|condition| condition.status == "True") {
            wanted.push((key, "NoSchedule"));
        }
    }
    if node
        .spec
        .as_ref()
        .and_then(|spec| spec.unschedulable)
        .unwrap_or_default()
    {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    wanted
}

/// The NoExecute taints of a node.
pub fn evicting(node: &Node) -> Vec<&Taint> {
    let taints = node
        .spec
        .as_ref()
        .and_then(|spec| spec.taints.as_deref())
        .unwrap_or_default();
    taints
        .iter()
        .filter(|taint| taint.effect == "NoExecute")
        .collect()
}

/// For how long a pod stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tolerance {
    /// It tolerates all.
    Forever,
    /// It does not tolerate one of the taints.
    None,
    /// It tolerates them for this long, from when that was first seen.
    For(Duration),
}

/// Decides for a pod on a node with these taints.
pub fn tolerance(pod: &Pod, taints: &[&Taint]) -> Tolerance {
    let tolerations = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.tolerations.as_deref())
        .unwrap_or_default();
    let mut shortest: Option<i64> = None;
    for taint in taints {
        let covering: Vec<&Toleration> = tolerations
            .iter()
            .filter(|toleration| covers(toleration, taint))
            .collect();
        if covering.is_empty() {
            return Tolerance::None;
        }
        // The shortest of the tolerations that name a time counts.
        let seconds = covering
            .iter()
            .filter_map(|toleration| toleration.toleration_seconds);
        shortest = shortest.into_iter().chain(seconds).min();
    }
    match shortest.map(u64::try_from) {
        None => Tolerance::Forever,
        Some(Ok(seconds)) if seconds > 0 => Tolerance::For(Duration::from_secs(seconds)),
        Some(_) => Tolerance::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn node(ready: Option<&str>, spec: Value) -> Node {
        let conditions: Vec<Value> = ready
            .iter()
            .map(|status| json!({"type": "Ready", "status": status}))
            .collect();
        serde_json::from_value(
            json!({"metadata": {"name": "n"}, "spec": spec, "status": {"conditions": conditions}}),
        )
        .unwrap()
    }

    fn keys(taints: &[Taint]) -> Vec<(&str, &str)> {
        taints
            .iter()
            .map(|taint| (taint.key.as_str(), taint.effect.as_str()))
            .collect()
    }

    #[test]
    fn a_silent_node_becomes_unknown_once() {
        let mut node = node(Some("True"), json!({}));
        let conditions = silent(&node, at(100)).unwrap();
        assert_eq!(conditions.len(), 4);
        assert!(conditions.iter().all(|condition| condition.status == "Unknown"));
        assert_eq!(conditions[0].reason.as_deref(), Some("NodeStatusUnknown"));
        node.status.as_mut().unwrap().conditions = Some(conditions);
        assert_eq!(silent(&node, at(200)), None);
    }

    #[test]
    fn a_ready_node_loses_our_taints_and_keeps_the_users() {
        let node = node(
            Some("True"),
            json!({"taints": [
            {"key": NOT_READY, "effect": "NoSchedule"}, {"key": "mine", "effect": "NoExecute"}]}),
        );
        assert_eq!(
            keys(&taints(&node, true, at(0)).unwrap()),
            [("mine", "NoExecute")]
        );
    }

    #[test]
    fn unknown_is_unreachable_and_false_is_not_ready() {
        assert_eq!(
            keys(&taints(&node(Some("Unknown"), json!({})), true, at(0)).unwrap()),
            [(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")]
        );
        assert_eq!(
            keys(&taints(&node(Some("False"), json!({})), true, at(0)).unwrap()),
            [(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")]
        );
    }

    #[test]
    fn a_cordon_is_a_taint_too() {
        let cordoned = node(Some("True"), json!({"unschedulable": true}));
        assert_eq!(
            keys(&taints(&cordoned, true, at(0)).unwrap()),
            [(UNSCHEDULABLE, "NoSchedule")]
        );
    }

    #[test]
    fn settled_taints_change_nothing() {
        let node = node(
            Some("False"),
            json!({"taints": [
            {"key": NOT_READY, "effect": "NoSchedule"}, {"key": NOT_READY, "effect": "NoExecute", "timeAdded": "1970-01-01T00:00:05Z"}]}),
        );
        assert_eq!(taints(&node, true, at(100)), None);
    }

    fn tolerating(tolerations: Value) -> Pod {
        serde_json::from_value(
            json!({"metadata": {}, "spec": {"containers": [], "tolerations": tolerations}}),
        )
        .unwrap()
    }

    #[test]
    fn pods_stay_where_no_node_is_well() {
        let (well, silent) = (node(Some("True"), json!({})), node(Some("Unknown"), json!({})));
        assert!(may_evict([&well, &silent]));
        assert!(!may_evict([&silent]));
        assert_eq!(
            keys(&taints(&silent, false, at(0)).unwrap()),
            [(UNREACHABLE, "NoSchedule")]
        );
        let tainted = node(
            Some("Unknown"),
            json!({"taints": [
            {"key": UNREACHABLE, "effect": "NoSchedule"}, {"key": UNREACHABLE, "effect": "NoExecute"}]}),
        );
        assert_eq!(
            keys(&taints(&tainted, false, at(0)).unwrap()),
            [(UNREACHABLE, "NoSchedule")]
        );
    }

    #[test]
    fn a_node_that_is_not_counted_keeps_nobody_from_leaving() {
        let mut well = node(Some("True"), json!({}));
        well.metadata.labels = Some([(NOT_COUNTED.to_owned(), String::new())].into());
        let silent = node(Some("Unknown"), json!({}));
        assert!(!may_evict([&well, &silent]));
        assert!(may_evict([&well]));
    }

    #[test]
    fn the_shortest_tolerance_counts() {
        let taint = Taint {
            key: NOT_READY.into(),
            effect: "NoExecute".into(),
            value: None,
            time_added: None,
        };
        let limited =
            |seconds: Value| json!({"key": NOT_READY, "operator": "Exists", "tolerationSeconds": seconds});
        let of = |tolerations: Value| tolerance(&tolerating(tolerations), &[&taint]);
        assert_eq!(
            of(json!([limited(json!(300)), limited(json!(20))])),
            Tolerance::For(Duration::from_secs(20))
        );
        assert_eq!(of(json!([limited(json!(-1))])), Tolerance::None);
        assert_eq!(of(json!([])), Tolerance::None);
        assert_eq!(of(json!([{"operator": "Exists"}])), Tolerance::Forever);
        assert_eq!(tolerance(&tolerating(json!([])), &[]), Tolerance::Forever);
    }
}
