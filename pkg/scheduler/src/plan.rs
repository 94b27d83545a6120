//! The scheduling cycle: filter the nodes, score what is left, choose. Pure.

use std::collections::BTreeMap;
use std::fmt::Write;

use kobune_client::k8s_openapi::api::core::v1::Pod;

use crate::nodes::{NodeInfo, Nodes, host_ports};
use crate::plugins::{Candidate, PLUGINS, Plugin};
use crate::request;

/// Why no node takes the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    /// What users read, in upstream's words.
    pub message: String,
    /// Names of the plugins that rejected a node: only what concerns them can help.
    pub rejected_by: Vec<&'static str>,
}

/// Chooses a node. Of equally good nodes `turn` picks, so that they take turns.
pub fn choose(pod: &Pod, nodes: &Nodes, turn: usize) -> Result<String, Unfit> {
    let all: Vec<&NodeInfo> = nodes.iter().collect();
    let candidate = Candidate {
        pod,
        request: request::of(pod),
        ports: host_ports(pod),
        cluster_size: all.len(),
    };
    let mut diagnosis = Diagnosis::default();
    let feasible: Vec<&NodeInfo> = all
        .iter()
        .copied()
        .filter(|node| diagnosis.admits(&candidate, node))
        .collect();
    match feasible.as_slice() {
        [] => Err(diagnosis.unfit(all.len(), never_preempts(pod))),
        [only] => Ok(only.name().to_owned()),
        several => Ok(best(&candidate, several, turn).name().to_owned()),
    }
}

/// Whether this node would take the pod now.
pub fn fits(pod: &Pod, node: &NodeInfo) -> bool {
    let candidate = Candidate {
        pod,
        request: request::of(pod),
        ports: host_ports(pod),
        cluster_size: 1,
    };
    PLUGINS
        .iter()
        .all(|plugin| plugin.filter(&candidate, node).is_ok())
}

/// `spec.preemptionPolicy: Never`
fn never_preempts(pod: &Pod) -> bool {
    let policy = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.preemption_policy.as_deref());
    policy == Some("Never")
}

