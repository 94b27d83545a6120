//! Sets of field paths, in the form managedFields keep them (`FieldsV1`).
//!
//! A path's elements are their texts there: `f:name` a field, `k:{"name":"a"}` an element of a list with keys,
//! `v:"x"` an element of a set.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde_json::{Map, Value};

/// A set of paths.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Set(pub(super) BTreeMap<String, Node>);

/// A path's last element: whether the path itself is in the set, and what is below it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Node {
    pub(super) member: bool,
    pub(super) children: Set,
}

impl Node {
    pub(super) fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }
}

impl Set {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads `fieldsV1`; what is not a path is skipped.
    pub(super) fn from_json(json: Value) -> Set {
        let Value::Object(map) = json else {
            return Set::default();
        };
        let of = |(element, below): (String, Value)| {
            let own = below.get(".").is_some();
            let children = Set::from_json(below);
            (
                element,
                Node {
                    member: own || children.is_empty(),
                    children,
                },
            )
        };
        Set(map
            .into_iter()
            .filter(|(element, _)| element != ".")
            .map(of)
            .collect())
    }

    /// Writes `fieldsV1`.
    pub(super) fn into_json(self) -> Value {
        let of = |(element, node): (String, Node)| {
            let mut below = node.children.into_json();
            if let Value::Object(below) = &mut below
                && node.member
                && !below.is_empty()
            {
                below.insert(".".to_owned(), Value::Object(Map::new()));
            }
            (element, below)
        };
        Value::Object(self.0.into_iter().map(of).collect())
    }

    /// Adds a path; the empty path is no member of any set.
    pub(super) fn insert(&mut self, path: Vec<String>) {
        let mut elements = path.into_iter().peekable();
        let mut set = self;
        while let Some(element) = elements.next() {
            let node = set.0.entry(element).or_default();
            if elements.peek().is_none() {
                node.member = true;
                return;
            }
            set = &mut node.children;
        }
    }

    pub(super) fn union(&mut self, other: &Set) {
        for (element, node) in &other.0 {
            match self.0.entry(element.clone()) {
                Entry::Vacant(entry) => {
                    entry.insert(node.clone());
                }
                Entry::Occupied(mut entry) => {
                    entry.get_mut().member |= node.member;
                    entry.get_mut().children.union(&node.children);
                }
            }
        }
    }

    /// Takes away the paths of `other`; what is below them stays.
    pub(super) fn subtract(&mut self, other: &Set) {
        self.0.retain(|element, node| {
            if let Some(other) = other.0.get(element) {
                node.member &= !other.member;
                node.children.subtract(&other.children);
            }
            !node.is_empty()
        });
    }

    /// Takes away the paths of `other` and what is below them.
    pub(super) fn subtract_trees(&mut self, other: &Set) {
        self.0.retain(|element, node| match other.0.get(element) {
            Some(other) if other.member => false,
            Some(other) => {
                node.children.subtract_trees(&other.children);
                !node.is_empty()
            }
            None => true,
        });
    }

    /// The paths in both.
    pub(super) fn intersection(&self, other: &Set) -> Set {
        let mut both = Set::default();
        for (element, node) in &self.0 {
            let Some(other) = other.0.get(element) else {
                continue;
            };
            let children = node.children.intersection(&other.children);
            let node = Node {
                member: node.member && other.member,
                children,
            };
            if !node.is_empty() {
                both.0.insert(element.clone(), node);
            }
        }
        both
    }

    /// Whether no path is in both.
    pub(super) fn is_disjoint(&self, other: &Set) -> bool {
        self.0.iter().all(|(element, node)| {
            other.0.get(element).is_none_or(|other| {
                !(node.member && other.member) && node.children.is_disjoint(&other.children)
            })
        })
    }

    /// The paths as messages show them: `.spec.containers[name="a"].image`.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect("", &mut paths);
        paths
    }

    fn collect(&self, prefix: &str, paths: &mut Vec<String>) {
        for (element, node) in &self.0 {
            let path = format!("{prefix}{}", shown(element));
            if node.member {
                paths.push(path.clone());
            }
            node.children.collect(&path, paths);
        }
    }
}

/// An element as messages show it.
pub(super) fn shown(element: &str) -> String {
    match element.split_once(':') {
        Some(("k", keys)) => {
            let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            let keys: Vec<String> = keys
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            format!("[{}]", keys.join(","))
        }
        Some(("v", value)) => format!("[={value}]"),
        Some(("i", index)) => format!("[{index}]"),
        Some((_, name)) => format!(".{name}"),
        None => element.to_owned(),
    }
}
