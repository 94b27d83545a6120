//! The table of kinds: which resource is where, and what each does beside the rest.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use kobune_api::kinds::{self, Kind};
use kobune_api::status::GroupResource;

use crate::convert::{self, Convert};
use crate::strategy::{self, Facts, Strategy};

/// One resource in one version, ready to serve.
pub struct Row {
    /// What it is.
    pub kind: Arc<Kind>,
    /// What it differs in, as columns.
    pub facts: Facts,
    /// What it differs in, as code.
    pub strategy: &'static dyn Strategy,
    /// `/registry/{group or "core"}/{plural}/`
    pub prefix: Box<str>,
    /// How the stored version becomes this one, where the two differ.
    pub convert: Option<&'static dyn Convert>,
}

impl Row {
    fn new(kind: Arc<Kind>) -> Self {
        let (group, plural, convert) = convert::storage_of(&kind);
        let group = if group.is_empty() { "core" } else { group };
        let prefix = format!("/registry/{group}/{plural}/").into_boxed_str();
        Self {
            facts: strategy::facts(&kind),
            strategy: strategy::of(&kind),
            prefix,
            convert,
            kind,
        }
    }

    /// The key of one object.
    pub fn key(&self, namespace: &str, name: &str) -> Arc<str> {
        if self.kind.namespaced {
            format!("{}{namespace}/{name}", self.prefix).into()
        } else {
            format!("{}{name}", self.prefix).into()
        }
    }

    /// What the keys of a collection begin with.
    pub fn collection(&self, namespace: &str) -> String {
        if namespace.is_empty() || !self.kind.namespaced {
            self.prefix.to_string()
        } else {
            format!("{}{namespace}/", self.prefix)
        }
    }

    /// The resource as error messages name it.
    pub fn resource(&self) -> GroupResource<'_> {
        (&*self.kind.group, &*self.kind.plural).into()
    }

    /// Group and kind, as validation messages name them.
    pub fn group_kind(&self) -> (&str, &str) {
        (&self.kind.group, &self.kind.kind)
    }

    /// Whether this is the resource of that group and plural name, in any version.
    pub fn is(&self, group: &str, plural: &str) -> bool {
        &*self.kind.plural == plural && &*self.kind.group == group
    }
}

/// Rows by their plural name, which some groups share.
type ByPlural = HashMap<Box<str>, Vec<Arc<Row>>>;

/// Every row there is; custom resources come and go at run time.
pub struct Rows {
    by_plural: RwLock<Arc<ByPlural>>,
}

impl Rows {
    /// The built-in rows.
    pub fn builtin() -> Self {
        let mut by_plural = ByPlural::new();
        for kind in kinds::builtin() {
            let row = Arc::new(Row::new(kind.clone()));
            by_plural.entry((*kind.plural).into()).or_default().push(row);
        }
        Self {
            by_plural: RwLock::new(Arc::new(by_plural)),
        }
    }

    fn current(&self) -> Arc<ByPlural> {
        let rows = self.by_plural.read();
        rows.unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// A row of a resource, in whatever version.
    pub fn named(&self, group: &str, plural: &str) -> Option<Arc<Row>> {
        let rows = self.current();
        let mut same = rows.get(plural)?.iter();
        same.find(|row| &*row.kind.group == group).cloned()
    }

    /// The row of a resource in a version.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Row>> {
        let rows = self.current();
        let same = rows.get(plural)?.iter();
        let mut found = same.filter(|row| &*row.kind.group == group && &*row.kind.version == version);
        found.next().cloned()
    }
}
