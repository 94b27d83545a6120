//! One attempt to apply a configuration.

use serde_json::Value;

use super::compare::{Difference, compare};
use super::managers::{Manager, Managers, time_text};
use super::relation::{Relation, Relations};
use super::set::Set;
use super::update::{Write, set_managed_fields};
use super::{ApplyError, Conflict, last_applied};
use crate::decode::{FieldValidation, prune_and_check};

/// Why one attempt to apply failed.
pub(super) enum Refusal {
    /// By manager, the paths it owns.
    Conflicts(Vec<(Manager, Set)>),
    Error(ApplyError),
}

impl Refusal {
    pub(super) fn into_error(self) -> ApplyError {
        match self {
            Refusal::Conflicts(conflicts) => conflicts_error(&conflicts),
            Refusal::Error(error) => error,
        }
    }
}

fn conflicts_error(conflicts: &[(Manager, Set)]) -> ApplyError {
    let each = conflicts.iter().flat_map(|(manager, set)| {
        let manager = manager.shown();
        set.paths().into_iter().map(move |field| Conflict {
            manager: manager.clone(),
            field,
        })
    });
    ApplyError::Conflicts(each.collect())
}

/// One apply under way.
pub(super) struct Apply<'a, 't> {
    pub(super) write: &'a Write<'a>,
    pub(super) relations: Relations<'t>,
    pub(super) relation: Relation<'t>,
    pub(super) live: &'a Value,
    pub(super) applied: &'a Value,
}

impl Apply<'_, '_> {
    pub(super) fn run(&self, mut managers: Managers, force: bool) -> Result<Value, Refusal> {
        let Apply {
            write,
            relations,
            relation,
            ..
        } = self;
        let me = write.manager(self.applied);
        let merged = relations.merge(*relation, Some(self.live), Some(self.applied));
        let mut merged = merged.unwrap_or_else(|| self.applied.clone());
        let mut mine = relations.field_set(*relation, self.applied);
        mine.subtract_trees(&write.unwritten(*relation));
        let entry = managers.entry(&me);
        let before = std::mem::replace(&mut entry.fields, mine);
        entry.manager.api_version.clone_from(&me.api_version);
        // The name and what holds it are nobody's in managedFields, but not to be pruned.
        self.prune(&mut merged, &managers, &before);
        write.strip(*relation, &mut managers.entry(&me).fields);
        if let Some(root) = write.root {
            prune_and_check(root, &mut merged, FieldValidation::Ignore)
                .map_err(|error| Refusal::Error(ApplyError::Invalid(error.to_string())))?;
        }
        let mut difference = compare(*relations, *relation, self.live, &merged);
        difference.changed.subtract_trees(&write.unwritten(*relation));
        difference.removed.subtract_trees(&write.unwritten(*relation));
        let changed = !difference.is_empty();
        if !force {
            self.find_conflicts(&managers, &me, &difference)?;
        }
        for other in managers.0.iter_mut().filter(|entry| !entry.manager.same(&me)) {
            other.fields.subtract(&difference.changed);
            other.fields.subtract(&difference.removed);
        }
        let entry = managers.entry(&me);
        if changed || entry.time.is_none() || entry.fields != before {
            entry.time = Some(time_text(write.now));
        }
        managers.drop_empty();
        managers.cap();
        set_managed_fields(&mut merged, managers.into_json());
        Ok(merged)
    }

    fn find_conflicts(
        &self,
        managers: &Managers,
        me: &Manager,
        difference: &Difference,
    ) -> Result<(), Refusal> {
        let mut conflicts = Vec::new();
        for other in managers.0.iter().filter(|entry| !entry.manager.same(me)) {
            if !other.fields.is_disjoint(&difference.changed) {
                conflicts.push((
                    other.manager.clone(),
                    other.fields.intersection(&difference.changed),
                ));
            }
        }
        if conflicts.is_empty() {
            Ok(())
        } else {
            Err(Refusal::Conflicts(conflicts))
        }
    }

    /// Takes out what this manager applied before and does not now, unless somebody else owns it.
    fn prune(&self, merged: &mut Value, managers: &Managers, before: &Set) {
        if before.is_empty() {
            return;
        }
        let Apply {
            relations, relation, ..
        } = self;
        let named = |set: &Set| relations.with_named_fields(*relation, set);
        let all = named(&relations.field_set(*relation, merged));
        let before = named(before);
        let mut pruned = merged.clone();
        relations.remove(*relation, &mut pruned, &before);
        let mut kept = named(&relations.field_set(*relation, &pruned));
        for entry in &managers.0 {
            kept.union(&named(&entry.fields));
        }
        // What went with the pruned paths but is owned by others comes back, ...
        let mut gone = all.clone();
        gone.subtract(&kept);
        let mut pruned = merged.clone();
        relations.remove(*relation, &mut pruned, &gone);
        // ... and so does what went with them and was not this manager's.
        let mut gone = all;
        gone.subtract(&named(&relations.field_set(*relation, &pruned)));
        relations.remove(*relation, merged, &gone.intersection(&before));
    }

    /// Conflicts with kubectl's client-side self are none; `true` (force) when all are such.
    pub(super) fn only_annotated(&self, mut conflicts: Vec<(Manager, Set)>) -> Result<bool, ApplyError> {
        if self.write.manager == last_applied::MANAGER {
            let allowed = last_applied::allowed(self.relations, self.relation, self.live);
            conflicts.iter_mut().for_each(|(_, set)| set.subtract(&allowed));
            conflicts.retain(|(_, set)| !set.is_empty());
        }
        if conflicts.is_empty() {
            Ok(true)
        } else {
            Err(conflicts_error(&conflicts))
        }
    }
}
