//! The plugins: each knows one reason for or against a node. One file each, listed in [`PLUGINS`].

mod image_locality;
mod node_affinity;
mod node_name;
mod node_ports;
mod node_unschedulable;
mod resources_balanced;
mod resources_fit;
mod taint_toleration;

use std::sync::Arc;

use kobune_client::k8s_openapi::api::core::v1::{Node, Pod};

use crate::nodes::{HostPort, NodeInfo};
use crate::request::Request;

/// The highest score a node can get of one plugin.
pub const MAX_SCORE: i64 = 100;

/// A pod to place, with what is computed once for all nodes.
pub struct Candidate<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// What it asks for.
    pub request: Request,
    /// Ports of the host it wants.
    pub ports: Vec<HostPort>,
    /// How many nodes the cluster has.
    pub cluster_size: usize,
}

/// Why a node does not take a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// In upstream's words, as users see them.
    pub reasons: Vec<String>,
    /// Whether room made on the node could change it (preemption would help).
    pub resolvable: bool,
}

impl Rejection {
    fn unresolvable(reason: impl Into<String>) -> Self {
        Rejection {
            reasons: vec![reason.into()],
            resolvable: false,
        }
    }

    fn resolvable(reason: impl Into<String>) -> Self {
        Rejection {
            reasons: vec![reason.into()],
            resolvable: true,
        }
    }
}

/// Something happened in the cluster that may make room for a pod that found none.
#[derive(Debug, Clone)]
pub enum ClusterEvent {
    /// A node is new (`before` is `None`) or changed.
    Node {
        /// The node now.
        node: Arc<Node>,
        /// The node before.
        before: Option<Arc<Node>>,
    },
    /// A placed pod has gone or ended.
    PodGone(Arc<Pod>),
}

impl ClusterEvent {
    /// True when the part of the node that `part` reads is new or differs.
    fn node_differs<T: PartialEq>(&self, part: impl Fn(&Node) -> T) -> bool {
        match self {
            ClusterEvent::Node { node, before } => {
                before.as_ref().is_none_or(|before| part(before) != part(node))
            }
            ClusterEvent::PodGone(_) => false,
        }
    }
}

/// One plugin. All methods are pure.
pub trait Plugin: Sync {
    /// As upstream names it.
    fn name(&self) -> &'static str;

    /// Whether the pod may be on the node.
    fn filter(&self, _candidate: &Candidate<'_>, _node: &NodeInfo) -> Result<(), Rejection> {
        Ok(())
    }

    /// How much its score counts; 0: it does not score.
    fn weight(&self) -> i64 {
        0
    }

    /// How well the node suits the pod, in the plugin's own scale.
    fn score(&self, _candidate: &Candidate<'_>, _node: &NodeInfo) -> i64 {
        0
    }

    /// Brings the scores of all nodes to 0..=[`MAX_SCORE`].
    fn normalize(&self, _scores: &mut [i64]) {}

    /// Whether the event may let a pod in that this plugin rejected.
    fn may_help(&self, pod: &Pod, event: &ClusterEvent) -> bool;
}

/// Every plugin, in the order in which nodes are filtered: the cheap ones that reject much come first.
pub static PLUGINS: &[&dyn Plugin] = &[
    &node_unschedulable::NodeUnschedulable,
    &node_name::NodeName,
    &taint_toleration::TaintToleration,
    &node_affinity::NodeAffinity,
    &node_ports::NodePorts,
    &resources_fit::NodeResourcesFit,
    &resources_balanced::NodeResourcesBalancedAllocation,
    &image_locality::ImageLocality,
];

/// Scales scores so that the highest is [`MAX_SCORE`]; `reverse` makes the lowest the best.
fn normalize_to_highest(scores: &mut [i64], reverse: bool) {
    let highest = scores.iter().copied().max().unwrap_or_default();
    for score in scores {
        let scaled = if highest == 0 {
            0
        } else {
            *score * MAX_SCORE / highest
        };
        *score = if reverse { MAX_SCORE - scaled } else { scaled };
    }
}
