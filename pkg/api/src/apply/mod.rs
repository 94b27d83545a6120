//! Who owns which field: server-side apply and `metadata.managedFields`.
//!
//! An object and the schema give a set of field paths ([`set::Set`]). Every writer ("manager") owns the paths it
//! wrote last. An apply merges the configuration into the live object, takes away what the same manager
//! applied before and nobody else owns, and conflicts when it would change what others own. Ordinary
//! writes take ownership of whatever they change ([`track_update`]).
//!
//! ```text
//!   configuration ──▶ field set ─┐                     ┌─▶ conflicts (unless forced)
//!   live ──▶ merge ──▶ prune ────┴▶ compare with live ─┴─▶ owners
//! ```

mod attempt;
mod check;
mod compare;
mod fields;
mod last_applied;
mod managers;
mod merge;
mod relation;
mod remove;
mod set;
mod update;

use jiff::Timestamp;
use serde_json::Value;

use crate::schema::TypeId;

/// What kind of write a manager does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Server-side apply.
    Apply,
    /// Every other write.
    Update,
}

/// A field that an apply would change and another manager owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The other manager as messages name it: `"kubectl" using apps/v1`.
    pub manager: String,
    /// Path of the field: `.spec.replicas`.
    pub field: String,
}

/// Why an apply is refused.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Others own fields that would change. Answered with 409 and a `FieldManagerConflict` cause for each.
    #[error("{}", conflict_message(.0))]
    Conflicts(Vec<Conflict>),
    /// The configuration has `metadata.managedFields`.
    #[error("metadata.managedFields must be nil")]
    ManagedFields,
    /// The configuration does not fit the schema.
    #[error("failed to create typed patch object ({object}): {detail}")]
    Untyped {
        /// Name, version and kind of the object.
        object: String,
        /// What does not fit, and where.
        detail: String,
    },
    /// The merged object cannot be read.
    #[error("{0}")]
    Invalid(String),
}

/// Upstream's message for conflicts.
fn conflict_message(conflicts: &[Conflict]) -> String {
    if let [conflict] = conflicts {
        return format!(
            "Apply failed with 1 conflict: conflict with {}: {}",
            conflict.manager, conflict.field
        );
    }
    let mut managers: Vec<&str> = conflicts.iter().map(|conflict| &*conflict.manager).collect();
    managers.sort_unstable();
    managers.dedup();
    let mut lines = Vec::new();
    for manager in managers {
        lines.push(format!("conflicts with {manager}:"));
        let own = conflicts.iter().filter(|conflict| conflict.manager == manager);
        lines.extend(own.map(|conflict| format!("- {}", conflict.field)));
    }
    format!(
        "Apply failed with {} conflicts: {}",
        conflicts.len(),
        lines.join("\n")
    )
}

/// Applies a configuration to the live object (`None` when there is none) and gives the object to store,
/// pruned, with its managedFields. Without a schema (`root`) maps are merged and lists replaced.
pub fn server_side_apply(
    root: Option<TypeId>,
    live: Option<&Value>,
    applied: Value,
    manager: &str,
    force: bool,
    subresource: &str,
    now: Timestamp,
) -> Result<Value, ApplyError> {
    update::Write {
        root,
        manager,
        operation: Operation::Apply,
        subresource,
        now,
    }
    .apply(live, applied, force)
}

/// Brings the managedFields of an object that is about to be written up to date: the manager owns what
/// differs from the old object (`None` on a create). An object that nobody tracks stays so.
pub fn track_update(
    root: Option<TypeId>,
    old: Option<&Value>,
    new: &mut Value,
    manager: &str,
    operation: Operation,
    subresource: &str,
    now: Timestamp,
) {
    update::Write {
        root,
        manager,
        operation,
        subresource,
        now,
    }
    .track(old, new);
}

#[cfg(test)]
mod tests;
