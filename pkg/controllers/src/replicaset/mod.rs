//! Keeps the number of pods of a ReplicaSet or a ReplicationController: claim, plan, create or delete, status.

mod kinds;
pub mod plan;
mod pods;
mod rank;

use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use kobune_client::k8s_openapi::api::apps::v1::ReplicaSetStatus;
use kobune_client::k8s_openapi::api::core::v1::Pod;
use kobune_client::kube::Api;
use kobune_client::kube::api::PostParams;
use kobune_client::{Cache, Change, Key};

use self::kinds::Replicated;
use self::plan::{Desired, Failure, Scale};
use crate::answers::unless_gone;
use crate::controller::{Context, Controller, Doing, Next, ReconcileError, Sources, keys_of_change};
use crate::expectations::Expectations;
use crate::owner::{self, Claim};
use crate::pace::Pace;
use crate::pod;

/// The engine for one kind.
pub struct Replicas<K> {
    context: Context,
    workloads: Cache<K>,
    pods: Cache<Pod>,
    expected: Arc<Expectations>,
    pace: Pace,
    kind: PhantomData<K>,
}

impl<K: Replicated> Replicas<K> {
    /// Wires the kind and its pods to the queue.
    pub(crate) fn new(context: Context, sources: &mut Sources) -> Self {
        let expected = Arc::new(Expectations::default());
        let workloads = sources.objects::<K>();
        let seen = expected.clone();
        let mut keys = keys_of_change(concerned(workloads.clone()));
        let pods = context.caches.get::<Pod>();
        let pods = sources.changes(pods, move |change| {
            note_seen::<K>(&seen, change);
            keys(change)
        });
        Replicas {
            context,
            workloads,
            pods,
            expected,
            pace: Pace::default(),
            kind: PhantomData,
        }
    }

    fn api(&self, namespace: &str) -> Api<K> {
        Api::namespaced(self.context.client.clone(), namespace)
    }

    /// The pods that are ours after adopting and releasing.
    async fn claim(&self, workload: &K) -> Result<Vec<Arc<Pod>>, ReconcileError> {
        let namespace = workload.meta().namespace.as_deref().unwrap_or_default();
        let selector = workload.selector();
        let claim = |pod: &Pod| owner::claim(workload.meta(), &selector, &pod.metadata);
        let candidates = self
            .pods
            .filter(|key, pod| key.namespace == namespace && claim(pod) != Claim::Ignore);
        let mut ours = Vec::with_capacity(candidates.len());
        for pod in candidates {
            match claim(&pod) {
                Claim::Keep => ours.push(pod),
                Claim::Adopt if pod::is_active(&pod) => {
                    ours.extend(pods::adopt(&self.context, workload, &pod).await?.map(|()| pod));
                }
                Claim::Release => pods::release(&self.context, workload, &pod).await?,
                Claim::Adopt | Claim::Ignore => {}
            }
        }
        Ok(ours)
    }

    /// The active pods of all workloads that share our controller (the ReplicaSets of a Deployment).
    fn related(&self, workload: &K, own: &[Arc<Pod>]) -> Vec<Arc<Pod>> {
        let Some(controller) = owner::controller_of(workload.meta()) else {
            return own.to_vec();
        };
        let namespace = workload.meta().namespace.as_deref().unwrap_or_default();
        let siblings = self.workloads.filter(|key, sibling| {
            key.namespace == namespace && owner::is_controlled_by(sibling.meta(), &controller.uid)
        });
        let uids: Vec<&str> = siblings
            .iter()
            .filter_map(|sibling| sibling.meta().uid.as_deref())
            .collect();
        self.pods.filter(|key, pod| {
            key.namespace == namespace
                && owner::controller_of(&pod.metadata).is_some_and(|owner| uids.contains(&owner.uid.as_str()))
        })
    }

    async fn scale(
        &self,
        key: &Key,
        workload: &K,
        desired: &Desired<'_>,
        active: &[Arc<Pod>],
    ) -> Result<(), Failure> {
        let wanted = usize::try_from(desired.replicas).unwrap_or_default();
        let related = if active.len() > wanted {
            self.related(workload, active)
        } else {
            Vec::new()
        };
        match plan::scale(desired, active, &related, Timestamp::now()) {
            Scale::Nothing => Ok(()),
            Scale::Create(count) => {
                pods::create(&self.context, &self.expected, key, workload, desired, count).await
            }
            Scale::Delete(pods) => pods::delete(&self.context, &self.expected, key, workload, pods).await,
        }
    }

