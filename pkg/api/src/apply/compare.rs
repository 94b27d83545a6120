//! What differs between two versions of an object.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::relation::{Pair, Relation, Relations, field_key, pair};
use super::set::{Node, Set};

/// Paths that differ.
#[derive(Debug, Default)]
pub(super) struct Difference {
    /// New or with another value.
    pub(super) changed: Set,
    /// Gone.
    pub(super) removed: Set,
}

impl Difference {
    pub(super) fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.removed.is_empty()
    }
}

/// Compares two versions of an object; managedFields are not looked at.
pub(super) fn compare<'t>(
    relations: Relations<'t>,
    relation: Relation<'t>,
    old: &Value,
    new: &Value,
) -> Difference {
    let Delta { changed, removed } = relations.compare(relation, Some(old), Some(new));
    Difference {
        changed: changed.children,
        removed: removed.children,
    }
}

/// What differs at and below one value.
#[derive(Default)]
struct Delta {
    changed: Node,
    removed: Node,
}

impl Delta {
    /// Takes over what differs in a part.
    fn part(&mut self, part: Delta, element: impl Fn() -> String) {
        for (whole, part) in [
            (&mut self.changed, part.changed),
            (&mut self.removed, part.removed),
        ] {
            if !part.is_empty() {
                whole.children.0.insert(element(), part);
            }
        }
    }
}

impl<'t> Relations<'t> {
    fn compare(self, relation: Relation<'t>, old: Option<&Value>, new: Option<&Value>) -> Delta {
        if old == new {
            return Delta::default();
        }
        let mut leaf = false;
        let mut delta = match pair(relation, old, new) {
            Pair::Leaf => {
                leaf = true;
                Delta::default()
            }
            Pair::Maps(old, new) => self.compare_maps(relation, old, new),
            Pair::Lists(old, new) => self.compare_lists(relation, old, new),
        };
        delta.removed.member = new.is_none();
        delta.changed.member = new.is_some() && (leaf || old.is_none());
        delta
    }

    fn compare_maps(
        self,
        relation: Relation<'t>,
        old: Option<&Map<String, Value>>,
        new: Option<&Map<String, Value>>,
    ) -> Delta {
        let of_metadata = matches!(relation, Relation::Struct(ty) if ty.go_name() == "ObjectMeta");
        let mut delta = Delta::default();
        let mut visit = |key: &str, old: Option<&Value>, new: Option<&Value>| {
            if !(of_metadata && key == "managedFields") {
                delta.part(self.compare(self.part(relation, key).0, old, new), || {
                    field_key(key)
                });
            }
        };
        for (key, value) in old.into_iter().flatten() {
            visit(key, Some(value), new.and_then(|new| new.get(key)));
        }
        for (key, value) in new.into_iter().flatten() {
            if old.is_none_or(|old| !old.contains_key(key)) {
                visit(key, None, Some(value));
            }
        }
        delta
    }

    fn compare_lists(self, relation: Relation<'t>, old: &[Value], new: &[Value]) -> Delta {
        let mut elements: BTreeMap<String, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
        for value in old {
            if let Ok(key) = self.key(relation, value) {
                elements.entry(key).or_default().0.push(value);
            }
        }
        for value in new {
            if let Ok(key) = self.key(relation, value) {
                elements.entry(key).or_default().1.push(value);
            }
        }
        let mut delta = Delta::default();
        for (key, (old, new)) in elements {
            delta.part(self.compare_elements(relation, &old, &new), || key.clone());
        }
        delta
    }

    /// Compares the elements of one key. There should be one on each side; several are looked at as one.
    fn compare_elements(self, relation: Relation<'t>, old: &[&Value], new: &[&Value]) -> Delta {
        let element = self.element(relation);
        let mut delta = match (old, new) {
            ([] | [_], [] | [_]) => return self.compare(element, old.first().copied(), new.first().copied()),
            ([one], _) => self.compare(element, Some(one), None),
            (_, [one]) => self.compare(element, None, Some(one)),
            _ => Delta::default(),
        };
        delta.changed.member |= new.len() > 1 && old != new;
        delta.removed.member |= old.len() > 1 && new.len() <= 1;
        delta
    }
}
