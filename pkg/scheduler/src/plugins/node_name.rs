//! NodeName: a pod that names its node goes there.

use kobune_client::k8s_openapi::api::core::v1::Pod;

use super::{Candidate, ClusterEvent, Plugin, Rejection};
use crate::nodes::NodeInfo;

/// The plugin.
pub struct NodeName;

impl Plugin for NodeName {
    fn name(&self) -> &'static str {
        "NodeName"
    }

    fn filter(&self, candidate: &Candidate<'_>, node: &NodeInfo) -> Result<(), Rejection> {
        match wanted(candidate.pod) {
            Some(name) if name != node.name() => Err(Rejection::unresolvable(
                "node(s) didn't match the requested node name",
            )),
            _ => Ok(()),
        }
    }

    fn may_help(&self, pod: &Pod, event: &ClusterEvent) -> bool {
        matches!(event, ClusterEvent::Node { node, before: None } if wanted(pod) == node.metadata.name.as_deref())
    }
}

fn wanted(pod: &Pod) -> Option<&str> {
    pod.spec
        .as_ref()?
        .node_name
        .as_deref()
        .filter(|name| !name.is_empty())
}
