//! NodeResourcesBalancedAllocation: prefers nodes whose CPU and memory fill up alike.

use kobune_client::k8s_openapi::api::core::v1::Pod;

use super::{Candidate, ClusterEvent, MAX_SCORE, Plugin};
use crate::nodes::NodeInfo;

/// The plugin.
pub struct NodeResourcesBalancedAllocation;

impl Plugin for NodeResourcesBalancedAllocation {
    fn name(&self) -> &'static str {
        "NodeResourcesBalancedAllocation"
    }

    fn weight(&self) -> i64 {
        1
    }

    fn score(&self, candidate: &Candidate<'_>, node: &NodeInfo) -> i64 {
        // A pod that asks for nothing cannot change the balance.
        if candidate.request.exact.is_nothing() {
            return 0;
        }
        let share = |asked: i64, used: i64, capacity: i64| match capacity {
            0 => 1.0,
            _ => ((asked + used) as f64 / capacity as f64).min(1.0),
        };
        let asked = &candidate.request.exact;
        let cpu = share(
            asked.milli_cpu,
            node.requested.milli_cpu,
            node.allocatable.milli_cpu,
        );
        let memory = share(asked.memory, node.requested.memory, node.allocatable.memory);
        // The standard deviation of two numbers is half their distance.
        ((1.0 - (cpu - memory).abs() / 2.0) * MAX_SCORE as f64) as i64
    }

    fn may_help(&self, _pod: &Pod, _event: &ClusterEvent) -> bool {
        false
    }
}
