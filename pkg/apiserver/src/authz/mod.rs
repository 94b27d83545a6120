//! Authorization: who may do what.
//!
//! ```text
//! system:masters ─ nodes ─ the built-in rules of components ─ (RBAC's place) ─ no
//! ```

mod node;
mod rules;

use kobune_api::status::Status;
use kobune_pki::Identity;

use crate::http::info::RequestInfo;
use crate::registry::index::Selection;

/// What somebody wants to do; the words of upstream's `authorizer.Attributes`.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a> {
    /// Who.
    pub who: &'a Identity,
    /// `get`, `list`, … and for paths the HTTP method in small letters.
    pub verb: &'a str,
    /// Whether this is about a resource, not a path.
    pub is_resource: bool,
    /// The API group; empty for core.
    pub group: &'a str,
    /// The plural name.
    pub resource: &'a str,
    /// For example `status`; empty for the object itself.
    pub subresource: &'a str,
    /// Empty for cluster scope.
    pub namespace: &'a str,
    /// Empty for collections.
    pub name: &'a str,
    /// The path, where it is no resource.
    pub path: &'a str,
}

impl<'a> Attributes<'a> {
    /// What a request wants. A list or watch of one name counts as a request for that name.
    pub fn of(who: &'a Identity, info: &RequestInfo<'a>, path: &'a str) -> Self {
        Self {
            who,
            verb: info.verb.as_str(),
            is_resource: info.is_resource,
            group: info.group,
            resource: info.resource,
            subresource: info.subresource,
            namespace: info.namespace,
            name: info.name,
            path,
        }
    }

    /// The same for the one name that a selection names, if it does.
    #[must_use]
    pub fn selecting(mut self, selection: &'a Selection) -> Self {
        if self.name.is_empty() {
            self.name = selection.name().unwrap_or("");
        }
        self
    }
}

/// One link of the chain.
pub trait Authorizer: Send + Sync {
    /// Whether it allows this. No link denies: the next one is asked.
    fn allows(&self, wanted: &Attributes<'_>) -> bool;
}

/// The links, in the order in which they are asked.
pub struct Chain(Vec<Box<dyn Authorizer>>);

impl Chain {
    /// The chain of a cluster without RBAC; its place is the last one.
    pub fn new(store: kobune_store::Store) -> Self {
        Self(vec![
            Box::new(Masters),
            Box::new(node::Nodes::new(store)),
            Box::new(rules::Builtin),
        ])
    }

    /// A chain that lets nobody but the administrators do anything.
    #[cfg(test)]
    pub fn masters_only() -> Self {
        Self(vec![Box::new(Masters)])
    }

    /// Whether anybody allows this.
    pub fn allows(&self, wanted: &Attributes<'_>) -> bool {
        self.0.iter().any(|link| link.allows(wanted))
    }

    /// Refuses what nobody allows, in upstream's words.
    pub fn check(&self, wanted: &Attributes<'_>) -> Result<(), Status> {
        if self.allows(wanted) {
            Ok(())
        } else {
            Err(forbidden(wanted))
        }
    }
}

/// Members of `system:masters` may do everything.
struct Masters;

impl Authorizer for Masters {
    fn allows(&self, wanted: &Attributes<'_>) -> bool {
        wanted.who.is_in("system:masters")
    }
}

/// The message of a 403.
fn forbidden(wanted: &Attributes<'_>) -> Status {
    let user = &wanted.who.user;
    if !wanted.is_resource {
        let why = format!("User {user:?} cannot {} path {:?}", wanted.verb, wanted.path);
        return Status::forbidden(("", ""), "", why);
    }
    let resource = if wanted.subresource.is_empty() {
        wanted.resource.to_owned()
    } else {
        format!("{}/{}", wanted.resource, wanted.subresource)
    };
    let place = if wanted.namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace {:?}", wanted.namespace)
    };
    let why = format!(
        "User {user:?} cannot {} resource {resource:?} in API group {:?} {place}",
        wanted.verb, wanted.group
    );
    Status::forbidden((wanted.group, wanted.resource), wanted.name, why)
}
