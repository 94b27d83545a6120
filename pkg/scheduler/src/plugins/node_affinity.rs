//! NodeAffinity: nodeSelector, required and preferred node affinity.

use std::collections::BTreeMap;

use kobune_client::k8s_openapi::api::core::v1::{
    Node, NodeAffinity as Affinity, NodeSelectorRequirement, NodeSelectorTerm, Pod,
};

use super::{Candidate, ClusterEvent, Plugin, Rejection, normalize_to_highest};
use crate::nodes::NodeInfo;

/// The plugin.
pub struct NodeAffinity;

impl Plugin for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    fn filter(&self, candidate: &Candidate<'_>, node: &NodeInfo) -> Result<(), Rejection> {
        match node
            .node
            .as_ref()
            .is_some_and(|node| is_allowed(candidate.pod, node))
        {
            true => Ok(()),
            false => Err(Rejection::unresolvable(
                "node(s) didn't match Pod's node affinity/selector",
            )),
        }
    }

    fn weight(&self) -> i64 {
        2
    }

    fn score(&self, candidate: &Candidate<'_>, info: &NodeInfo) -> i64 {
        let Some(node) = &info.node else { return 0 };
        let preferred = affinity(candidate.pod).and_then(|affinity| {
            affinity
                .preferred_during_scheduling_ignored_during_execution
                .as_ref()
        });
        let fitting = preferred
            .into_iter()
            .flatten()
            .filter(|term| term_matches(&term.preference, node));
        fitting.map(|term| i64::from(term.weight)).sum()
    }

    fn normalize(&self, scores: &mut [i64]) {
        normalize_to_highest(scores, false);
    }

    fn may_help(&self, pod: &Pod, event: &ClusterEvent) -> bool {
        let ClusterEvent::Node { node, .. } = event else {
            return false;
        };
        event.node_differs(|node| node.metadata.labels.clone()) && is_allowed(pod, node)
    }
}

fn affinity(pod: &Pod) -> Option<&Affinity> {
    pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()
}

/// Whether the pod's selector and required affinity allow the node: the selector's labels all, and one of
/// the terms.
fn is_allowed(pod: &Pod, node: &Node) -> bool {
    let empty = BTreeMap::new();
    let labels = node.metadata.labels.as_ref().unwrap_or(&empty);
    let selector = pod.spec.as_ref().and_then(|spec| spec.node_selector.as_ref());
    if !selector
        .into_iter()
        .flatten()
        .all(|(key, value)| labels.get(key) == Some(value))
    {
        return false;
    }
    let required = affinity(pod).and_then(|affinity| {
        affinity
            .required_during_scheduling_ignored_during_execution
            .as_ref()
    });
    required.is_none_or(|required| {
        required
            .node_selector_terms
            .iter()
            .any(|term| term_matches(term, node))
    })
}

/// All requirements of a term hold; a term without any matches nothing.
fn term_matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    let label = |key: &str| {
        node.metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get(key))
            .map(String::as_str)
    };
    let field = |key: &str| node.metadata.name.as_deref().filter(|_| key == "metadata.name");
    expressions
        .iter()
        .all(|requirement| holds(requirement, label(&requirement.key)))
        && fields
            .iter()
            .all(|requirement| holds(requirement, field(&requirement.key)))
}

fn holds(requirement: &NodeSelectorRequirement, present: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = || present.is_some_and(|present| values.iter().any(|value| value == present));
    let numbers = || {
        Some((
            present?.parse::<i64>().ok()?,
            values.first()?.parse::<i64>().ok()?,
        ))
    };
    match requirement.operator.as_str() {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => present.is_some(),
        "DoesNotExist" => present.is_none(),
        "Gt" => numbers().is_some_and(|(present, limit)| present > limit),
        "Lt" => numbers().is_some_and(|(present, limit)| present < limit),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_objects::{node, pod};
    use serde_json::{Value, json};

    fn allowed(spec: Value) -> bool {
        let node = node("n1", json!({"metadata": {"labels": {"zone": "a", "cores": "8"}}}));
        let mut whole = json!({"containers": []});
        whole
            .as_object_mut()
            .unwrap()
            .extend(spec.as_object().unwrap().clone());
        is_allowed(&pod("p", whole), &node)
    }

    fn required(terms: Value) -> Value {
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}})
    }

    #[test]
    fn every_label_of_the_selector_must_match() {
        assert!(allowed(json!({"nodeSelector": {"zone": "a"}})));
        assert!(!allowed(json!({"nodeSelector": {"zone": "a", "disk": "ssd"}})));
    }

    #[test]
    fn terms_are_alternatives_and_requirements_are_not() {
        let expression = |key: &str, operator: &str, values: Value| json!({"key": key, "operator": operator, "values": values});
        let a = expression("zone", "In", json!(["a"]));
        let b = expression("zone", "In", json!(["b"]));
        assert!(allowed(required(
            json!([{"matchExpressions": [b]}, {"matchExpressions": [a]}])
        )));
        assert!(!allowed(required(json!([{"matchExpressions": [a, b]}]))));
        assert!(allowed(required(
            json!([{"matchExpressions": [expression("cores", "Gt", json!(["4"]))]}])
        )));
        assert!(allowed(required(
            json!([{"matchExpressions": [expression("disk", "NotIn", json!(["x"]))]}])
        )));
        assert!(!allowed(required(json!([{}]))), "an empty term matches nothing");
    }

    #[test]
    fn a_field_requirement_pins_to_the_node() {
        let name = |name: &str| json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]}]);
        assert!(allowed(required(name("n1"))));
        assert!(!allowed(required(name("n2"))));
    }
}
