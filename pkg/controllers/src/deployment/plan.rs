//! Decides one step of a Deployment: which ReplicaSets to make, resize or remove, and what the status says.
//! Pure: the same observation gives the same plan.
//!
//! ```text
//! paused or resized ──> scale (proportionally) ──┐
//! Recreate ──> old to 0 ── no old pods ──> new up ├──> status, deadline
//! RollingUpdate ──> new up, else old down ────────┘
//! ```
//!
//! Each round takes at most one step up or down; the ReplicaSets' status changes lead to the next.

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;
use kobune_client::k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet, ReplicaSetSpec};
use kobune_client::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::annotations::{self, DESIRED_REPLICAS, REVISION};
use super::progress::{self, reason};
use super::size::{self, actual, available, max_surge, max_unavailable, replicas, wanted};
use super::{history, proportion, template};
use crate::owner;

/// What was seen.
pub struct Observed {
    /// The Deployment.
    pub deployment: Deployment,
    /// The ReplicaSets it controls.
    pub sets: Vec<ReplicaSet>,
    /// Uids of ReplicaSets that have a pod which has not ended (Recreate waits for them).
    pub sets_with_pods: HashSet<String>,
    /// The clock.
    pub now: Timestamp,
}

/// What to do with one ReplicaSet.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// Make the ReplicaSet of the template.
    Create(Box<ReplicaSet>),
    /// Write a changed ReplicaSet; `from` is its size before if that changed.
    Update { set: Box<ReplicaSet>, from: Option<i32> },
    /// Remove a ReplicaSet that the history no longer needs.
    Delete(Box<ReplicaSet>),
}

/// One round.
#[derive(Debug)]
pub struct Plan {
    /// In this order.
    pub steps: Vec<Step>,
    /// The Deployment's revision annotation, if it has to change.
    pub revision: Option<String>,
    /// The status to write if it differs.
    pub status: DeploymentStatus,
    /// When to look again although nothing changed.
    pub deadline: Option<Duration>,
}

/// Decides the round.
pub fn plan(observed: Observed) -> Plan {
    let mut draft = Draft::new(observed);
    let spec = draft.deployment.spec.clone().unwrap_or_default();
    if draft.deployment.metadata.deletion_timestamp.is_some() {
        let status = draft.counted();
        return draft.finish(status);
    }
    draft.note_pause();
    let paused = spec.paused.unwrap_or_default();
    let status = if paused || (draft.was_resized() && !draft.must_recreate()) {
        draft.sync_revision(false);
        draft.scale();
        let status = draft.counted();
        if paused {
            draft.clean_up();
        }
        status
    } else {
        match size::is_rolling(&draft.deployment) {
            true => draft.roll(),
            false => draft.recreate(),
        }
        let status = draft.rolling();
        if progress::is_complete(&draft.deployment, &status) {
            draft.clean_up();
        }
        status
    };
    draft.finish(status)
}

struct Draft {
    deployment: Deployment,
    before: Vec<ReplicaSet>,
    sets: Vec<ReplicaSet>,
    /// Index of the ReplicaSet of the current template.
    new: Option<usize>,
    deleted: Vec<ReplicaSet>,
    sets_with_pods: HashSet<String>,
    now: Timestamp,
}

impl Draft {
    fn new(observed: Observed) -> Self {
        let Observed {
            deployment,
            mut sets,
            sets_with_pods,
            now,
        } = observed;
        sets.sort_by(|a, b| {
            let age = |set: &ReplicaSet| set.metadata.creation_timestamp.clone();
            age(a)
                .cmp(&age(b))
                .then_with(|| a.metadata.name.cmp(&b.metadata.name))
        });
        let new = template::current(&deployment, &sets).and_then(|current| {
            sets.iter()
                .position(|set| set.metadata.name == current.metadata.name)
        });
        Draft {
            deployment,
            before: sets.clone(),
            sets,
            new,
            deleted: Vec::new(),
            sets_with_pods,
            now,
        }
    }

    fn new_set(&self) -> Option<&ReplicaSet> {
        self.new.map(|index| &self.sets[index])
    }

    /// Indices of the other ReplicaSets, oldest first.
    fn old(&self) -> Vec<usize> {
        (0..self.sets.len())
            .filter(|index| Some(*index) != self.new)
            .collect()
    }

    fn total(&self) -> i32 {
        self.sets.iter().map(wanted).sum()
    }

    fn note_pause(&mut self) {
        let mut status = self.deployment.status.clone().unwrap_or_default();
        progress::note_pause(&self.deployment, &mut status, self.now);
        self.deployment.status = Some(status);
    }

    /// Whether the size changed since the ReplicaSets were last scaled.
    fn was_resized(&self) -> bool {
        let size = i64::from(replicas(&self.deployment));
        self.sets.iter().filter(|set| wanted(set) > 0).any(|set| {
            annotations::number(&set.metadata, DESIRED_REPLICAS).is_some_and(|desired| desired != size)
        })
    }

    /// Recreate never has pods of two ReplicaSets: where it has (somebody scaled an old one), there is
    /// nothing to scale in proportion, and the old ones go.
    fn must_recreate(&self) -> bool {
        let active = self.sets.iter().filter(|set| wanted(set) > 0).count();
        active > 1 && !size::is_rolling(&self.deployment)
    }

