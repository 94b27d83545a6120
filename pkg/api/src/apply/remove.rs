//! Taking paths out of an object.

use serde_json::Value;

use super::relation::{Relation, Relations};
use super::set::Set;

impl<'t> Relations<'t> {
    /// Removes the fields and elements whose paths are in the set. What held them stays, empty if need be.
    pub(super) fn remove(self, relation: Relation<'t>, value: &mut Value, set: &Set) {
        if set.is_empty() {
            return;
        }
        match (relation, value) {
            (
                Relation::Struct(_) | Relation::Map(_) | Relation::Deduced | Relation::DeducedObject,
                Value::Object(map),
            ) => {
                for (element, node) in &set.0 {
                    let Some(name) = element.strip_prefix("f:") else {
                        continue;
                    };
                    if node.member {
                        map.remove(name);
                    } else if let Some(value) = map.get_mut(name) {
                        self.remove(self.part(relation, name).0, value, &node.children);
                    }
                }
            }
            (Relation::ListMap(..) | Relation::Set, Value::Array(list)) => {
                list.retain_mut(|value| {
                    let Ok(key) = self.key(relation, value) else {
                        return true;
                    };
                    match set.0.get(&key) {
                        Some(node) if node.member => false,
                        Some(node) => {
                            self.remove(self.element(relation), value, &node.children);
                            true
                        }
                        None => true,
                    }
                });
            }
            _ => {}
        }
    }
}
