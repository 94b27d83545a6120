//! Namespace lifecycle: a namespace that is being deleted takes everything in it along, whatever its kind.
//!
//! ```text
//! deletionTimestamp ──> pods ──> all other kinds ──> nothing left ──> /finalize without "kubernetes"
//!                         └────────┴── something stays: conditions, look again ──┘
//! ```

mod content;
mod plan;

use async_trait::async_trait;
use jiff::Timestamp;
use kobune_client::k8s_openapi::api::core::v1::{Namespace, NamespaceStatus, Pod};
use kobune_client::kube::Api;
use kobune_client::kube::api::PostParams;
use kobune_client::{Cache, Change, Key};

use self::plan::{FINALIZER, Finding};
use crate::answers::unless_gone;
use crate::controller::{Context, Controller, Doing, Next, ReconcileError, Sources};
use crate::kinds;

/// The controller.
pub struct Namespaces {
    context: Context,
    namespaces: Cache<Namespace>,
}

impl Namespaces {
    pub(crate) fn new(context: Context, sources: &mut Sources) -> Self {
        let namespaces = sources.objects::<Namespace>();
        let known = namespaces.clone();
        // Pods leave when they have stopped; the last one lets the namespace go on at once.
        let pods = context.caches.get::<Pod>();
        let left = pods.clone();
        sources.changes(pods, move |change| {
            let Change::Deleted(pod) = change else {
                return Vec::new();
            };
            let name = pod.metadata.namespace.clone().unwrap_or_default();
            let leaving = known
                .get("", &name)
                .is_some_and(|n| n.metadata.deletion_timestamp.is_some());
            let last = leaving && left.filter(|key, _| key.namespace == name).is_empty();
            if last {
                vec![Key::new("", name)]
            } else {
                Vec::new()
            }
        });
        Namespaces { context, namespaces }
    }

    fn api(&self) -> Api<Namespace> {
        Api::all(self.context.client.clone())
    }

    /// Writes phase and conditions where they differ; answers the namespace as it is then.
    async fn write_status(
        &self,
        namespace: Namespace,
        finding: &Finding,
    ) -> Result<Option<Namespace>, ReconcileError> {
        let old = namespace.status.clone().unwrap_or_default();
        let conditions = plan::conditions(
            old.conditions.as_deref().unwrap_or_default(),
            finding,
            Timestamp::now(),
        );
        let status = NamespaceStatus {
            phase: Some("Terminating".into()),
            conditions: Some(conditions),
        };
        if status == old {
            return Ok(Some(namespace));
        }
        let name = namespace.metadata.name.clone().unwrap_or_default();
        let changed = Namespace {
            status: Some(status),
            ..namespace
        };
        let written = self
            .api()
            .replace_status(&name, &PostParams::default(), &changed)
            .await;
        unless_gone(written).doing(|| format!("writing the status of namespace {name}"))
    }

    /// Takes our finalizer away, which lets the API server remove the namespace.
    async fn finalize(&self, mut namespace: Namespace) -> Result<(), ReconcileError> {
        let name = namespace.metadata.name.clone().unwrap_or_default();
        if let Some(finalizers) = namespace.spec.as_mut().and_then(|spec| spec.finalizers.as_mut()) {
            finalizers.retain(|finalizer| finalizer != FINALIZER);
        }
        let finalized = self
            .api()
            .replace_subresource("finalize", &name, &PostParams::default(), &namespace)
            .await;
        unless_gone(finalized).doing(|| format!("finalizing namespace {name}"))?;
        Ok(())
    }
}

#[async_trait]
impl Controller for Namespaces {
    async fn reconcile(&self, key: &Key) -> Result<Next, ReconcileError> {
        let Some(cached) = self.namespaces.get_key(key) else {
            return Ok(Next::Changed);
        };
        if !plan::is_ours_to_empty(&cached) {
            return Ok(Next::Changed);
        }
        // The cache may lag behind a namesake; what is deleted here is gone for good.
        let live = self
            .api()
            .get_opt(&key.name)
            .await
            .doing(|| format!("looking at namespace {key}"))?;
        let Some(namespace) = live.filter(plan::is_ours_to_empty) else {
            return Ok(Next::Changed);
        };
        let finding = match kinds::discover(&self.context.client).await {
            Ok(kinds) => content::delete(&self.context.client, &key.name, &kinds).await,
            Err(error) => Finding::of_failed_discovery(&error),
        };
        let next = finding.look_again();
        let Some(namespace) = self.write_status(namespace, &finding).await? else {
            return Ok(Next::Changed);
        };
        match next {
            Some(next) => Ok(Next::After(next)),
            None => self.finalize(namespace).await.map(|()| Next::Changed),
        }
    }
}
