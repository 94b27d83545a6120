//! Merging a configuration into the live object.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::relation::{Pair, Relation, Relations, pair};

impl<'t> Relations<'t> {
    /// The live value with the applied one merged in. At least one must be there.
    pub(super) fn merge(
        self,
        relation: Relation<'t>,
        live: Option<&Value>,
        applied: Option<&Value>,
    ) -> Option<Value> {
        match pair(relation, live, applied) {
            Pair::Leaf => applied.or(live).cloned(),
            Pair::Maps(live, applied) => Some(Value::Object(self.merge_maps(relation, live, applied))),
            Pair::Lists(live, applied) => Some(Value::Array(self.merge_lists(relation, live, applied))),
        }
    }

    fn merge_maps(
        self,
        relation: Relation<'t>,
        live: Option<&Map<String, Value>>,
        applied: Option<&Map<String, Value>>,
    ) -> Map<String, Value> {
        let mut merged = Map::new();
        for (key, value) in live.into_iter().flatten() {
            let applied = applied.and_then(|applied| applied.get(key));
            let value = self.merge(self.part(relation, key).0, Some(value), applied);
            merged.extend(value.map(|value| (key.clone(), value)));
        }
        for (key, value) in applied.into_iter().flatten() {
            if !merged.contains_key(key) {
                let value = self.merge(self.part(relation, key).0, None, Some(value));
                merged.extend(value.map(|value| (key.clone(), value)));
            }
        }
        merged
    }

    /// Elements of both in the applied order; the live list's own ones keep their places between them.
    fn merge_lists(self, relation: Relation<'t>, live: &[Value], applied: &[Value]) -> Vec<Value> {
        let element = self.element(relation);
        let live = Keyed::new(self, relation, live);
        let applied = Keyed::new(self, relation, applied);
        let mut shared = applied.keys.iter().filter(|key| live.has(key)).peekable();
        let mut merged = Vec::with_capacity(live.keys.len().max(applied.keys.len()));
        let mut done = HashSet::new();
        let (mut own, mut next) = (0, 0);
        while own < live.keys.len() || next < applied.keys.len() {
            let wanted = applied.keys.get(next);
            if let Some(key) = live.keys.get(own) {
                let out_of_turn = wanted.is_some_and(|wanted| wanted != key)
                    && applied.has(key)
                    && shared.peek().is_some_and(|shared| *shared != key);
                if !applied.has(key) {
                    merged.push(live.list[own].clone());
                    own += 1;
                    continue;
                }
                if out_of_turn {
                    own += 1;
                    continue;
                }
                if wanted == Some(key) || done.contains(key) {
                    own += 1;
                }
            }
            if let Some(key) = wanted {
                merged.extend(self.merge(element, live.unique(key), applied.unique(key)));
                done.insert(key);
                next += 1;
                shared.next_if_eq(&key);
            }
        }
        merged
    }
}

/// A list with its elements' keys; elements without a key are left out.
struct Keyed<'v> {
    keys: Vec<String>,
    list: Vec<&'v Value>,
    /// Elements by key; `None` for those that cannot be told apart.
    values: HashMap<String, Option<&'v Value>>,
}

impl<'v> Keyed<'v> {
    fn new<'t>(relations: Relations<'t>, relation: Relation<'t>, elements: &'v [Value]) -> Keyed<'v> {
        let mut keyed = Keyed {
            keys: Vec::new(),
            list: Vec::new(),
            values: HashMap::new(),
        };
        for element in elements {
            let Ok(key) = relations.key(relation, element) else {
                continue;
            };
            keyed
                .values
                .entry(key.clone())
                .and_modify(|value| *value = None)
                .or_insert(Some(element));
            keyed.keys.push(key);
            keyed.list.push(element);
        }
        keyed
    }

    fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    fn unique(&self, key: &str) -> Option<&'v Value> {
        self.values.get(key).copied().flatten()
    }
}
