//! Whether a configuration fits the schema: an apply refuses what it does not know.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::relation::{Path, Relation, Relations};

impl<'t> Relations<'t> {
    /// What does not fit, each with its path; empty when everything does.
    pub(super) fn check(self, relation: Relation<'t>, at: &Path<'_>, value: &Value) -> Vec<String> {
        let mut problems = Vec::new();
        self.check_value(relation, at, value, &mut problems);
        problems
    }

    fn check_value(self, relation: Relation<'t>, at: &Path<'_>, value: &Value, problems: &mut Vec<String>) {
        match (relation, value) {
            (_, Value::Null) | (Relation::Atomic | Relation::Deduced | Relation::DeducedObject, _) => {}
            (Relation::Struct(_) | Relation::Map(_), Value::Object(map)) => {
                self.check_map(relation, at, map, problems);
            }
            (Relation::ListMap(..) | Relation::Set, Value::Array(list)) => {
                self.check_list(relation, at, list, problems);
            }
            (Relation::Struct(_) | Relation::Map(_), _) => {
                problems.push(format!("{}: expected map, got {value}", at.shown()));
            }
            _ => problems.push(format!("{}: expected list, got {value}", at.shown())),
        }
    }

    fn check_map(
        self,
        relation: Relation<'t>,
        at: &Path<'_>,
        map: &Map<String, Value>,
        problems: &mut Vec<String>,
    ) {
        for (key, value) in map {
            let at = at.field(key);
            let (part, declared) = self.part(relation, key);
            if matches!(relation, Relation::Struct(_)) && !declared {
                problems.push(format!("{}: field not declared in schema", at.shown()));
            } else {
                self.check_value(part, &at, value, problems);
            }
        }
    }

    fn check_list(self, relation: Relation<'t>, at: &Path<'_>, list: &[Value], problems: &mut Vec<String>) {
        let mut seen = HashSet::new();
        for (index, value) in list.iter().enumerate() {
            match self.key(relation, value) {
                Err(problem) => problems.push(format!("{}: element {index}: {problem}", at.shown())),
                Ok(key) => {
                    self.check_value(self.element(relation), &at.element(&key), value, problems);
                    if !seen.insert(key.clone()) {
                        let key = super::set::shown(&key);
                        problems.push(format!("{}: duplicate entries for key {key}", at.shown()));
                    }
                }
            }
        }
    }
}
