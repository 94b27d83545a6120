//! What the graph and the plan promise.

use kobune_client::k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kobune_client::kube::api::PropagationPolicy;

use super::graph::{FOREGROUND, Graph, Identity};
use super::plan::{Action, OwnerState, decide};

fn identity(name: &str) -> Identity {
    Identity {
        api_version: "v1".into(),
        kind: "ConfigMap".into(),
        namespace: "a".into(),
        name: name.into(),
    }
}

fn owned_by(uid: &str, owners: &[&str]) -> ObjectMeta {
    let reference = |owner: &&str| OwnerReference {
        uid: (*owner).to_owned(),
        name: (*owner).to_owned(),
        block_owner_deletion: Some(true),
        ..Default::default()
    };
    ObjectMeta {
        uid: Some(uid.into()),
        name: Some(uid.into()),
        owner_references: Some(owners.iter().map(reference).collect()),
        ..Default::default()
    }
}

fn leaving(mut meta: ObjectMeta, finalizer: &str) -> ObjectMeta {
    meta.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
    meta.finalizers = Some(vec![finalizer.into()]);
    meta
}

#[test]
fn objects_without_owners_cost_nothing() {
    let mut graph = Graph::default();
    assert!(graph.observe(identity("a"), &owned_by("a", &[])).is_empty());
    assert_eq!(graph.len(), 0);
}

#[test]
fn an_unseen_owner_is_asked_for_once() {
    let mut graph = Graph::default();
    assert_eq!(graph.observe(identity("a"), &owned_by("a", &["o"])), ["o"]);
    assert!(graph.observe(identity("b"), &owned_by("b", &["o"])).is_empty());
    assert!(graph.get("o").unwrap().is_virtual);
}

#[test]
fn when_the_owner_goes_its_dependents_need_attention() {
    let mut graph = Graph::default();
    graph.observe(identity("a"), &owned_by("a", &["o"]));
    graph.observe(identity("b"), &owned_by("b", &["o"]));
    let mut attention = graph.forget("o");
    attention.sort();
    assert_eq!(attention, ["a", "b"]);
}

#[test]
fn a_foreground_deletion_is_told_when_its_last_dependent_goes() {
    let mut graph = Graph::default();
    graph.observe(identity("a"), &owned_by("a", &["o"]));
    let mut attention = graph.observe(identity("o"), &leaving(owned_by("o", &[]), FOREGROUND));
    attention.sort();
    assert_eq!(attention, ["a", "o"]);
    assert_eq!(graph.forget("a"), ["o"]);
    assert!(graph.dependents("o").is_empty());
}

#[test]
fn an_object_that_changes_owners_moves() {
    let mut graph = Graph::default();
    graph.observe(identity("a"), &owned_by("a", &["o"]));
    graph.observe(identity("a"), &owned_by("a", &["p"]));
    assert!(graph.get("o").is_none(), "nobody names it any more");
    assert_eq!(graph.dependents("p").len(), 1);
    graph.observe(identity("a"), &owned_by("a", &[]));
    assert_eq!(graph.len(), 0);
}

#[test]
fn an_object_stays_while_one_owner_does() {
    let object = owned_by("a", &["o", "p"]);
    let Action::SetOwners(left) = decide(&object, &[OwnerState::Solid, OwnerState::Absent], &[]) else {
        panic!()
    };
    assert_eq!(
        left.iter().map(|owner| owner.uid.as_str()).collect::<Vec<_>>(),
        ["o"]
    );
    assert_eq!(
        decide(&object, &[OwnerState::Solid, OwnerState::Solid], &[]),
        Action::Keep
    );
}

#[test]
fn an_object_without_owners_is_never_deleted() {
    assert_eq!(decide(&owned_by("a", &[]), &[], &[]), Action::Keep);
}

#[test]
fn an_object_whose_owners_are_gone_is_deleted() {
    let object = owned_by("a", &["o"]);
    assert_eq!(
        decide(&object, &[OwnerState::Absent], &[]),
        Action::Delete(PropagationPolicy::Background)
    );
}

#[test]
fn a_circle_of_foreground_deletions_is_broken() {
    let mut graph = Graph::default();
    graph.observe(identity("b"), &leaving(owned_by("b", &["a"]), FOREGROUND));
    graph.observe(identity("a"), &owned_by("a", &["b"]));
    let action = decide(
        &owned_by("a", &["b"]),
        &[OwnerState::WaitsForDependents],
        &graph.dependents("a"),
    );
    let Action::UnblockAndDelete(owners) = action else {
        panic!("{action:?}")
    };
    assert_eq!(owners[0].block_owner_deletion, Some(false));
}

#[test]
fn a_dependent_with_dependents_is_deleted_in_the_foreground_too() {
    let mut graph = Graph::default();
    graph.observe(identity("pod"), &owned_by("pod", &["set"]));
    let action = decide(
        &owned_by("set", &["deployment"]),
        &[OwnerState::WaitsForDependents],
        &graph.dependents("set"),
    );
    assert_eq!(action, Action::Delete(PropagationPolicy::Foreground));
}
