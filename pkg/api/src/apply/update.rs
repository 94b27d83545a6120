//! The two kinds of writes and what they do to ownership.

use std::sync::LazyLock;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::attempt::{Apply, Refusal};
use super::compare::{Difference, compare};
use super::managers::{Manager, Managers, time_text};
use super::relation::{Path, Relation, Relations, field_key};
use super::set::Set;
use super::{ApplyError, Operation, last_applied};
use crate::decode::complete;
use crate::schema::{TypeId, Types};

/// Manager of the fields an object had when it was applied for the first time and nobody was known.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Paths nobody owns: the server writes them, or they name the object.
static NOBODYS: LazyLock<Set> = LazyLock::new(|| {
    let mut set = Set::default();
    for name in ["apiVersion", "kind", "metadata"] {
        set.insert(vec![field_key(name)]);
    }
    let names = [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
    ];
    for name in names {
        set.insert(vec![field_key("metadata"), field_key(name)]);
    }
    set
});

/// One write.
pub(super) struct Write<'w> {
    pub(super) root: Option<TypeId>,
    pub(super) manager: &'w str,
    pub(super) operation: Operation,
    pub(super) subresource: &'w str,
    pub(super) now: Timestamp,
}

impl Write<'_> {
    fn types(&self) -> Types {
        self.root.map_or_else(Types::builtin, Types::of)
    }

    pub(super) fn manager(&self, object: &Value) -> Manager {
        Manager {
            name: self.manager.to_owned(),
            operation: self.operation,
            api_version: object["apiVersion"].as_str().unwrap_or_default().to_owned(),
            subresource: self.subresource.to_owned(),
        }
    }

    /// What the path of the write does not write: the status, or everything but it.
    pub(super) fn unwritten(&self, relation: Relation<'_>) -> Set {
        let mut set = Set::default();
        if let Relation::Struct(ty) = relation
            && ty.field("status").is_some()
        {
            match self.subresource {
                "" => set.insert(vec![field_key("status")]),
                "status" => set.insert(vec![field_key("spec")]),
                _ => {}
            }
        }
        set
    }

    pub(super) fn strip(&self, relation: Relation<'_>, set: &mut Set) {
        set.subtract_trees(&self.unwritten(relation));
        set.subtract(&NOBODYS);
    }

    /// What an object is before it is created: the fields that are always there.
    fn nothing(&self) -> Value {
        let mut nothing = Value::Object(Map::new());
        if let Some(root) = self.root {
            complete(root, &mut nothing);
        }
        nothing
    }

    /// Ordinary writes.
    pub(super) fn track(&self, old: Option<&Value>, new: &mut Value) {
        let given = take_managed_fields(new);
        let source = self.tracked(old, given);
        if old.is_some() && source.is_null() {
            return;
        }
        let types = self.types();
        let relations = Relations::new(&types);
        let relation = relations.root(self.root);
        let nothing = if old.is_none() {
            self.nothing()
        } else {
            Value::Null
        };
        let mut difference = compare(relations, relation, old.unwrap_or(&nothing), new);
        self.strip(relation, &mut difference.changed);
        self.strip(relation, &mut difference.removed);
        if difference.is_empty() {
            set_managed_fields(new, source);
            return;
        }
        let mut managers = Managers::from_json(source);
        self.own(&mut managers, difference, &self.manager(new));
        managers.cap();
        set_managed_fields(new, managers.into_json());
    }

    /// The managedFields to go on from: a client may give them, but not by a subresource. Null when nobody
    /// tracks the object.
    fn tracked(&self, old: Option<&Value>, given: Value) -> Value {
        let of_old = old.map_or(&Value::Null, managed_fields);
        let chosen = match &given {
            Value::Array(entries)
                if !entries.is_empty() && (old.is_none() || self.subresource.is_empty()) =>
            {
                given
            }
            _ => of_old.clone(),
        };
        match &chosen {
            Value::Array(entries) if entries.is_empty() => Value::Null,
            // One empty entry is how clients ask to end the tracking.
            Value::Array(entries) if matches!(&entries[..], [Value::Object(one)] if one.values().all(Value::is_null)) => {
                Value::Null
            }
            _ => chosen,
        }
    }

    /// The manager takes what changed from the others.
    fn own(&self, managers: &mut Managers, difference: Difference, manager: &Manager) {
        for entry in managers.0.iter_mut().filter(|entry| !entry.manager.same(manager)) {
            entry.fields.subtract(&difference.changed);
            entry.fields.subtract(&difference.removed);
        }
        if let Some(at) = managers.position(manager) {
            managers.0[at].fields.subtract(&difference.removed);
        }
        if !difference.changed.is_empty() {
            let entry = managers.entry(manager);
            entry.fields.union(&difference.changed);
            entry.time = Some(time_text(self.now));
        }
        managers.drop_empty();
    }

    /// Server-side apply.
    pub(super) fn apply(
        &self,
        live: Option<&Value>,
        mut applied: Value,
        force: bool,
    ) -> Result<Value, ApplyError> {
        if !managed_fields(&applied).is_null() {
            return Err(ApplyError::ManagedFields);
        }
        set_managed_fields(&mut applied, Value::Null);
        let types = self.types();
        let relations = Relations::new(&types);
        let relation = relations.root(self.root);
        let problems = relations.check(relation, &Path::ROOT, &applied);
        if !problems.is_empty() {
            return Err(untyped(&applied, &problems));
        }
        let mut base = live.cloned().unwrap_or_else(|| Value::Object(Map::new()));
        set_managed_fields(&mut base, Value::Null);
        let apply = Apply {
            write: self,
            relations,
            relation,
            live: &base,
            applied: &applied,
        };
        let managers = self.managers_of(live, relations, relation);
        let mut object = match apply.run(managers.clone(), force) {
            Err(Refusal::Conflicts(conflicts)) => apply
                .run(managers, apply.only_annotated(conflicts)?)
                .map_err(Refusal::into_error)?,
            result => result.map_err(Refusal::into_error)?,
        };
        if self.manager == last_applied::MANAGER {
            last_applied::update(&base, &applied, &mut object);
        }
        Ok(object)
    }

    /// Who owns the live object's fields. Those of an object that nobody tracked get an owner.
    fn managers_of(
        &self,
        live: Option<&Value>,
        relations: Relations<'_>,
        relation: Relation<'_>,
    ) -> Managers {
        let Some(live) = live else {
            return Managers::default();
        };
        let mut managers = Managers::from_json(managed_fields(live).clone());
        if managers.0.is_empty() {
            let mut difference = compare(relations, relation, &self.nothing(), live);
            difference.changed.subtract(&NOBODYS);
            difference.removed = Set::default();
            let manager = Manager {
                name: BEFORE_FIRST_APPLY.to_owned(),
                operation: Operation::Update,
                subresource: String::new(),
                ..self.manager(live)
            };
            self.own(&mut managers, difference, &manager);
        }
        managers
    }
}

pub(super) fn managed_fields(object: &Value) -> &Value {
    &object["metadata"]["managedFields"]
}

fn take_managed_fields(object: &mut Value) -> Value {
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
    metadata
        .and_then(|metadata| metadata.remove("managedFields"))
        .unwrap_or_default()
}

pub(super) fn set_managed_fields(object: &mut Value, fields: Value) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    match fields {
        Value::Null => metadata.remove("managedFields"),
        Value::Array(list) if list.is_empty() => metadata.remove("managedFields"),
        fields => metadata.insert("managedFields".to_owned(), fields),
    };
}

fn untyped(applied: &Value, problems: &[String]) -> ApplyError {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (namespace, name) = (
        text(&applied["metadata"]["namespace"]),
        text(&applied["metadata"]["name"]),
    );
    let (api_version, kind) = (text(&applied["apiVersion"]), text(&applied["kind"]));
    let detail = match problems {
        [one] => one.clone(),
        many => format!("errors:\n  {}", many.join("\n  ")),
    };
    ApplyError::Untyped {
        object: format!("{namespace}/{name}; {api_version}, Kind={kind}"),
        detail,
    }
}
