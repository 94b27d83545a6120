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

mod roll;
mod scale;

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;
use kobune_client::k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};

use super::annotations::{self, REVISION};
use super::progress::{self, reason};
use super::size::{self, wanted};
use super::{history, template};

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
        let mut set = template::new_set(&self.deployment);
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

    fn resize(&mut self, index: usize, size: i32) {
        let set = &mut self.sets[index];
        if let Some(spec) = &mut set.spec {
            spec.replicas = Some(size);
        }
        annotations::update_sizes(&self.deployment, set);
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
