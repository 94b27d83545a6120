//! Deployments: declarative rollouts over ReplicaSets.

mod annotations;
mod history;
pub mod plan;
#[cfg(test)]
mod plan_tests;
mod progress;
mod proportion;
pub mod size;
mod template;

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use kobune_client::k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use kobune_client::k8s_openapi::api::core::v1::Pod;
use kobune_client::kube::Api;
use kobune_client::kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kobune_client::{Cache, EventType, Key};
use serde_json::json;

use self::plan::{Observed, Plan, Step};
use crate::answers::{already_exists, answer, delete_exactly, namespace_is_terminating, unless_gone};
use crate::controller::{Context, Controller, Doing, Next, ReconcileError, Sources};
use crate::owner::{self, Claim};
use crate::pace::Pace;
use crate::pod;

/// The controller.
pub struct Deployments {
    context: Context,
    deployments: Cache<Deployment>,
    sets: Cache<ReplicaSet>,
    pods: Cache<Pod>,
    pace: Pace,
}

/// What came of making a ReplicaSet.
enum Made {
    Yes,
    /// Another template has taken the name: try with another hash.
    Collision,
}

impl Deployments {
    pub(crate) fn new(context: Context, sources: &mut Sources) -> Self {
        let deployments = sources.objects::<Deployment>();
        let sets = sources.keys(concerned(deployments.clone()));
        Deployments {
            context,
            deployments,
            sets,
            pods: sources.reads(),
            pace: Pace::default(),
        }
    }

    fn sets_api(&self, namespace: &str) -> Api<ReplicaSet> {
        Api::namespaced(self.context.client.clone(), namespace)
    }

    fn api(&self, namespace: &str) -> Api<Deployment> {
        Api::namespaced(self.context.client.clone(), namespace)
    }

    async fn observe(&self, key: &Key, deployment: &Deployment) -> Result<Observed, ReconcileError> {
        let sets = self.claim(key, deployment).await?;
        let uids: HashSet<&str> = sets
            .iter()
            .filter_map(|set| set.metadata.uid.as_deref())
            .collect();
        let mut sets_with_pods = HashSet::new();
        if !size::is_rolling(deployment) {
            let pods = self
                .pods
                .filter(|pod_key, pod| pod_key.namespace == key.namespace && !pod::is_terminal(pod));
            let owners = pods.iter().filter_map(|pod| owner::controller_of(&pod.metadata));
            sets_with_pods = owners
                .map(|owner| owner.uid.clone())
                .filter(|uid| uids.contains(uid.as_str()))
                .collect();
        }
        Ok(Observed {
            deployment: deployment.clone(),
            sets: sets.iter().map(|set| ReplicaSet::clone(set)).collect(),
            sets_with_pods,
            now: Timestamp::now(),
        })
    }

    async fn claim(
        &self,
        key: &Key,
        deployment: &Deployment,
    ) -> Result<Vec<Arc<ReplicaSet>>, ReconcileError> {
        let selector = deployment
            .spec
            .as_ref()
            .map(|spec| owner::selector(&spec.selector))
            .unwrap_or_default();
        let claim = |set: &ReplicaSet| owner::claim(&deployment.metadata, &selector, &set.metadata);
        let candidates = self
            .sets
            .filter(|set_key, set| set_key.namespace == key.namespace && claim(set) != Claim::Ignore);
        let mut ours = Vec::with_capacity(candidates.len());
        for set in candidates {
            match claim(&set) {
                Claim::Keep => ours.push(set),
                Claim::Adopt if self.may_adopt(key, deployment).await? => {
                    let reference =
                        owner::controller_reference("apps/v1", "Deployment", &deployment.metadata);
                    self.patch_set(&set, owner::adopt_patch(&reference, &set.metadata))
                        .await?;
                    ours.push(set);
                }
                Claim::Release => {
                    self.patch_set(&set, owner::release_patch(&deployment.metadata, &set.metadata))
                        .await?
                }
                Claim::Adopt | Claim::Ignore => {}
            }
        }
        Ok(ours)
    }

    /// Asks the API, not the cache: an adoption must not race with a deletion.
    async fn may_adopt(&self, key: &Key, deployment: &Deployment) -> Result<bool, ReconcileError> {
        let live = self.api(&key.namespace).get_opt(&key.name).await;
        let live = live.doing(|| format!("looking at deployment {key} before an adoption"))?;
        Ok(live.is_some_and(|live| {
            live.metadata.uid == deployment.metadata.uid && live.metadata.deletion_timestamp.is_none()
        }))
    }

