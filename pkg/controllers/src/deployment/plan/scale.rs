//! A Deployment that was resized, or is paused: its ReplicaSets follow its size, and no rollout goes on.

use super::super::annotations::{self, DESIRED_REPLICAS};
use super::super::proportion;
use super::super::size::{self, available, replicas, wanted};
use super::{Draft, ReplicaSet};

impl Draft {
    /// Whether the size changed since the ReplicaSets were last scaled.
    pub(super) fn was_resized(&self) -> bool {
        let size = i64::from(replicas(&self.deployment));
        self.sets.iter().filter(|set| wanted(set) > 0).any(|set| {
            annotations::number(&set.metadata, DESIRED_REPLICAS).is_some_and(|desired| desired != size)
        })
    }

    /// Recreate never has pods of two ReplicaSets: where it has (somebody scaled an old one), there is
    /// nothing to scale in proportion, and the old ones go.
    pub(super) fn must_recreate(&self) -> bool {
        let active = self.sets.iter().filter(|set| wanted(set) > 0).count();
        active > 1 && !size::is_rolling(&self.deployment)
    }

    pub(super) fn scale(&mut self) {
        let size = replicas(&self.deployment);
        let active: Vec<usize> = (0..self.sets.len())
            .filter(|index| wanted(&self.sets[*index]) > 0)
            .collect();
        let only = match active.as_slice() {
            [] => self.new.or_else(|| self.old().last().copied()),
            [only] => Some(*only),
            _ => None,
        };
        if let Some(only) = only {
            return self.resize(only, size);
        }
        if self.is_saturated() {
            for index in self.old() {
                if wanted(&self.sets[index]) > 0 {
                    self.resize(index, 0);
                }
            }
        } else if size::is_rolling(&self.deployment) {
            let sets: Vec<&ReplicaSet> = active.iter().map(|index| &self.sets[*index]).collect();
            for (index, size) in active.iter().zip(proportion::sizes(&self.deployment, &sets)) {
                self.resize(*index, size);
            }
        }
    }

    /// The new ReplicaSet alone gives all that is wanted.
    fn is_saturated(&self) -> bool {
        let size = replicas(&self.deployment);
        self.new_set().is_some_and(|set| {
            wanted(set) == size
                && available(set) == size
                && annotations::number(&set.metadata, DESIRED_REPLICAS) == Some(i64::from(size))
        })
    }
}