    /// Gives the current template's ReplicaSet its revision; makes it if asked and it is missing.
    fn sync_revision(&mut self, create: bool) {
        let old = self.old();
        let revision = annotations::max_revision(old.iter().map(|index| &self.sets[*index])) + 1;
        match self.new {
            Some(index) => self.refresh(index, revision),
            None if create => self.create(revision),
            None => {}
        }
    }

    fn refresh(&mut self, index: usize, revision: i64) {
        let min_ready = self
            .deployment
            .spec
            .as_ref()
            .and_then(|spec| spec.min_ready_seconds);
        let set = &mut self.sets[index];
        annotations::update_new_set(&self.deployment, set, revision, true);
        if let Some(spec) = &mut set.spec
            && spec.min_ready_seconds.unwrap_or_default() != min_ready.unwrap_or_default()
        {
            spec.min_ready_seconds = min_ready;
        }
        let name = self.sets[index].metadata.name.clone().unwrap_or_default();
        let known = self
            .deployment
            .status
            .as_ref()
            .is_some_and(|s| progress::condition(s, "Progressing").is_some());
        if !known {
            self.note(reason::FOUND_SET, format!("Found new replica set {name:?}"));
        }
    }

    fn create(&mut self, revision: i64) {
        let mut set = new_set(&self.deployment);
        annotations::update_new_set(&self.deployment, &mut set, revision, false);
        let size = self.new_size(0);
        if let Some(spec) = &mut set.spec {
            spec.replicas = Some(size);
        }
        let name = set.metadata.name.clone().unwrap_or_default();
        self.new = Some(self.sets.len());
        self.sets.push(set);
        self.note(reason::NEW_SET, format!("Created new replica set {name:?}"));
    }

    fn note(&mut self, reason: &str, message: String) {
        let limit = self
            .deployment
            .spec
            .as_ref()
            .and_then(|spec| spec.progress_deadline_seconds);
        if limit.is_none_or(|limit| limit == i32::MAX) {
            return;
        }
        let condition = progress::new_condition("Progressing", "True", reason, message, self.now);
        progress::set_condition(self.deployment.status.get_or_insert_default(), condition);
    }

    /// The size the new ReplicaSet may have, given its size now.
    fn new_size(&self, size: i32) -> i32 {
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

    fn resize(&mut self, index: usize, size: i32) {
        let set = &mut self.sets[index];
        if let Some(spec) = &mut set.spec {
            spec.replicas = Some(size);
        }
        annotations::update_sizes(&self.deployment, set);
    }

    fn roll(&mut self) {
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

    fn recreate(&mut self) {
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

    fn scale(&mut self) {
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

    fn clean_up(&mut self) {
        let old: Vec<&ReplicaSet> = self.old().into_iter().map(|index| &self.sets[index]).collect();
        self.deleted = history::superfluous(&self.deployment, &old)
            .into_iter()
            .cloned()
            .collect();
    }

    fn counted(&self) -> DeploymentStatus {
        progress::counted(&self.deployment, &self.sets, self.new_set(), self.now)
    }

    fn rolling(&self) -> DeploymentStatus {
        progress::rolling(&self.deployment, &self.sets, self.new_set(), self.now)
    }

    fn finish(self, status: DeploymentStatus) -> Plan {
        let revision = self
            .new_set()
            .and_then(|set| set.metadata.annotations.as_ref()?.get(REVISION).cloned());
        let current = self
            .deployment
            .metadata
            .annotations
            .as_ref()
            .and_then(|all| all.get(REVISION));
        let revision = revision.filter(|revision| Some(revision) != current);
        let deadline = progress::deadline_in(&self.deployment, &status, self.now);
        let mut steps = Vec::new();
        for (index, set) in self.sets.into_iter().enumerate() {
            match self.before.get(index) {
                None => steps.push(Step::Create(Box::new(set))),
                Some(before) if *before != set => {
                    let from = Some(wanted(before)).filter(|from| *from != wanted(&set));
                    steps.push(Step::Update {
                        set: Box::new(set),
                        from,
                    });
                }
                Some(_) => {}
            }
        }
        steps.extend(self.deleted.into_iter().map(|set| Step::Delete(Box::new(set))));
        Plan {
            steps,
            revision,
            status,
            deadline,
        }
    }
}

/// The ReplicaSet of the current template, without size and annotations.
fn new_set(deployment: &Deployment) -> ReplicaSet {
    let spec = deployment.spec.clone().unwrap_or_default();
    let collisions = deployment
        .status
        .as_ref()
        .and_then(|status| status.collision_count);
    let hash = template::hash(&spec.template, collisions);
    let mut pods = spec.template;
    let labels = pods
        .metadata
        .get_or_insert_default()
        .labels
        .get_or_insert_default();
    labels.insert(template::HASH_LABEL.into(), hash.clone());
    let mut selector = spec.selector;
    selector
        .match_labels
        .get_or_insert_default()
        .insert(template::HASH_LABEL.into(), hash.clone());
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!(
                "{}-{hash}",
                deployment.metadata.name.as_deref().unwrap_or_default()
            )),
            namespace: deployment.metadata.namespace.clone(),
            labels: pods.metadata.as_ref().and_then(|meta| meta.labels.clone()),
            owner_references: Some(vec![owner::controller_reference(
                "apps/v1",
                "Deployment",
                &deployment.metadata,
            )]),
            ..Default::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(0),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(pods),
        }),
        status: None,
    }
}
