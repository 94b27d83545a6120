//! The entries of `metadata.managedFields`.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::Operation;
use super::set::Set;

/// Managers of updates an object may have; older ones are put together.
const MOST_UPDATERS: usize = 10;
/// Name of those put together.
const ANCIENT: &str = "ancient-changes";

/// Who manages: entries of one identity are one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manager {
    pub(super) name: String,
    pub(super) operation: Operation,
    pub(super) api_version: String,
    pub(super) subresource: String,
}

impl Manager {
    /// Whether both are one; an applier is the same in every version.
    pub(super) fn same(&self, other: &Manager) -> bool {
        self.name == other.name
            && self.operation == other.operation
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }

    /// How messages name the manager.
    pub(super) fn shown(&self) -> String {
        let mut text = format!("{:?}", self.name);
        if !self.subresource.is_empty() {
            text.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if self.operation == Operation::Update {
            text.push_str(&format!(" using {}", self.api_version));
        }
        text
    }
}

/// What a manager owns, and since when.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) manager: Manager,
    /// RFC 3339 with seconds, which sorts as text.
    pub(super) time: Option<String>,
    pub(super) fields: Set,
}

/// All owners of an object's fields.
#[derive(Clone, Debug, Default)]
pub(super) struct Managers(pub(super) Vec<Entry>);

impl Managers {
    /// Reads `metadata.managedFields`; entries that are none are skipped.
    pub(super) fn from_json(json: Value) -> Managers {
        match json {
            Value::Array(entries) => Managers(entries.into_iter().filter_map(entry_from_json).collect()),
            _ => Managers::default(),
        }
    }

    pub(super) fn position(&self, manager: &Manager) -> Option<usize> {
        self.0.iter().position(|entry| entry.manager.same(manager))
    }

    /// The entry of a manager, made if need be.
    pub(super) fn entry(&mut self, manager: &Manager) -> &mut Entry {
        let at = self.position(manager).unwrap_or_else(|| {
            self.0.push(Entry {
                manager: manager.clone(),
                time: None,
                fields: Set::default(),
            });
            self.0.len() - 1
        });
        &mut self.0[at]
    }

    /// Entries that own nothing go.
    pub(super) fn drop_empty(&mut self) {
        self.0.retain(|entry| !entry.fields.is_empty());
    }

    /// Puts the oldest updaters of each version together when there are too many.
    pub(super) fn cap(&mut self) {
        let is_updater = |entry: &Entry| entry.manager.operation == Operation::Update;
        let mut updaters = self.0.iter().filter(|entry| is_updater(entry)).count();
        if updaters <= MOST_UPDATERS {
            return;
        }
        self.0
            .sort_by(|a, b| (is_updater(a), &a.time).cmp(&(is_updater(b), &b.time)));
        let mut at = self.0.partition_point(|entry| !is_updater(entry));
        while updaters > MOST_UPDATERS && at < self.0.len() {
            let version = &self.0[at].manager.api_version;
            let older = self.0[..at]
                .iter()
                .position(|entry| is_updater(entry) && entry.manager.api_version == *version);
            let Some(older) = older else {
                at += 1;
                continue;
            };
            let entry = self.0.remove(at);
            let bucket = &mut self.0[older];
            bucket.manager.name = ANCIENT.to_owned();
            bucket.manager.subresource.clear();
            bucket.fields.union(&entry.fields);
            bucket.time = entry.time;
            updaters -= 1;
        }
    }

    /// Writes `metadata.managedFields` in upstream's order.
    pub(super) fn into_json(mut self) -> Value {
        self.0.sort_by(|a, b| {
            let key = |entry: &Entry| {
                (
                    entry.manager.operation,
                    entry.time.clone(),
                    entry.manager.name.clone(),
                )
            };
            key(a).cmp(&key(b)).then_with(|| {
                (&a.manager.api_version, &a.manager.subresource)
                    .cmp(&(&b.manager.api_version, &b.manager.subresource))
            })
        });
        self.0.into_iter().map(entry_to_json).collect()
    }
}

fn entry_from_json(mut json: Value) -> Option<Entry> {
    if !json.is_object() {
        return None;
    }
    let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
    let operation = match json["operation"].as_str()? {
        "Apply" => Operation::Apply,
        "Update" => Operation::Update,
        _ => return None,
    };
    let manager = Manager {
        name: text("manager"),
        operation,
        api_version: text("apiVersion"),
        subresource: text("subresource"),
    };
    let time = json["time"].as_str().map(str::to_owned);
    Some(Entry {
        manager,
        time,
        fields: Set::from_json(json["fieldsV1"].take()),
    })
}

fn entry_to_json(entry: Entry) -> Value {
    let operation = match entry.manager.operation {
        Operation::Apply => "Apply",
        Operation::Update => "Update",
    };
    let mut json = Map::new();
    let mut put = |name: &str, value: Value| json.insert(name.to_owned(), value);
    put("apiVersion", entry.manager.api_version.into());
    put("fieldsType", "FieldsV1".into());
    put("fieldsV1", entry.fields.into_json());
    put("manager", entry.manager.name.into());
    put("operation", operation.into());
    if !entry.manager.subresource.is_empty() {
        put("subresource", entry.manager.subresource.into());
    }
    if let Some(time) = entry.time {
        put("time", time.into());
    }
    Value::Object(json)
}

/// A time as entries have it.
pub(super) fn time_text(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
