//! Ownership: who controls an object, and what a controller does with an object it may claim.
//!
//! ```text
//!              no controller ── labels match ──> Adopt
//! object ──┬── ours ── labels match ──> Keep ── else ──> Release
//!          └── another's ──> Ignore
//! ```

use kobune_client::k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    LabelSelector, ObjectMeta, OwnerReference,
};
use kobune_client::kube::core::{Selector, SelectorExt};
use serde_json::json;

/// The owner reference that is marked as the controller.
pub fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references
        .as_deref()?
        .iter()
        .find(|owner| owner.controller == Some(true))
}

/// Whether the object's controller has this uid.
pub fn is_controlled_by(meta: &ObjectMeta, uid: &str) -> bool {
    controller_of(meta).is_some_and(|owner| owner.uid == uid)
}

/// The reference by which a controller marks what it owns.
pub fn controller_reference(api_version: &str, kind: &str, owner: &ObjectMeta) -> OwnerReference {
    OwnerReference {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        name: owner.name.clone().unwrap_or_default(),
        uid: owner.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// What to do with one object that an owner's selector may or may not match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It is ours and stays so.
    Keep,
    /// An orphan that matches: take it.
    Adopt,
    /// Ours, but its labels no longer match: let it go.
    Release,
    /// Not ours.
    Ignore,
}

/// Decides the claim of `owner` on `object`.
pub fn claim(owner: &ObjectMeta, selector: &Selector, object: &ObjectMeta) -> Claim {
    let matches = selects(selector, object);
    let owner_leaves = owner.deletion_timestamp.is_some();
    match controller_of(object) {
        Some(reference) if Some(&reference.uid) != owner.uid.as_ref() => Claim::Ignore,
        Some(_) if matches => Claim::Keep,
        Some(_) if owner_leaves => Claim::Ignore,
        Some(_) => Claim::Release,
        None if owner_leaves || !matches || object.deletion_timestamp.is_some() => Claim::Ignore,
        None => Claim::Adopt,
    }
}

/// Whether the selector matches the object's labels. Unlike a list, an empty selector matches nothing
/// here: no workload may claim every object of its namespace.
pub fn selects(selector: &Selector, object: &ObjectMeta) -> bool {
    if selector.selects_all() {
        return false;
    }
    match &object.labels {
        Some(labels) => selector.matches(labels),
        None => selector.matches(&Default::default()),
    }
}

/// The selector of a workload; an expression the API server would refuse selects nothing.
pub fn selector(selector: &LabelSelector) -> Selector {
    Selector::try_from(selector.clone()).unwrap_or_default()
}

/// The strategic merge patch that takes an orphan; the uid guards against a namesake.
pub fn adopt_patch(reference: &OwnerReference, object: &ObjectMeta) -> serde_json::Value {
    json!({"metadata": {"ownerReferences": [reference], "uid": object.uid}})
}

/// The strategic merge patch that lets an object go.
pub fn release_patch(owner: &ObjectMeta, object: &ObjectMeta) -> serde_json::Value {
    json!({"metadata": {"ownerReferences": [{"$patch": "delete", "uid": owner.uid}], "uid": object.uid}})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(uid: &str, app: &str) -> ObjectMeta {
        ObjectMeta {
            uid: Some(uid.into()),
            labels: Some([("app".to_owned(), app.to_owned())].into()),
            ..Default::default()
        }
    }

    fn selects_web() -> Selector {
        selector(&LabelSelector {
            match_labels: Some([("app".into(), "web".into())].into()),
            ..Default::default()
        })
    }

    fn owned_by(uid: &str, app: &str) -> ObjectMeta {
        let mut object = meta("object", app);
        object.owner_references = Some(vec![controller_reference(
            "apps/v1",
            "ReplicaSet",
            &meta(uid, ""),
        )]);
        object
    }

    #[test]
    fn a_matching_orphan_is_adopted() {
        assert_eq!(
            claim(&meta("me", ""), &selects_web(), &meta("object", "web")),
            Claim::Adopt
        );
    }

    #[test]
    fn another_controllers_object_is_never_touched() {
        assert_eq!(
            claim(&meta("me", ""), &selects_web(), &owned_by("other", "web")),
            Claim::Ignore
        );
    }

    #[test]
    fn an_owned_object_whose_labels_left_is_released() {
        assert_eq!(
            claim(&meta("me", ""), &selects_web(), &owned_by("me", "db")),
            Claim::Release
        );
        assert_eq!(
            claim(&meta("me", ""), &selects_web(), &owned_by("me", "web")),
            Claim::Keep
        );
    }

    #[test]
    fn a_leaving_owner_neither_adopts_nor_releases() {
        let mut me = meta("me", "");
        me.deletion_timestamp = Some(
            kobune_client::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH),
        );
        assert_eq!(claim(&me, &selects_web(), &meta("object", "web")), Claim::Ignore);
        assert_eq!(claim(&me, &selects_web(), &owned_by("me", "db")), Claim::Ignore);
    }

    #[test]
    fn an_empty_selector_claims_nothing() {
        assert_eq!(
            claim(
                &meta("me", ""),
                &selector(&LabelSelector::default()),
                &meta("o", "web")
            ),
            Claim::Ignore
        );
    }
}
