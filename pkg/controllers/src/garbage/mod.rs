//! The garbage collector: what nobody owns any more goes; what is deleted in the foreground waits for its
//! dependents; what is deleted as orphaning lets them go.
//!
//! Channels: one watch per kind feeds the graph (those kinds that this process caches anyway feed it from
//! the cache); the graph answers uids, which are the keys of the queue.

mod graph;
mod monitors;
mod plan;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use async_trait::async_trait;
use futures_util::future::try_join_all;
use kobune_client::Key;
use kobune_client::k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kobune_client::kube::api::{
    DeleteParams, DynamicObject, Patch, PatchParams, Preconditions, PropagationPolicy,
};
use kobune_client::kube::{Api, Resource};
use serde_json::json;
use tokio::sync::watch;

use self::graph::{Dependent, FOREGROUND, Graph, Identity, Node, ORPHAN};
use self::plan::{Action, OwnerState};
use crate::answers::{is_not_found, unless_gone};
use crate::controller::{Context, Controller, Doing, Next, ReconcileError, Sources};
use crate::kinds::Kind;

/// What the watches and the workers share.
struct Shared {
    graph: Mutex<Graph>,
    kinds: RwLock<Vec<Kind>>,
    /// True once the kinds are known: before, no object could be reached.
    discovered: watch::Sender<bool>,
}

impl Shared {
    fn graph(&self) -> MutexGuard<'_, Graph> {
        self.graph.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The kind of an `apiVersion` and `kind`, whichever version of its group is served.
    fn kind(&self, api_version: &str, kind: &str) -> Option<Kind> {
        let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
        let kinds = self.kinds.read().unwrap_or_else(PoisonError::into_inner);
        kinds
            .iter()
            .find(|known| known.resource.kind == kind && known.resource.group == group)
            .cloned()
    }
}

/// The controller. Its keys are uids.
pub struct Garbage {
    context: Context,
    shared: Arc<Shared>,
    queue: kobune_client::WorkQueue<Key>,
}

/// The key of a uid.
fn key(uid: impl Into<String>) -> Key {
    Key::new("", uid)
}

impl Garbage {
    pub(crate) fn new(context: Context, sources: &mut Sources) -> Self {
        let (discovered, mut known) = watch::channel(false);
        let shared = Arc::new(Shared {
            graph: Mutex::default(),
            kinds: RwLock::default(),
            discovered,
        });
        sources.wait_until(async move { known.wait_for(|known| *known).await.is_ok() });
        monitors::start(&context, sources, shared.clone());
        Garbage {
            context,
            shared,
            queue: sources.queue(),
        }
    }

    fn api(&self, identity: &Identity) -> Option<Api<DynamicObject>> {
        let kind = self.shared.kind(&identity.api_version, &identity.kind)?;
        // Named as owner by an object of cluster scope, which cannot be: there is nothing to reach.
        if kind.namespaced && identity.namespace.is_empty() {
            return None;
        }
        Some(kind.api(&self.context.client, &identity.namespace))
    }

    fn attend(&self, uids: Vec<String>) {
        uids.into_iter().for_each(|uid| self.queue.add(key(uid)));
    }

    /// The object's live metadata; `None` when it, with this uid, is gone.
    async fn live(
        &self,
        api: &Api<DynamicObject>,
        name: &str,
        uid: &str,
    ) -> Result<Option<ObjectMeta>, ReconcileError> {
        let live = api
            .get_metadata_opt(name)
            .await
            .doing(|| format!("looking at {name}"))?;
        Ok(live
            .map(|live| live.meta().clone())
            .filter(|meta| meta.uid.as_deref() == Some(uid)))
    }

    async fn owner_state(
        &self,
        namespace: &str,
        owner: &OwnerReference,
    ) -> Result<OwnerState, ReconcileError> {
        let Some(kind) = self.shared.kind(&owner.api_version, &owner.kind) else {
            // Nobody knows this kind (yet): never delete on a guess.
            return Ok(OwnerState::Solid);
        };
        if kind.namespaced && namespace.is_empty() {
            // An object of cluster scope cannot have an owner in a namespace; upstream leaves it alone too.
            return Ok(OwnerState::Solid);
        }
        let api = kind.api(&self.context.client, namespace);
        let Some(live) = self.live(&api, &owner.name, &owner.uid).await? else {
            return Ok(OwnerState::Absent);
        };
        let waits = live.deletion_timestamp.is_some()
            && live
                .finalizers
                .iter()
                .flatten()
                .any(|finalizer| finalizer == FOREGROUND);
        Ok(if waits {
            OwnerState::WaitsForDependents
        } else {
            OwnerState::Solid
        })
    }

    /// Merge-patches metadata of exactly this object in exactly this version.
    async fn patch(
        &self,
        api: &Api<DynamicObject>,
        name: &str,
        seen: &ObjectMeta,
        mut metadata: serde_json::Value,
    ) -> Result<(), ReconcileError> {
        metadata["uid"] = json!(seen.uid);
        metadata["resourceVersion"] = json!(seen.resource_version);
        let patch = Patch::Merge(json!({"metadata": metadata}));
        let patched = api.patch_metadata(name, &PatchParams::default(), &patch).await;
        unless_gone(patched).doing(|| format!("changing the metadata of {name}"))?;
        Ok(())
    }

