//! A step of a rollout, in each of the two strategies.

use super::super::size::{self, actual, available, max_surge, max_unavailable, replicas, wanted};
use super::Draft;

impl Draft {
    /// The size the new ReplicaSet may have, given its size now.
    pub(super) fn new_size(&self, size: i32) -> i32 {
        let wanted = replicas(&self.deployment);
        if !size::is_rolling(&self.deployment) {
            return wanted;
        }
        let room = wanted + max_surge(&self.deployment) - self.total();
        if room <= 0 {
            size
        } else {
            size + room.min(wanted - size)
        }
    }

    pub(super) fn roll(&mut self) {
        self.sync_revision(true);
        if !self.scale_up_new() {
            self.scale_down_old();
        }
    }

    /// Answers whether the new ReplicaSet was made or resized.
    fn scale_up_new(&mut self) -> bool {
        let Some(index) = self.new else { return false };
        if index >= self.before.len() {
            return wanted(&self.sets[index]) > 0;
        }
        let (size, target) = (wanted(&self.sets[index]), replicas(&self.deployment));
        let next = if size > target {
            target
        } else {
            self.new_size(size)
        };
        if next == size {
            return false;
        }
        self.resize(index, next);
        true
    }

    /// Takes old pods away as far as availability allows: first those that are not available anyway.
    fn scale_down_old(&mut self) {
        let old = self.old();
        let old_total: i32 = old.iter().map(|index| wanted(&self.sets[*index])).sum();
        if old_total == 0 {
            return;
        }
        let minimum = replicas(&self.deployment) - max_unavailable(&self.deployment);
        let new_missing = self.new_set().map_or(0, |set| wanted(set) - available(set));
        let most = self.total() - minimum - new_missing;
        if most <= 0 {
            return;
        }
        let mut left = most;
        for index in &old {
            let (size, available) = (wanted(&self.sets[*index]), available(&self.sets[*index]));
            let step = (size - available).clamp(0, left);
            if step > 0 {
                self.resize(*index, size - step);
                left -= step;
            }
        }
        let available_now: i32 = self.sets.iter().map(available).sum();
        let mut spare = available_now - minimum;
        for index in old {
            let size = wanted(&self.sets[index]);
            let step = size.min(spare);
            if step > 0 {
                self.resize(index, size - step);
                spare -= step;
            }
        }
    }

    pub(super) fn recreate(&mut self) {
        self.sync_revision(false);
        let mut stepped = false;
        for index in self.old() {
            if wanted(&self.sets[index]) > 0 {
                self.resize(index, 0);
                stepped = true;
            }
        }
        if stepped || self.old_pods_remain() {
            return;
        }
        self.sync_revision(true);
        if let Some(index) = self.new.filter(|index| *index < self.before.len())
            && wanted(&self.sets[index]) != replicas(&self.deployment)
        {
            self.resize(index, replicas(&self.deployment));
        }
    }

    fn old_pods_remain(&self) -> bool {
        self.old().into_iter().any(|index| {
            let set = &self.sets[index];
            actual(set) > 0
                || set
                    .metadata
                    .uid
                    .as_ref()
                    .is_some_and(|uid| self.sets_with_pods.contains(uid))
        })
    }
}
