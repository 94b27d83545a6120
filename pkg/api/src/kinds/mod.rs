//! A kind is a row: what the API server knows of a resource without code of its own.
//!
//! The built-in rows come from the committed table; a CustomResourceDefinition makes a row at run time.

mod parse;

use std::sync::{Arc, LazyLock};

use crate::schema::TypeId;

/// One resource in one version of its group.
#[derive(Clone, Debug)]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: Arc<str>,
    /// Version within the group, such as `v1`.
    pub version: Arc<str>,
    /// Name of the objects' type, such as `Deployment`.
    pub kind: Arc<str>,
    /// Name of the lists' type, such as `DeploymentList`; empty when the resource cannot be listed.
    pub list_kind: Arc<str>,
    /// Resource name in URLs, such as `deployments`.
    pub plural: Arc<str>,
    /// Resource name for one object, such as `deployment`.
    pub singular: Arc<str>,
    /// Short names kubectl accepts, such as `deploy`.
    pub short_names: Vec<Arc<str>>,
    /// Groups of resources this one belongs to, such as `all`.
    pub categories: Vec<Arc<str>>,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// Verbs the resource answers, sorted, as discovery names them.
    pub verbs: Vec<Arc<str>>,
    /// Subresources, sorted by name.
    pub subresources: Vec<Subresource>,
    /// Type of the objects; `None` for a custom resource without a schema.
    pub schema: Option<TypeId>,
    /// Type of the lists of objects; `None` when there is no list or no schema.
    pub list_schema: Option<TypeId>,
    /// What discovery publishes to tell storage versions apart; empty when nothing is stored.
    pub storage_version_hash: Arc<str>,
}

/// Something below an object, such as `pods/NAME/status`.
#[derive(Clone, Debug)]
pub struct Subresource {
    /// Last part of the path, such as `status`, `scale` or `binding`.
    pub name: Arc<str>,
    /// API group of the body.
    pub group: Arc<str>,
    /// Version of the body.
    pub version: Arc<str>,
    /// Kind of the body, such as `Scale` of autoscaling/v1.
    pub kind: Arc<str>,
    /// Verbs the subresource answers, sorted.
    pub verbs: Vec<Arc<str>>,
    /// Type of the body; `None` for options that travel in the query, and for custom resources without a schema.
    pub schema: Option<TypeId>,
}

/// An API group with the versions it is served in.
#[derive(Clone, Debug)]
pub struct Group {
    /// Name; empty for the core group.
    pub name: Arc<str>,
    /// Versions, the preferred one first.
    pub versions: Vec<Arc<str>>,
}

impl Kind {
    /// `apiVersion` of the objects: `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    /// `deployments.apps`, or `pods` in the core group, as upstream's messages name a resource.
    pub fn group_resource(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_string()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// The subresource of this name.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|sub| &*sub.name == name)
    }

    /// Whether the resource answers this verb.
    pub fn has_verb(&self, verb: &str) -> bool {
        self.verbs.iter().any(|known| &**known == verb)
    }
}

impl Subresource {
    /// `apiVersion` of the body.
    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    /// Whether the subresource answers this verb.
    pub fn has_verb(&self, verb: &str) -> bool {
        self.verbs.iter().any(|known| &**known == verb)
    }
}

/// `apiVersion` of a group and version.
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

struct Builtin {
    kinds: Vec<Arc<Kind>>,
    groups: Vec<Group>,
}

static BUILTIN: LazyLock<Builtin> = LazyLock::new(|| {
    let kinds = parse::kinds(crate::schema::TABLE);
    let groups = groups_of(&kinds);
    Builtin { kinds, groups }
});

/// Every resource of every stable group that Kubernetes 1.36 serves, group by group in discovery's order,
/// a group's preferred version first, resources sorted by name.
pub fn builtin() -> &'static [Arc<Kind>] {
    &BUILTIN.kinds
}

/// The built-in groups in discovery's order, the core group first.
pub fn groups() -> &'static [Group] {
    &BUILTIN.groups
}

/// The built-in kind of this group, version and object type.
pub fn find_kind(group: &str, version: &str, kind: &str) -> Option<&'static Arc<Kind>> {
    builtin()
        .iter()
        .find(|row| &*row.kind == kind && &*row.group == group && &*row.version == version)
}

/// The built-in kind of this group, version and resource name.
pub fn find_resource(group: &str, version: &str, plural: &str) -> Option<&'static Arc<Kind>> {
    builtin()
        .iter()
        .find(|row| &*row.plural == plural && &*row.group == group && &*row.version == version)
}

fn groups_of(kinds: &[Arc<Kind>]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for kind in kinds {
        let at = groups
            .iter()
            .position(|group| group.name == kind.group)
            .unwrap_or_else(|| {
                groups.push(Group {
                    name: kind.group.clone(),
                    versions: Vec::new(),
                });
                groups.len() - 1
            });
        let versions = &mut groups[at].versions;
        if !versions.contains(&kind.version) {
            versions.push(kind.version.clone());
        }
    }
    groups
}

#[cfg(test)]
mod tests;
