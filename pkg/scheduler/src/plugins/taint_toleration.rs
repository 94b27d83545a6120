//! TaintToleration: NoSchedule and NoExecute taints keep pods away; PreferNoSchedule ones only weigh.

use kobune_client::k8s_openapi::api::core::v1::{Node, Pod, Taint};
use kobune_client::tolerations::covers;

use super::{Candidate, ClusterEvent, Plugin, Rejection, normalize_to_highest};
use crate::nodes::NodeInfo;

/// The plugin.
pub struct TaintToleration;

impl Plugin for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn filter(&self, candidate: &Candidate<'_>, node: &NodeInfo) -> Result<(), Rejection> {
        let refuses = |taint: &&Taint| taint.effect != "PreferNoSchedule" && !tolerates(candidate.pod, taint);
        match taints(node).find(refuses) {
            Some(_) => Err(Rejection::unresolvable("node(s) had untolerated taint(s)")),
            None => Ok(()),
        }
    }

    fn weight(&self) -> i64 {
        3
    }

    fn score(&self, candidate: &Candidate<'_>, node: &NodeInfo) -> i64 {
        let unloved = |taint: &&Taint| taint.effect == "PreferNoSchedule" && !tolerates(candidate.pod, taint);
        taints(node).filter(unloved).count() as i64
    }

    fn normalize(&self, scores: &mut [i64]) {
        normalize_to_highest(scores, true);
    }

    fn may_help(&self, pod: &Pod, event: &ClusterEvent) -> bool {
        let list = |node: &Node| {
            node.spec
                .as_ref()
                .and_then(|spec| spec.taints.clone())
                .unwrap_or_default()
        };
        let ClusterEvent::Node { node, .. } = event else {
            return false;
        };
        event.node_differs(list)
            && list(node)
                .iter()
                .all(|taint| taint.effect == "PreferNoSchedule" || tolerates(pod, taint))
    }
}

fn taints(node: &NodeInfo) -> impl Iterator<Item = &Taint> {
    node.node
        .as_ref()
        .and_then(|node| node.spec.as_ref())
        .and_then(|spec| spec.taints.as_ref())
        .into_iter()
        .flatten()
}

/// Whether one of the pod's tolerations covers the taint.
pub fn tolerates(pod: &Pod, taint: &Taint) -> bool {
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_ref());
    tolerations
        .into_iter()
        .flatten()
        .any(|toleration| covers(toleration, taint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_objects::pod;
    use serde_json::json;

    fn taint(effect: &str) -> Taint {
        Taint {
            key: "k".into(),
            value: Some("v".into()),
            effect: effect.into(),
            time_added: None,
        }
    }

    #[test]
    fn a_toleration_covers_its_key_value_and_effect() {
        let pod = pod(
            "a",
            json!({"containers": [], "tolerations": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}),
        );
        assert!(tolerates(&pod, &taint("NoSchedule")));
        assert!(!tolerates(&pod, &taint("NoExecute")));
    }
}
