//! Who owns whom, by uid.
//!
//! Only objects that take part in ownership are kept: those that have owners, those that others name as
//! owner, and those whose deletion waits for their dependents. Ten thousand objects without owners cost
//! nothing. A node that was named by a dependent but not seen itself is *virtual*: somebody has to ask the
//! API server whether it exists.
//!
//! Pure: changes go in, uids that need attention come out.

use std::collections::{HashMap, HashSet};

use kobune_client::k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

/// The finalizer by which a deletion waits for the dependents.
pub const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer by which a deletion waits until the dependents are let go.
pub const ORPHAN: &str = "orphan";

/// How to reach an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// `apps/v1`
    pub api_version: String,
    /// `ReplicaSet`
    pub kind: String,
    /// Empty for kinds of cluster scope. For a virtual node the namespace of the dependent that named it.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// One object.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where it is.
    pub identity: Identity,
    /// Whom it names as owners.
    pub owners: Vec<OwnerReference>,
    /// Uids of those that name it.
    pub dependents: HashSet<String>,
    /// Named by a dependent, not seen itself.
    pub is_virtual: bool,
    /// Has a deletionTimestamp.
    pub is_leaving: bool,
    /// Its deletion waits for its dependents.
    pub deletes_dependents: bool,
    /// Its deletion waits until its dependents are let go.
    pub orphans_dependents: bool,
}

/// One dependent that names an owner, as the owner's deletion sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependent {
    /// Its uid.
    pub uid: String,
    /// Where it is.
    pub identity: Identity,
    /// Whether the owner's foreground deletion waits for it.
    pub blocks: bool,
    /// Whether it waits for dependents of its own.
    pub deletes_dependents: bool,
}

/// All nodes.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: HashMap<String, Node>,
}

impl Graph {
    /// One node.
    pub fn get(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid)
    }

    /// How many nodes there are.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Those that name `uid` as owner.
    pub fn dependents(&self, uid: &str) -> Vec<Dependent> {
        let Some(owner) = self.nodes.get(uid) else {
            return Vec::new();
        };
        let dependent = |dependent: &String| {
            let node = self.nodes.get(dependent)?;
            let reference = node.owners.iter().find(|owner| owner.uid == uid)?;
            Some(Dependent {
                uid: dependent.clone(),
                identity: node.identity.clone(),
                blocks: reference.block_owner_deletion == Some(true),
                deletes_dependents: node.deletes_dependents,
            })
        };
        owner.dependents.iter().filter_map(dependent).collect()
    }

    /// An object was seen. Answers the uids that need attention.
    pub fn observe(&mut self, identity: Identity, meta: &ObjectMeta) -> Vec<String> {
        let Some(uid) = meta.uid.clone() else {
            return Vec::new();
        };
        let owners = meta.owner_references.clone().unwrap_or_default();
        let has = |name: &str| {
            meta.finalizers
                .iter()
                .flatten()
                .any(|finalizer| finalizer == name)
        };
        let is_leaving = meta.deletion_timestamp.is_some();
        let deletes_dependents = is_leaving && has(FOREGROUND);
        let orphans_dependents = is_leaving && has(ORPHAN);
        let known = self.nodes.contains_key(&uid);
        if !known && owners.is_empty() && !deletes_dependents && !orphans_dependents {
            return Vec::new();
        }
        let before = self.nodes.remove(&uid);
        let node = Node {
            identity,
            dependents: before
                .as_ref()
                .map(|node| node.dependents.clone())
                .unwrap_or_default(),
            owners,
            is_virtual: false,
            is_leaving,
            deletes_dependents,
            orphans_dependents,
        };
        let mut attention = Vec::new();
        self.link(&uid, &node, before.as_ref(), &mut attention);
        if deletes_dependents && !before.as_ref().is_some_and(|before| before.deletes_dependents) {
            attention.extend(node.dependents.iter().cloned());
        }
        if deletes_dependents || orphans_dependents {
            attention.push(uid.clone());
        }
        self.nodes.insert(uid.clone(), node);
        self.drop_if_idle(&uid);
        attention
    }

    /// An object is gone, or never was: its dependents need attention, and owners that wait for it.
    pub fn forget(&mut self, uid: &str) -> Vec<String> {
        let Some(node) = self.nodes.remove(uid) else {
            return Vec::new();
        };
        let mut attention: Vec<String> = node.dependents.iter().cloned().collect();
        for owner in &node.owners {
            self.unlink(uid, &owner.uid, &mut attention);
        }
        attention
    }

    /// A virtual node was asked for and exists.
    pub fn exists(&mut self, uid: &str) {
        if let Some(node) = self.nodes.get_mut(uid) {
            node.is_virtual = false;
        }
    }

    /// Enters the object at its owners; new owners come in as virtual nodes.
    fn link(&mut self, uid: &str, node: &Node, before: Option<&Node>, attention: &mut Vec<String>) {
        let old: &[OwnerReference] = before.map_or(&[], |before| &before.owners);
        for owner in old
            .iter()
            .filter(|old| !node.owners.iter().any(|new| new.uid == old.uid))
        {
            self.unlink(uid, &owner.uid, attention);
        }
        for owner in &node.owners {
            let at = self.nodes.entry(owner.uid.clone()).or_insert_with(|| {
                // Nobody has seen this owner: one look per owner, not per dependent.
                attention.push(owner.uid.clone());
                virtual_node(owner, &node.identity.namespace)
            });
            at.dependents.insert(uid.to_owned());
            if at.deletes_dependents {
                // It came, or stopped blocking, while its owner waits.
                attention.extend([uid.to_owned(), owner.uid.clone()]);
            }
            let is_new = !old.iter().any(|old| old.uid == owner.uid);
            let elsewhere =
                !at.identity.namespace.is_empty() && at.identity.namespace != node.identity.namespace;
            if is_new && elsewhere {
                // Named from another namespace: whether that is allowed depends on the owner's kind.
                attention.push(uid.to_owned());
            }
        }
    }

    fn unlink(&mut self, uid: &str, owner: &str, attention: &mut Vec<String>) {
        let Some(node) = self.nodes.get_mut(owner) else {
            return;
        };
        node.dependents.remove(uid);
        if node.deletes_dependents {
            attention.push(owner.to_owned());
        }
        self.drop_if_idle(owner);
    }

    /// A node that takes no part in ownership any more is not kept.
    fn drop_if_idle(&mut self, uid: &str) {
        let idle = self.nodes.get(uid).is_some_and(|node| {
            node.dependents.is_empty()
                && node.owners.is_empty()
                && !node.deletes_dependents
                && !node.orphans_dependents
        });
        if idle {
            self.nodes.remove(uid);
        }
    }
}

fn virtual_node(owner: &OwnerReference, namespace: &str) -> Node {
    Node {
        identity: Identity {
            api_version: owner.api_version.clone(),
            kind: owner.kind.clone(),
            namespace: namespace.to_owned(),
            name: owner.name.clone(),
        },
        owners: Vec::new(),
        dependents: HashSet::new(),
        is_virtual: true,
        is_leaving: false,
        deletes_dependents: false,
        orphans_dependents: false,
    }
}