    async fn patch_set(&self, set: &ReplicaSet, patch: serde_json::Value) -> Result<(), ReconcileError> {
        let key = Key::of(set);
        let api = self.sets_api(&key.namespace);
        let patched = api
            .patch_metadata(&key.name, &PatchParams::default(), &Patch::Strategic(patch))
            .await;
        unless_gone(patched).doing(|| format!("changing the owner of replicaset {key}"))?;
        Ok(())
    }

    async fn step(&self, deployment: &Deployment, step: Step) -> Result<Made, ReconcileError> {
        match step {
            Step::Create(set) => return self.create_set(deployment, *set).await,
            Step::Update { set, from } => self.update_set(deployment, &set, from).await?,
            Step::Delete(set) => self.delete_set(&set).await?,
        }
        Ok(Made::Yes)
    }

    async fn create_set(&self, deployment: &Deployment, set: ReplicaSet) -> Result<Made, ReconcileError> {
        let key = Key::of(&set);
        let api = self.sets_api(&key.namespace);
        match api.create(&PostParams::default(), &set).await {
            Ok(set) => {
                self.scaled(deployment, &set, 0);
                Ok(Made::Yes)
            }
            Err(error) if already_exists(&error) => {
                let live = api
                    .get(&key.name)
                    .await
                    .doing(|| format!("looking at replicaset {key}"))?;
                let ours = owner::is_controlled_by(
                    &live.metadata,
                    deployment.metadata.uid.as_deref().unwrap_or_default(),
                );
                if ours && template::is_current(deployment, &live) {
                    Ok(Made::Yes)
                } else {
                    Ok(Made::Collision)
                }
            }
            Err(error) if namespace_is_terminating(&error) => Ok(Made::Yes),
            Err(error) => {
                let message = format!(
                    "Failed to create new replica set {:?}: {}",
                    key.name,
                    answer(&error)
                );
                self.context.event(
                    deployment,
                    EventType::Warning,
                    progress::reason::FAILED_CREATE,
                    &message,
                );
                self.note_failed_create(deployment, message).await?;
                Err(error).doing(|| format!("creating replicaset {key}"))
            }
        }
    }

    async fn note_failed_create(
        &self,
        deployment: &Deployment,
        message: String,
    ) -> Result<(), ReconcileError> {
        let mut status = deployment.status.clone().unwrap_or_default();
        let reason = progress::reason::FAILED_CREATE;
        progress::set_condition(
            &mut status,
            progress::new_condition("Progressing", "False", reason, message, Timestamp::now()),
        );
        self.write_status(deployment, None, status).await
    }

    async fn update_set(
        &self,
        deployment: &Deployment,
        set: &ReplicaSet,
        from: Option<i32>,
    ) -> Result<(), ReconcileError> {
        let key = Key::of(set);
        let updated = self
            .sets_api(&key.namespace)
            .replace(&key.name, &PostParams::default(), set)
            .await;
        updated.doing(|| format!("updating replicaset {key}"))?;
        if let Some(from) = from {
            self.scaled(deployment, set, from);
        }
        Ok(())
    }

    async fn delete_set(&self, set: &ReplicaSet) -> Result<(), ReconcileError> {
        let key = Key::of(set);
        let api = self.sets_api(&key.namespace);
        delete_exactly(&api, &set.metadata, DeleteParams::background())
            .await
            .map(drop)
            .doing(|| format!("deleting replicaset {key}"))
    }

    fn scaled(&self, deployment: &Deployment, set: &ReplicaSet, from: i32) {
        let to = size::wanted(set);
        if from == to {
            return;
        }
        let way = if to > from { "up" } else { "down" };
        let name = set.metadata.name.as_deref().unwrap_or_default();
        let message = format!("Scaled {way} replica set {name} from {from} to {to}");
        self.context
            .event(deployment, EventType::Normal, "ScalingReplicaSet", message);
    }