    async fn write_status(&self, workload: &K, status: ReplicaSetStatus) -> Result<(), ReconcileError> {
        let mut changed = workload.clone();
        changed.set_status(status);
        let key = Key::of(workload);
        let written = self
            .api(&key.namespace)
            .replace_status(&key.name, &PostParams::default(), &changed)
            .await;
        unless_gone(written).doing(|| format!("writing the status of {} {key}", K::kind(&())))?;
        Ok(())
    }
}

/// A pod concerns its controller; an orphan concerns every workload that could adopt it.
fn concerned<K: Replicated>(workloads: Cache<K>) -> impl Fn(&Pod) -> Vec<Key> {
    move |pod| {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        match owner::controller_of(&pod.metadata) {
            Some(owner) if owner.kind == K::kind(&()) => vec![Key::new(namespace, &owner.name)],
            Some(_) => Vec::new(),
            None => {
                let matching = workloads.filter(|key, workload| {
                    key.namespace == namespace && owner::selects(&workload.selector(), &pod.metadata)
                });
                matching.iter().map(|workload| Key::of(&**workload)).collect()
            }
        }
    }
}

/// Lowers what was expected of this pod.
fn note_seen<K: Replicated>(expected: &Expectations, change: &Change<Pod>) {
    let meta = &change.object().metadata;
    let Some(owner) = owner::controller_of(meta).filter(|owner| owner.kind == K::kind(&())) else {
        return;
    };
    let key = Key::new(meta.namespace.as_deref().unwrap_or_default(), &owner.name);
    expected.created(&key, meta.name.as_deref().unwrap_or_default());
    if matches!(change, Change::Deleted(_)) || meta.deletion_timestamp.is_some() {
        expected.deleted(&key, meta.uid.as_deref().unwrap_or_default());
    }
}

#[async_trait]
impl<K: Replicated> Controller for Replicas<K> {
    async fn reconcile(&self, key: &Key) -> Result<Next, ReconcileError> {
        let Some(workload) = self.workloads.get_key(key) else {
            self.expected.forget(key);
            self.pace.forget(key);
            return Ok(Next::Changed);
        };
        let Some(template) = workload.template() else {
            return Ok(Next::Changed);
        };
        let desired = Desired {
            meta: workload.meta(),
            replicas: workload.replicas(),
            min_ready_seconds: workload.min_ready_seconds(),
            template,
        };
        // Read before the pods: what is met now is in the cache now.
        let settled = self.expected.are_met(key);
        let ours = self.claim(&workload).await?;
        let active: Vec<Arc<Pod>> = ours.iter().filter(|pod| pod::is_active(pod)).cloned().collect();
        let terminating = ours
            .iter()
            .filter(|pod| !pod::is_active(pod) && !pod::is_terminal(pod))
            .count();
        let failure = match settled {
            true => self.scale(key, &workload, &desired, &active).await.err(),
            false => None,
        };

        let now = Timestamp::now();
        let old = workload.status();
        let mut status = plan::status(&desired, &old, &active, terminating, failure.as_ref(), now);
        if K::kind(&()) != "ReplicaSet" {
            status.terminating_replicas = None;
        }
        let deadline = plan::next_available(&desired, &active, now);
        if status != old {
            let done = status.available_replicas.unwrap_or_default() == desired.replicas
                && status.replicas == desired.replicas;
            let is_final = done || failure.is_some() || status.observed_generation != old.observed_generation;
            match self.pace.wait(key, is_final) {
                Some(rest) => return Ok(Next::After(deadline.map_or(rest, |deadline| deadline.min(rest)))),
                None => self.write_status(&workload, status).await?,
            }
        }
        match failure {
            Some(_) => Err(ReconcileError::Unfinished {
                doing: format!("scaling {} {key}", K::kind(&())),
            }),
            None => Ok(deadline.into()),
        }
    }
}
