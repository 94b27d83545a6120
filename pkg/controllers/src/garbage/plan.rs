//! Decides what happens to one object, from its live metadata and the live state of its owners. Pure.

use kobune_client::k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kobune_client::kube::api::PropagationPolicy;

use super::graph::{Dependent, FOREGROUND, ORPHAN};

/// An owner as the API server has it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnerState {
    /// It exists and stays.
    Solid,
    /// It does not exist, or a namesake with another uid does.
    Absent,
    /// It is being deleted and waits for its dependents.
    WaitsForDependents,
}

/// What to do with the object.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// It stays as it is.
    Keep,
    /// Write these owner references instead of the present ones.
    SetOwners(Vec<OwnerReference>),
    /// Delete it with this policy.
    Delete(PropagationPolicy),
    /// First let its owners not wait for it any more, then delete it in the foreground: it is in a circle.
    UnblockAndDelete(Vec<OwnerReference>),
}

/// Decides for an object whose owners were looked up. `dependents` are its own.
pub fn decide(object: &ObjectMeta, owners: &[OwnerState], dependents: &[Dependent]) -> Action {
    let references = object.owner_references.as_deref().unwrap_or_default();
    if object.deletion_timestamp.is_some() || references.is_empty() {
        return Action::Keep;
    }
    let any = |state: OwnerState| owners.contains(&state);
    if any(OwnerState::Solid) {
        if owners.iter().all(|state| *state == OwnerState::Solid) {
            return Action::Keep;
        }
        let solid = references
            .iter()
            .zip(owners)
            .filter(|(_, state)| **state == OwnerState::Solid);
        return Action::SetOwners(solid.map(|(reference, _)| reference.clone()).collect());
    }
    if any(OwnerState::WaitsForDependents) && !dependents.is_empty() {
        // If a dependent waits for its own dependents there may be a circle that waits for itself.
        if dependents.iter().any(|dependent| dependent.deletes_dependents) {
            let unblocked = references.iter().cloned().map(|mut reference| {
                reference.block_owner_deletion = reference.block_owner_deletion.map(|_| false);
                reference
            });
            return Action::UnblockAndDelete(unblocked.collect());
        }
        return Action::Delete(PropagationPolicy::Foreground);
    }
    let has = |name: &str| {
        object
            .finalizers
            .iter()
            .flatten()
            .any(|finalizer| finalizer == name)
    };
    Action::Delete(match () {
        () if has(ORPHAN) => PropagationPolicy::Orphan,
        () if has(FOREGROUND) => PropagationPolicy::Foreground,
        () => PropagationPolicy::Background,
    })
}

/// The finalizers without one.
pub fn without(object: &ObjectMeta, finalizer: &str) -> Option<Vec<String>> {
    let finalizers = object.finalizers.as_ref()?;
    finalizers.iter().any(|present| present == finalizer).then(|| {
        finalizers
            .iter()
            .filter(|present| *present != finalizer)
            .cloned()
            .collect()
    })
}