    /// Writes status and revision in one request; the status endpoint takes annotations along.
    async fn write_status(
        &self,
        deployment: &Deployment,
        revision: Option<String>,
        status: DeploymentStatus,
    ) -> Result<(), ReconcileError> {
        let key = Key::of(deployment);
        let mut changed = deployment.clone();
        changed.status = Some(status);
        if let Some(revision) = &revision {
            let annotations = changed.metadata.annotations.get_or_insert_default();
            annotations.insert(annotations::REVISION.into(), revision.clone());
        }
        let written = self
            .api(&key.namespace)
            .replace_status(&key.name, &PostParams::default(), &changed)
            .await;
        let written = unless_gone(written).doing(|| format!("writing the status of deployment {key}"))?;
        let (Some(written), Some(revision)) = (written, revision) else {
            return Ok(());
        };
        let kept = written
            .metadata
            .annotations
            .as_ref()
            .and_then(|all| all.get(annotations::REVISION));
        if kept == Some(&revision) {
            return Ok(());
        }
        let patch = json!({"metadata": {"annotations": {annotations::REVISION: revision}}});
        let api = self.api(&key.namespace);
        let patched = api
            .patch_metadata(&key.name, &PatchParams::default(), &Patch::Merge(patch))
            .await;
        unless_gone(patched).doing(|| format!("writing the revision of deployment {key}"))?;
        Ok(())
    }
}

/// A ReplicaSet concerns its Deployment; an orphan every Deployment that could adopt it.
fn concerned(deployments: Cache<Deployment>) -> impl Fn(&ReplicaSet) -> Vec<Key> {
    move |set| {
        let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
        match owner::controller_of(&set.metadata) {
            Some(owner) if owner.kind == "Deployment" => vec![Key::new(namespace, &owner.name)],
            Some(_) => Vec::new(),
            None => {
                let matching = deployments.filter(|key, deployment| {
                    let selector = deployment
                        .spec
                        .as_ref()
                        .map(|spec| owner::selector(&spec.selector));
                    key.namespace == namespace
                        && selector.is_some_and(|selector| owner::selects(&selector, &set.metadata))
                });
                matching.iter().map(|deployment| Key::of(&**deployment)).collect()
            }
        }
    }
}

/// Whether somebody waits for this status: the end of a rollout, a new condition, a new generation.
fn is_final(old: &DeploymentStatus, new: &DeploymentStatus, deployment: &Deployment) -> bool {
    let reasons = |status: &DeploymentStatus| -> Vec<(String, String, Option<String>)> {
        let conditions = status.conditions.iter().flatten();
        conditions
            .map(|c| (c.type_.clone(), c.status.clone(), c.reason.clone()))
            .collect()
    };
    progress::is_complete(deployment, new)
        || old.observed_generation != new.observed_generation
        || reasons(old) != reasons(new)
}

#[async_trait]
impl Controller for Deployments {
    async fn reconcile(&self, key: &Key) -> Result<Next, ReconcileError> {
        let Some(deployment) = self.deployments.get_key(key) else {
            self.pace.forget(key);
            return Ok(Next::Changed);
        };
        if selects_everything(&deployment) {
            let message = "This deployment is selecting all pods. A non-empty selector is required.";
            self.context
                .event(&*deployment, EventType::Warning, "SelectingAll", message);
            return Ok(Next::Changed);
        }
        let Plan {
            steps,
            revision,
            mut status,
            deadline,
        } = plan::plan(self.observe(key, &deployment).await?);
        for step in steps {
            if let Made::Collision = self.step(&deployment, step).await? {
                status.collision_count = Some(status.collision_count.unwrap_or_default() + 1);
                self.write_status(&deployment, None, status).await?;
                return Ok(Next::Changed);
            }
        }
        let old = deployment.status.clone().unwrap_or_default();
        if status != old || revision.is_some() {
            let now_or_never = revision.is_some() || is_final(&old, &status, &deployment);
            if let Some(rest) = self.pace.wait(key, now_or_never) {
                return Ok(Next::After(rest));
            }
            self.write_status(&deployment, revision, status).await?;
        }
        Ok(deadline.into())
    }
}

fn selects_everything(deployment: &Deployment) -> bool {
    deployment.spec.as_ref().is_none_or(|spec| {
        spec.selector
            .match_labels
            .as_ref()
            .is_none_or(|labels| labels.is_empty())
            && spec
                .selector
                .match_expressions
                .as_ref()
                .is_none_or(|expressions| expressions.is_empty())
    })
}
