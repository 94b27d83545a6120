//! NodeResourcesFit: what a pod asks for must be free; of the nodes that fit the least used is best.

use kobune_client::k8s_openapi::api::core::v1::Pod;

use super::{Candidate, ClusterEvent, MAX_SCORE, Plugin, Rejection};
use crate::nodes::NodeInfo;
use crate::request;

/// The plugin, with the LeastAllocated strategy over CPU and memory.
pub struct NodeResourcesFit;

impl Plugin for NodeResourcesFit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn filter(&self, candidate: &Candidate<'_>, node: &NodeInfo) -> Result<(), Rejection> {
        let mut rejection = Rejection {
            reasons: Vec::new(),
            resolvable: true,
        };
        if node.pods + 1 > node.allowed_pods {
            rejection.reasons.push("Too many pods".into());
        }
        let (asked, free) = (&candidate.request.exact, &node.allocatable);
        let used = &node.requested;
        check(
            "cpu",
            asked.milli_cpu,
            free.milli_cpu,
            used.milli_cpu,
            &mut rejection,
        );
        check("memory", asked.memory, free.memory, used.memory, &mut rejection);
        check(
            "ephemeral-storage",
            asked.ephemeral_storage,
            free.ephemeral_storage,
            used.ephemeral_storage,
            &mut rejection,
        );
        for (name, amount) in &asked.others {
            let of = |amounts: &std::collections::BTreeMap<String, i64>| {
                amounts.get(name).copied().unwrap_or_default()
            };
            check(name, *amount, of(&free.others), of(&used.others), &mut rejection);
        }
        if rejection.reasons.is_empty() {
            Ok(())
        } else {
            Err(rejection)
        }
    }

    fn weight(&self) -> i64 {
        1
    }

    fn score(&self, candidate: &Candidate<'_>, node: &NodeInfo) -> i64 {
        let (cpu, memory) = candidate.request.assumed;
        let least = |capacity: i64, used: i64| match capacity {
            0 => 0,
            _ if used > capacity => 0,
            _ => (capacity - used) * MAX_SCORE / capacity,
        };
        let cpu = least(node.allocatable.milli_cpu, node.assumed.0 + cpu);
        let memory = least(node.allocatable.memory, node.assumed.1 + memory);
        (cpu + memory) / 2
    }

    fn may_help(&self, pod: &Pod, event: &ClusterEvent) -> bool {
        match event {
            ClusterEvent::Node { .. } => {
                event.node_differs(|node| node.status.as_ref().and_then(|status| status.allocatable.clone()))
            }
            // A pod that asked for nothing still frees its place in the count of pods.
            ClusterEvent::PodGone(gone) => {
                let (asked, freed) = (request::of(pod).exact, request::of(gone).exact);
                freed.is_nothing() || overlaps(&asked, &freed) || asked.is_nothing()
            }
        }
    }
}

fn check(name: &str, asked: i64, capacity: i64, used: i64, rejection: &mut Rejection) {
    if asked > 0 && asked > capacity - used {
        rejection.reasons.push(format!("Insufficient {name}"));
        rejection.resolvable &= asked <= capacity;
    }
}

fn overlaps(asked: &request::Amounts, freed: &request::Amounts) -> bool {
    (asked.milli_cpu > 0 && freed.milli_cpu > 0)
        || (asked.memory > 0 && freed.memory > 0)
        || (asked.ephemeral_storage > 0 && freed.ephemeral_storage > 0)
        || asked
            .others
            .iter()
            .any(|(name, amount)| *amount > 0 && freed.others.get(name).is_some_and(|f| *f > 0))
}
