//! Quotas: what a namespace may hold, counted by the writes themselves.
//!
//! ```text
//! create, update, delete ─ plan::charge ─ one commit: the object, and `used` of each quota it counts for
//! a quota's own write    ─ measure ─ `used` counted anew from what is there
//! ```
//!
//! **Invariant**: `status.used` and the objects it counts change in the same commit, so neither a crash
//! nor a refused write can part them. Writes that count take turns (the lock in [`Turns`]); where a
//! namespace has no quota there is nothing to wait for.

mod plan;
pub mod usage;

use kobune_api::meta;
use kobune_api::quantity::Quantity;
use kobune_api::status::Status;
use kobune_store::{Expect, Op};
use serde_json::{Map, Value, json};
use tokio::sync::{Mutex, MutexGuard};

use crate::amounts::{Amounts, add, read};
use crate::object::{at, fields};
use crate::registry::call::Call;
use crate::registry::encode::encode;
use plan::Change;

const QUOTAS: &str = "/registry/core/resourcequotas/";

/// Whose turn it is to change what quotas count.
#[derive(Default)]
pub struct Turns(Mutex<()>);

/// The writes to quotas that belong to a write of an object; until it is dropped, nobody else counts.
#[derive(Default)]
pub struct Charges<'a> {
    /// To be committed with the object.
    pub ops: Vec<Op>,
    _turn: Option<MutexGuard<'a, ()>>,
}

/// What the write of an object in `namespace` means to the quotas there: 403 if it is too much. With
/// `enforced` unset it is counted and never refused.
pub async fn charge<'a>(
    call: &Call<'a>,
    namespace: &str,
    old: Option<&Value>,
    new: Option<&Value>,
    enforced: bool,
) -> Result<Charges<'a>, Status> {
    let kind = &*call.row.kind;
    let unmoved = old.is_some() && new.is_some() && !usage::is_measured(kind);
    if !kind.namespaced || unmoved || &*kind.plural == "events" {
        return Ok(Charges::default());
    }
    let prefix = format!("{QUOTAS}{namespace}/");
    let store = &call.server.store;
    if store.snapshot().range(&prefix, None).next().is_none() {
        return Ok(Charges::default());
    }
    let turn = call.server.turns.0.lock().await;
    let change = Change {
        kind,
        old,
        new,
        enforced,
    };
    let own = old
        .or(new)
        .map(|object| call.row.key(namespace, meta::name(object)));
    let mut ops = Vec::new();
    for record in store.snapshot().range(&prefix, None) {
        // A quota's own write counts anew what it counts.
        if own.as_ref() == Some(&record.key) {
            continue;
        }
        let mut quota: Value = serde_json::from_slice(&record.value)
            .map_err(|error| Status::internal(format!("stored object: {error}")))?;
        let used = plan::charge(&quota, change).map_err(|refusal| {
            let name = new.map_or("", meta::name);
            Status::forbidden(call.row.resource(), name, refusal.text(meta::name(&quota)))
        })?;
        if let Some(used) = used {
            fields(&mut quota, "status").insert("used".to_owned(), written(&used));
            ops.push(Op::Put {
                key: record.key.clone(),
                value: encode(&quota),
                expect: Expect::Revision(record.revision),
            });
        }
    }
    Ok(Charges {
        ops,
        _turn: Some(turn),
    })
}

fn written(amounts: &Amounts) -> Value {
    let each = amounts
        .iter()
        .map(|(name, amount)| (name.clone(), json!(amount.to_string())));
    Value::Object(each.collect::<Map<_, _>>())
}

/// A quota's status: its limits `hard`, and what is there of each. `new` says that the quota itself is
/// not there yet.
pub fn measure(call: &Call<'_>, quota: &Value, hard: Option<&Value>, new: bool) -> Value {
    let limits = read(hard);
    let snapshot = call.server.store.snapshot();
    let namespace = call.info.namespace;
    let mut counted = Amounts::new();
    let mut kinds: Vec<(&str, &str)> = limits.keys().filter_map(|name| kind_of(name)).collect();
    kinds.sort_unstable();
    kinds.dedup();
    for (group, plural) in kinds {
        let Some(row) = call.server.rows.named(group, plural) else {
            continue;
        };
        let prefix = row.collection(namespace);
        for record in snapshot.range(&prefix, None) {
            let object = if usage::is_measured(&row.kind) {
                serde_json::from_slice(&record.value).unwrap_or_default()
            } else {
                Value::Null
            };
            if usage::in_scope(&row.kind, quota, &object) {
                add(&mut counted, &usage::usage(&row.kind, &object));
            }
        }
        if new && row.is("", "resourcequotas") && usage::in_scope(&row.kind, quota, quota) {
            add(&mut counted, &usage::usage(&row.kind, quota));
        }
    }
    let used = limits.keys().map(|name| {
        let amount = counted.get(name).copied().unwrap_or(Quantity::ZERO);
        (name.clone(), amount)
    });
    let mut status = json!({"used": written(&used.collect())});
    if let Some(hard) = hard {
        status["hard"] = hard.clone();
    }
    status
}

/// The kind, by group and plural, that a quota's resource is about.
fn kind_of(resource: &str) -> Option<(&str, &str)> {
    if let Some(counted) = resource.strip_prefix("count/") {
        return Some(
            counted
                .split_once('.')
                .map_or(("", counted), |(plural, group)| (group, plural)),
        );
    }
    usage::measured_by(resource)
        .or_else(|| usage::alias("", resource))
        .map(|plural| ("", plural))
}

/// The limits that a write of a quota (`part` empty) or of its status sets.
pub fn limits_of<'q>(quota: &'q Value, part: &str) -> Option<&'q Value> {
    at(quota, &[if part == "status" { "status" } else { "spec" }, "hard"])
}
