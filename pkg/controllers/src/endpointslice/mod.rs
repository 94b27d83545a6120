//! EndpointSlices: the endpoints of each Service with a selector, a hundred to a slice.
//!
//! Slices have generated names, so a round that looked at a cache older than the last round's writes
//! would create them twice. What was written and not yet seen is remembered in `unseen`; a key waits
//! for it, woken by the very change that brings it.

mod plan;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use kobune_client::k8s_openapi::api::core::v1::{Pod, Service};
use kobune_client::k8s_openapi::api::discovery::v1::EndpointSlice;
use kobune_client::kube::Api;
use kobune_client::kube::api::{DeleteParams, PostParams};
use kobune_client::{Cache, Change, Key};

use self::plan::{MANAGED_BY, SERVICE_NAME, Writes};
use crate::controller::{
    Context, Controller, Doing, Next, ReconcileError, Sources, namespace_is_terminating, unless_gone,
};
use crate::endpoints::{pods_of, services_of};
use crate::service_pods;

/// For each Service the slices written, by name, with the version that must be seen (none: deleted).
type Unseen = Arc<Mutex<HashMap<Key, HashMap<String, Option<u64>>>>>;

/// The EndpointSlice controller.
pub struct EndpointSlices {
    context: Context,
    services: Cache<Service>,
    pods: Cache<Pod>,
    slices: Cache<EndpointSlice>,
    unseen: Unseen,
}

impl EndpointSlices {
    pub(crate) fn new(context: Context, sources: &mut Sources) -> Self {
        let unseen = Unseen::default();
        let services = sources.objects::<Service>();
        let pods = sources.keys::<Pod>(services_of(services.clone()));
        let slices = context.caches.get::<EndpointSlice>();
        let noting = unseen.clone();
        let slices = sources.changes(slices, move |change| {
            let key = service_of(change.object());
            if let Some(key) = &key {
                note_seen(&noting, key, change);
            }
            key.into_iter().collect()
        });
        EndpointSlices {
            context,
            services,
            pods,
            slices,
            unseen,
        }
    }

    fn owes_a_look(&self, key: &Key) -> bool {
        let unseen = self.unseen.lock().unwrap_or_else(PoisonError::into_inner);
        unseen.get(key).is_some_and(|slices| !slices.is_empty())
    }

    /// Remembers a write unless its echo has already arrived in the cache.
    fn expect(&self, key: &Key, name: String, version: Option<u64>) {
        let present = self.slices.get(&key.namespace, &name);
        let arrived = match (&present, version) {
            (Some(slice), Some(version)) => version_of(slice) >= version,
            (present, None) => present.is_none(),
            (None, Some(_)) => false,
        };
        if !arrived {
            let mut unseen = self.unseen.lock().unwrap_or_else(PoisonError::into_inner);
            unseen.entry(key.clone()).or_default().insert(name, version);
        }
    }

    async fn execute(&self, key: &Key, writes: Writes) -> Result<(), ReconcileError> {
        let api = Api::<EndpointSlice>::namespaced(self.context.client.clone(), &key.namespace);
        for slice in writes.create {
            let created = api.create(&PostParams::default(), &slice).await;
            if created.as_ref().is_err_and(namespace_is_terminating) {
                return Ok(());
            }
            let created = created.doing(|| format!("creating an endpoint slice of {key}"))?;
            self.expect(
                key,
                created.metadata.name.clone().unwrap_or_default(),
                Some(version_of(&created)),
            );
        }
        for slice in writes.update {
            let name = slice.metadata.name.clone().unwrap_or_default();
            let updated = api.replace(&name, &PostParams::default(), &slice).await;
            if let Some(updated) =
                unless_gone(updated).doing(|| format!("updating the endpoint slice {name}"))?
            {
                self.expect(key, name, Some(version_of(&updated)));
            }
        }
        for name in writes.delete {
            let deleted = api.delete(&name, &DeleteParams::default()).await;
            unless_gone(deleted).doing(|| format!("deleting the endpoint slice {name}"))?;
            self.expect(key, name, None);
        }
        Ok(())
    }
}

fn version_of(slice: &EndpointSlice) -> u64 {
    slice
        .metadata
        .resource_version
        .as_deref()
        .and_then(|version| version.parse().ok())
        .unwrap_or_default()
}

/// The Service of a slice that is this controller's.
fn service_of(slice: &EndpointSlice) -> Option<Key> {
    let labels = slice.metadata.labels.as_ref()?;
    if labels.get(MANAGED_BY.0).map(String::as_str) != Some(MANAGED_BY.1) {
        return None;
    }
    Some(Key::new(
        slice.metadata.namespace.as_deref().unwrap_or_default(),
        labels.get(SERVICE_NAME)?,
    ))
}

fn note_seen(unseen: &Unseen, key: &Key, change: &Change<EndpointSlice>) {
    let mut unseen = unseen.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(slices) = unseen.get_mut(key) else { return };
    let slice = change.object();
    let name = slice.metadata.name.as_deref().unwrap_or_default();
    let arrived = match (change, slices.get(name)) {
        (Change::Deleted(_), Some(_)) => true,
        (Change::Applied { .. }, Some(Some(version))) => version_of(slice) >= *version,
        _ => false,
    };
    if arrived {
        slices.remove(name);
    }
    if slices.is_empty() {
        unseen.remove(key);
    }
}

#[async_trait]
impl Controller for EndpointSlices {
    async fn reconcile(&self, key: &Key) -> Result<Next, ReconcileError> {
        if self.owes_a_look(key) {
            return Ok(Next::Changed);
        }
        let present = self
            .slices
            .filter(|own, slice| own.namespace == key.namespace && service_of(slice).as_ref() == Some(key));
        let service = self.services.get_key(key);
        let writes = match &service {
            None => Writes {
                delete: present
                    .iter()
                    .filter_map(|slice| slice.metadata.name.clone())
                    .collect(),
                ..Writes::default()
            },
            Some(service) if service.metadata.deletion_timestamp.is_some() => Writes::default(),
            // A Service without a selector has slices of others' making, or none.
            Some(service) if service_pods::selector(service).is_none() => Writes::default(),
            Some(service) => plan::writes(service, &pods_of(&self.pods, service), &present),
        };
        self.execute(key, writes).await?;
        Ok(Next::Changed)
    }
}
