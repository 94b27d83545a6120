//! NodeUnschedulable: a cordoned node takes only pods that tolerate it.

use kobune_client::k8s_openapi::api::core::v1::{Node, Pod, Taint};

use super::taint_toleration::tolerates;
use super::{Candidate, ClusterEvent, Plugin, Rejection};
use crate::nodes::NodeInfo;

/// The plugin.
pub struct NodeUnschedulable;

impl Plugin for NodeUnschedulable {
    fn name(&self) -> &'static str {
        "NodeUnschedulable"
    }

    fn filter(&self, candidate: &Candidate<'_>, node: &NodeInfo) -> Result<(), Rejection> {
        if !node.node.as_ref().is_some_and(|node| is_cordoned(node)) {
            return Ok(());
        }
        let taint = Taint {
            key: "node.kubernetes.io/unschedulable".into(),
            effect: "NoSchedule".into(),
            ..Default::default()
        };
        match tolerates(candidate.pod, &taint) {
            true => Ok(()),
            false => Err(Rejection::unresolvable("node(s) were unschedulable")),
        }
    }

    fn may_help(&self, _pod: &Pod, event: &ClusterEvent) -> bool {
        event.node_differs(is_cordoned)
            || event.node_differs(|node| node.spec.as_ref().and_then(|spec| spec.taints.clone()))
    }
}

fn is_cordoned(node: &Node) -> bool {
    node.spec
        .as_ref()
        .and_then(|spec| spec.unschedulable)
        .unwrap_or_default()
}