    /// Lets the dependents of a leaving owner go, then the owner.
    async fn orphan(&self, uid: &str, node: &Node, api: &Api<DynamicObject>) -> Result<(), ReconcileError> {
        let dependents = self.shared.graph().dependents(uid);
        try_join_all(dependents.iter().map(|dependent| self.disown(uid, dependent))).await?;
        self.remove_finalizer(uid, node, api, ORPHAN).await
    }

    async fn disown(&self, owner: &str, dependent: &Dependent) -> Result<(), ReconcileError> {
        let Some(api) = self.api(&dependent.identity) else {
            return Ok(());
        };
        let name = &dependent.identity.name;
        let Some(live) = self.live(&api, name, &dependent.uid).await? else {
            return Ok(());
        };
        let owners = live.owner_references.clone().unwrap_or_default();
        let left: Vec<OwnerReference> = owners
            .iter()
            .filter(|reference| reference.uid != owner)
            .cloned()
            .collect();
        if left.len() == owners.len() {
            return Ok(());
        }
        self.patch(&api, name, &live, json!({"ownerReferences": left}))
            .await
    }

    async fn remove_finalizer(
        &self,
        uid: &str,
        node: &Node,
        api: &Api<DynamicObject>,
        finalizer: &str,
    ) -> Result<(), ReconcileError> {
        let name = &node.identity.name;
        let Some(live) = self.live(api, name, uid).await? else {
            return Ok(());
        };
        match plan::without(&live, finalizer) {
            Some(left) => self.patch(api, name, &live, json!({"finalizers": left})).await,
            None => Ok(()),
        }
    }

    /// A foreground deletion: done when no dependent blocks it any more.
    async fn delete_dependents(
        &self,
        uid: &str,
        node: &Node,
        api: &Api<DynamicObject>,
    ) -> Result<(), ReconcileError> {
        let dependents = self.shared.graph().dependents(uid);
        if !dependents.iter().any(|dependent| dependent.blocks) {
            return self.remove_finalizer(uid, node, api, FOREGROUND).await;
        }
        let idle = dependents
            .into_iter()
            .filter(|dependent| !dependent.deletes_dependents);
        self.attend(idle.map(|dependent| dependent.uid).collect());
        Ok(())
    }

    async fn collect(
        &self,
        uid: &str,
        node: &Node,
        api: &Api<DynamicObject>,
        live: ObjectMeta,
    ) -> Result<(), ReconcileError> {
        let references = live.owner_references.clone().unwrap_or_default();
        let states = references
            .iter()
            .map(|owner| self.owner_state(&node.identity.namespace, owner));
        let states = try_join_all(states).await?;
        let dependents = self.shared.graph().dependents(uid);
        let name = &node.identity.name;
        match plan::decide(&live, &states, &dependents) {
            Action::Keep => Ok(()),
            Action::SetOwners(owners) => {
                self.patch(api, name, &live, json!({"ownerReferences": owners}))
                    .await
            }
            Action::Delete(policy) => self.delete(api, name, &live, policy, true).await,
            Action::UnblockAndDelete(owners) => {
                self.patch(api, name, &live, json!({"ownerReferences": owners}))
                    .await?;
                self.delete(api, name, &live, PropagationPolicy::Foreground, false)
                    .await
            }
        }
    }

    /// Deletes exactly this object, and only as it was when we decided: an owner may have been added since.
    async fn delete(
        &self,
        api: &Api<DynamicObject>,
        name: &str,
        seen: &ObjectMeta,
        policy: PropagationPolicy,
        as_seen: bool,
    ) -> Result<(), ReconcileError> {
        let resource_version = seen.resource_version.clone().filter(|_| as_seen);
        let preconditions = Preconditions {
            uid: seen.uid.clone(),
            resource_version,
        };
        let params = DeleteParams {
            propagation_policy: Some(policy),
            ..DeleteParams::default()
        }
        .preconditions(preconditions);
        match api.delete(name, &params).await {
            Err(error) if is_not_found(&error) => Ok(()),
            other => other
                .map(drop)
                .doing(|| format!("deleting {name}, which nobody owns")),
        }
    }
}

#[async_trait]
impl Controller for Garbage {
    async fn reconcile(&self, key: &Key) -> Result<Next, ReconcileError> {
        let uid = key.name.as_str();
        let Some(node) = self.shared.graph().get(uid).cloned() else {
            return Ok(Next::Changed);
        };
        let Some(api) = self.api(&node.identity) else {
            return Ok(Next::Changed);
        };
        if node.is_leaving && !node.deletes_dependents && !node.orphans_dependents {
            return Ok(Next::Changed);
        }
        if node.orphans_dependents {
            self.orphan(uid, &node, &api).await?;
        } else if node.deletes_dependents {
            self.delete_dependents(uid, &node, &api).await?;
        } else {
            match self.live(&api, &node.identity.name, uid).await? {
                // The watch's news is late, or the node was only a dependent's claim.
                None => {
                    let attention = self.shared.graph().forget(uid);
                    self.attend(attention);
                }
                Some(_) if node.is_virtual => self.shared.graph().exists(uid),
                Some(live) => self.collect(uid, &node, &api, live).await?,
            }
        }
        Ok(Next::Changed)
    }
}
