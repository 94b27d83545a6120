//! Kinds whose writes need not be on disk: Events, and Leases that are only renewed.

use kobune_store::Durability;
use serde_json::Value;

use super::Strategy;
use crate::object::{at, elements};

/// Events live in memory for an hour.
pub struct Events;

impl Strategy for Events {
    fn durability(&self, _old: Option<&Value>, _new: &Value) -> Durability {
        Durability::Memory
    }
}

/// A Lease's renewal is forgotten by a crash, as its holder is; a change of holder is not.
pub struct Leases;

impl Strategy for Leases {
    fn durability(&self, old: Option<&Value>, new: &Value) -> Durability {
        match old {
            Some(old) if is_renewal(old, new) => Durability::Memory,
            _ => Durability::Synced,
        }
    }
}

/// Whether two Leases differ in nothing but when they were renewed.
fn is_renewal(old: &Value, new: &Value) -> bool {
    let spec = |lease: &Value| {
        let map = at(lease, &["spec"])
            .and_then(Value::as_object)
            .into_iter()
            .flatten();
        let kept = map.filter(|(field, _)| *field != "renewTime");
        kept.map(|(field, value)| (field.clone(), value.clone()))
            .collect::<Vec<_>>()
    };
    let same = |path: &[&str]| at(old, path) == at(new, path);
    spec(old) == spec(new)
        && same(&["metadata", "labels"])
        && same(&["metadata", "annotations"])
        && same(&["metadata", "ownerReferences"])
        && elements(old, &["metadata", "finalizers"]) == elements(new, &["metadata", "finalizers"])
        && same(&["metadata", "deletionTimestamp"])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_renewal_stays_in_memory_and_a_new_holder_does_not() {
        let lease = |holder: &str, renewed: &str| {
            json!({"metadata": {"name": "x", "managedFields": [renewed]},
            "spec": {"holderIdentity": holder, "renewTime": renewed}})
        };
        assert_eq!(
            Leases.durability(Some(&lease("a", "1")), &lease("a", "2")),
            Durability::Memory
        );
        assert_eq!(
            Leases.durability(Some(&lease("a", "1")), &lease("b", "2")),
            Durability::Synced
        );
        assert_eq!(Leases.durability(None, &lease("a", "1")), Durability::Synced);
    }
}
