//! Slices are written here, and what was written and is not seen yet is remembered.
//!
//! Slices have generated names, so a round that looked at a cache older than the last round's writes
//! would create them twice. A key waits for the echo of its writes, woken by the very change that brings
//! it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kobune_client::k8s_openapi::api::discovery::v1::EndpointSlice;
use kobune_client::kube::Api;
use kobune_client::kube::api::{DeleteParams, PostParams};
use kobune_client::{Cache, Change, Key};

use super::plan::{MANAGED_BY, SERVICE_NAME, Writes};
use crate::answers::{namespace_is_terminating, unless_gone};
use crate::controller::{Context, Doing, ReconcileError, Sources};

/// For each Service the slices written, by name, with the version that must be seen (none: deleted).
type Unseen = Arc<Mutex<HashMap<Key, HashMap<String, Option<u64>>>>>;

/// The slices of one writer.
pub struct Slices {
    context: Context,
    manager: &'static str,
    cache: Cache<EndpointSlice>,
    unseen: Unseen,
}

impl Slices {
    /// The slices that carry this manager's name. Each change of one leads to its Service's key.
    pub fn new(context: Context, sources: &mut Sources, manager: &'static str) -> Self {
        let unseen = Unseen::default();
        let noting = unseen.clone();
        let cache = sources.changes(context.caches.get::<EndpointSlice>(), move |change| {
            let key = service_of(change.object(), manager);
            if let Some(key) = &key {
                note_seen(&noting, key, change);
            }
            key.into_iter().collect()
        });
        Slices {
            context,
            manager,
            cache,
            unseen,
        }
    }

    /// Whether this key has to wait for the echo of what was written for it.
    pub fn owes_a_look(&self, key: &Key) -> bool {
        let unseen = self.unseen.lock().unwrap_or_else(PoisonError::into_inner);
        unseen.get(key).is_some_and(|slices| !slices.is_empty())
    }

    /// This writer's slices of a Service.
    pub fn of(&self, key: &Key) -> Vec<Arc<EndpointSlice>> {
        self.cache.filter(|own, slice| {
            own.namespace == key.namespace && service_of(slice, self.manager).as_ref() == Some(key)
        })
    }

    /// Remembers a write unless its echo has already arrived in the cache.
    fn expect(&self, key: &Key, name: String, version: Option<u64>) {
        let present = self.cache.get(&key.namespace, &name);
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

    /// Does what a plan says.
    pub async fn write(&self, key: &Key, writes: Writes) -> Result<(), ReconcileError> {
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

/// The Service of a slice that is this manager's.
fn service_of(slice: &EndpointSlice, manager: &str) -> Option<Key> {
    let labels = slice.metadata.labels.as_ref()?;
    if labels.get(MANAGED_BY).map(String::as_str) != Some(manager) {
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
