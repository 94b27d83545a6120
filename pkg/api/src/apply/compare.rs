//! What differs between two versions of an object.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::relation::{Pair, Path, Relation, Relations, pair};
use super::set::Set;

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
    let mut compare = Compare {
        relations,
        difference: Difference::default(),
    };
    compare.values(relation, &Path::ROOT, Some(old), Some(new));
    compare.difference
}

struct Compare<'t> {
    relations: Relations<'t>,
    difference: Difference,
}

impl<'t> Compare<'t> {
    fn values(&mut self, relation: Relation<'t>, at: &Path<'_>, old: Option<&Value>, new: Option<&Value>) {
        if old == new {
            return;
        }
        let leaf = match pair(relation, old, new) {
            Pair::Leaf => true,
            Pair::Maps(old, new) => {
                self.maps(relation, at, old, new);
                false
            }
            Pair::Lists(old, new) => {
                self.lists(relation, at, old, new);
                false
            }
        };
        if new.is_none() {
            self.difference.removed.insert(at.elements());
        } else if old.is_none() || leaf {
            self.difference.changed.insert(at.elements());
        }
    }

    fn maps(
        &mut self,
        relation: Relation<'t>,
        at: &Path<'_>,
        old: Option<&Map<String, Value>>,
        new: Option<&Map<String, Value>>,
    ) {
        let of_metadata = matches!(relation, Relation::Struct(ty) if ty.go_name() == "ObjectMeta");
        let mut visit = |key: &str, old: Option<&Value>, new: Option<&Value>| {
            if !(of_metadata && key == "managedFields") {
                self.values(self.relations.part(relation, key).0, &at.field(key), old, new);
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
    }

    fn lists(&mut self, relation: Relation<'t>, at: &Path<'_>, old: &[Value], new: &[Value]) {
        let mut elements: BTreeMap<String, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
        for value in old {
            if let Ok(key) = self.relations.key(relation, value) {
                elements.entry(key).or_default().0.push(value);
            }
        }
        for value in new {
            if let Ok(key) = self.relations.key(relation, value) {
                elements.entry(key).or_default().1.push(value);
            }
        }
        for (key, (old, new)) in &elements {
            self.elements(relation, &at.element(key), old, new);
        }
    }

    /// Compares the elements of one key. There should be one on each side; several are looked at as one.
    fn elements(&mut self, relation: Relation<'t>, at: &Path<'_>, old: &[&Value], new: &[&Value]) {
        let element = self.relations.element(relation);
        let first = |list: &[&'_ Value]| list.first().map(|value| (*value).clone());
        match (old.len(), new.len()) {
            (0 | 1, 0 | 1) => self.values(element, at, old.first().copied(), new.first().copied()),
            (0 | 1, _) => {
                if let Some(value) = first(old) {
                    self.values(element, at, Some(&value), None);
                }
                self.difference.changed.insert(at.elements());
            }
            (_, 0 | 1) => {
                if let Some(value) = first(new) {
                    self.values(element, at, None, Some(&value));
                }
                self.difference.removed.insert(at.elements());
            }
            _ if old != new => self.difference.changed.insert(at.elements()),
            _ => {}
        }
    }
}