fn best<'a>(candidate: &Candidate<'_>, nodes: &[&'a NodeInfo], turn: usize) -> &'a NodeInfo {
    let mut totals = vec![0i64; nodes.len()];
    for plugin in PLUGINS.iter().filter(|plugin| plugin.weight() > 0) {
        let mut scores: Vec<i64> = nodes.iter().map(|node| plugin.score(candidate, node)).collect();
        plugin.normalize(&mut scores);
        for (total, score) in totals.iter_mut().zip(scores) {
            *total += score * plugin.weight();
        }
    }
    let highest = totals.iter().copied().max().unwrap_or_default();
    let winners: Vec<usize> = (0..nodes.len())
        .filter(|index| totals[*index] == highest)
        .collect();
    nodes[winners[turn % winners.len()]]
}

#[derive(Default)]
struct Diagnosis {
    reasons: BTreeMap<String, usize>,
    rejected_by: Vec<&'static str>,
    resolvable_nodes: usize,
}

impl Diagnosis {
    /// The first plugin that rejects a node gives the reason for it.
    fn admits(&mut self, candidate: &Candidate<'_>, node: &NodeInfo) -> bool {
        for plugin in PLUGINS {
            let plugin: &dyn Plugin = *plugin;
            let Err(rejection) = plugin.filter(candidate, node) else {
                continue;
            };
            if !self.rejected_by.contains(&plugin.name()) {
                self.rejected_by.push(plugin.name());
            }
            self.resolvable_nodes += usize::from(rejection.resolvable);
            for reason in rejection.reasons {
                *self.reasons.entry(reason).or_default() += 1;
            }
            return false;
        }
        true
    }

    /// `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable. no new claims to
    /// deallocate, preemption: ...`: what the nodes said, then what upstream's plugins that could make
    /// room say, the one for resource claims first.
    fn unfit(self, count: usize, never_preempts: bool) -> Unfit {
        if count == 0 {
            let rejected_by = PLUGINS.iter().map(|plugin| plugin.name()).collect();
            return Unfit {
                message: "no nodes available to schedule pods".into(),
                rejected_by,
            };
        }
        let mut lines: Vec<String> = self
            .reasons
            .iter()
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        lines.sort();
        let mut message = format!(
            "0/{count} nodes are available: {}. no new claims to deallocate, preemption: ",
            lines.join(", ")
        );
        if never_preempts {
            message.push_str("not eligible due to preemptionPolicy=Never.");
            return Unfit {
                message,
                rejected_by: self.rejected_by,
            };
        }
        let mut helpless = Vec::new();
        if self.resolvable_nodes > 0 {
            helpless.push(format!(
                "{} No preemption victims found for incoming pod",
                self.resolvable_nodes
            ));
        }
        if self.resolvable_nodes < count {
            helpless.push(format!(
                "{} Preemption is not helpful for scheduling",
                count - self.resolvable_nodes
            ));
        }
        helpless.sort();
        // Writing to a String cannot fail.
        let _ = write!(message, "0/{count} nodes are available: {}.", helpless.join(", "));
        Unfit {
            message,
            rejected_by: self.rejected_by,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_objects::{node, pod, pod_with_cpu};
    use proptest::prelude::*;
    use serde_json::json;

    fn cluster(names: &[&str]) -> Nodes {
        let mut nodes = Nodes::default();
        names
            .iter()
            .for_each(|name| nodes.set_node(node(name, json!({}))));
        nodes
    }

    #[test]
    fn without_nodes_the_message_says_so() {
        let unfit = choose(&pod_with_cpu("a", "1"), &Nodes::default(), 0).unwrap_err();
        assert_eq!(unfit.message, "no nodes available to schedule pods");
    }

    #[test]
    fn a_pod_that_is_too_big_gets_upstreams_message() {
        let unfit = choose(&pod_with_cpu("a", "64"), &cluster(&["n1"]), 0).unwrap_err();
        assert_eq!(
            unfit.message,
            "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: \
             1 Preemption is not helpful for scheduling."
        );
        assert_eq!(unfit.rejected_by, ["NodeResourcesFit"]);
    }

    #[test]
    fn a_full_node_might_be_freed() {
        let mut nodes = cluster(&["n1"]);
        nodes.assume(&pod_with_cpu("big", "3500m"), "n1");
        let unfit = choose(&pod_with_cpu("a", "1"), &nodes, 0).unwrap_err();
        assert_eq!(
            unfit.message,
            "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: \
             1 No preemption victims found for incoming pod."
        );
    }

    #[test]
    fn a_pod_that_never_preempts_says_so() {
        let modest = pod(
            "a",
            json!({"preemptionPolicy": "Never",
            "containers": [{"name": "c", "resources": {"requests": {"cpu": "64"}}}]}),
        );
        let unfit = choose(&modest, &cluster(&["n1"]), 0).unwrap_err();
        assert_eq!(
            unfit.message,
            "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: \
             not eligible due to preemptionPolicy=Never."
        );
    }

    #[test]
    fn reasons_of_all_nodes_are_counted() {
        let mut nodes = cluster(&["n1"]);
        nodes.set_node(node("n2", json!({"spec": {"unschedulable": true}})));
        nodes.set_node(node(
            "n3",
            json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}}),
        ));
        let unfit = choose(&pod_with_cpu("a", "64"), &nodes, 0).unwrap_err();
        assert!(unfit.message.starts_with(
            "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable."
        ), "{}", unfit.message);
    }

    #[test]
    fn the_emptier_node_wins() {
        let mut nodes = cluster(&["n1", "n2"]);
        nodes.assume(&pod_with_cpu("big", "2"), "n1");
        assert_eq!(choose(&pod_with_cpu("a", "1"), &nodes, 0).unwrap(), "n2");
    }

    #[test]
    fn preference_outweighs_emptiness() {
        let mut nodes = cluster(&["n1"]);
        nodes.set_node(node("n2", json!({"metadata": {"labels": {"disk": "ssd"}}})));
        nodes.assume(&pod_with_cpu("big", "1"), "n2");
        let picky = pod(
            "a",
            json!({"containers": [], "affinity": {"nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 10, "preference":
                {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}}]}}}),
        );
        assert_eq!(choose(&picky, &nodes, 0).unwrap(), "n2");
    }

    #[test]
    fn equal_nodes_take_turns() {
        let nodes = cluster(&["n1", "n2"]);
        let pod = pod_with_cpu("a", "1");
        assert_ne!(choose(&pod, &nodes, 0), choose(&pod, &nodes, 1));
    }

    proptest! {
        #[test]
        fn no_node_is_ever_overcommitted(sizes in prop::collection::vec(1..3000u32, 1..60)) {
            let mut nodes = cluster(&["n1", "n2", "n3"]);
            for (turn, milli) in sizes.iter().enumerate() {
                let pod = pod_with_cpu(&format!("p{turn}"), &format!("{milli}m"));
                if let Ok(node) = choose(&pod, &nodes, turn) {
                    nodes.assume(&pod, &node);
                }
            }
            for info in nodes.iter() {
                prop_assert!(info.requested.milli_cpu <= info.allocatable.milli_cpu);
            }
        }
    }
}
