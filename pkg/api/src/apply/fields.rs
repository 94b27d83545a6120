//! Field sets of values.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::relation::{Relation, Relations, field_key, is_empty};
use super::set::{Node, Set};

impl<'t> Relations<'t> {
    /// The paths an object has.
    pub(super) fn field_set(self, relation: Relation<'t>, object: &Value) -> Set {
        self.fields_of(relation, object).children
    }

    fn fields_of(self, relation: Relation<'t>, value: &Value) -> Node {
        match (relation, value) {
            (
                Relation::Struct(_) | Relation::Map(_) | Relation::Deduced | Relation::DeducedObject,
                Value::Object(map),
            ) => {
                let mut set = BTreeMap::new();
                for (key, value) in map {
                    let (part, declared) = self.part(relation, key);
                    let mut node = self.fields_of(part, value);
                    let nothing = value.is_null() || (value.is_object() && is_empty(Some(value)));
                    node.member |= nothing || !declared;
                    if !node.is_empty() {
                        set.insert(field_key(key), node);
                    }
                }
                Node {
                    member: false,
                    children: Set(set),
                }
            }
            (Relation::ListMap(..) | Relation::Set, Value::Array(list)) => {
                self.fields_of_list(relation, list)
            }
            (Relation::Atomic | Relation::Deduced, _) => Node {
                member: true,
                children: Set::default(),
            },
            _ => Node::default(),
        }
    }

    fn fields_of_list(self, relation: Relation<'t>, list: &[Value]) -> Node {
        let mut set: BTreeMap<String, Node> = BTreeMap::new();
        let mut repeated = BTreeSet::new();
        for element in list {
            let Ok(key) = self.key(relation, element) else {
                continue;
            };
            if repeated.contains(&key) {
                continue;
            }
            let mut node = self.fields_of(self.element(relation), element);
            if matches!(relation, Relation::Set) {
                node = Node::default();
            }
            node.member = true;
            if set.contains_key(&key) {
                // Elements that cannot be told apart are owned as a whole.
                node.children = Set::default();
                repeated.insert(key.clone());
            }
            set.insert(key, node);
        }
        Node {
            member: false,
            children: Set(set),
        }
    }

    /// The set with the declared fields above its paths: of `f:spec f:replicas` also `f:spec`, but of a
    /// map's key not the map.
    pub(super) fn with_named_fields(self, relation: Relation<'t>, set: &Set) -> Set {
        let mut named = BTreeMap::new();
        for (element, node) in &set.0 {
            let (part, declared) = match element.strip_prefix("f:") {
                Some(name) => self.part(relation, name),
                None => (self.element(relation), false),
            };
            let children = self.with_named_fields(part, &node.children);
            let member = node.member || (declared && !children.is_empty());
            named.insert(element.clone(), Node { member, children });
        }
        Set(named)
    }
}
