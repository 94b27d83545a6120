//! Keeps the zone in step with the cluster.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use kobune_client::k8s_openapi::api::core::v1::{Namespace, Service};
use kobune_client::k8s_openapi::api::discovery::v1::EndpointSlice;
use kobune_client::{Caches, Change, Key};

use crate::names;
use crate::zone::Zone;

/// The label that names a slice's Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The slices seen, by Service and their own name.
type Slices = HashMap<Key, BTreeMap<String, Arc<EndpointSlice>>>;

/// Follows the caches until they stop.
pub(crate) async fn follow(caches: Caches, zone: &RwLock<Zone>) {
    let services = caches.get::<Service>();
    let slices = caches.get::<EndpointSlice>();
    let namespaces = caches.get::<Namespace>();
    if !(services.ready().await && slices.ready().await && namespaces.ready().await) {
        return;
    }
    let mut service_changes = services.subscribe();
    let mut slice_changes = slices.subscribe();
    let mut namespace_changes = namespaces.subscribe();
    let mut known = Slices::new();
    let mut changed = BTreeSet::new();
    loop {
        while let Some(change) = service_changes.try_next() {
            changed.insert(Key::of(&**change.object()));
        }
        while let Some(change) = slice_changes.try_next() {
            note(&mut known, change, &mut changed);
        }
        let updates: Vec<_> = std::mem::take(&mut changed)
            .into_iter()
            .map(|key| {
                let service = services.get_key(&key);
                let slices: Vec<_> = known
                    .get(&key)
                    .into_iter()
                    .flat_map(BTreeMap::values)
                    .map(|s| &**s)
                    .collect();
                (
                    key.to_string(),
                    service.and_then(|service| names::of(&service, &slices)),
                )
            })
            .collect();
        {
            let mut zone = zone.write().unwrap_or_else(PoisonError::into_inner);
            for (key, names) in updates {
                zone.set_service(&key, names);
            }
            while let Some(change) = namespace_changes.try_next() {
                set_namespace(&mut zone, &change);
            }
            zone.complete = true;
        }
        tokio::select! {
            change = service_changes.next() => match change {
                Some(change) => { changed.insert(Key::of(&**change.object())); }
                None => return,
            },
            change = slice_changes.next() => match change {
                Some(change) => note(&mut known, change, &mut changed),
                None => return,
            },
            change = namespace_changes.next() => match change {
                Some(change) => set_namespace(&mut zone.write().unwrap_or_else(PoisonError::into_inner), &change),
                None => return,
            },
        }
    }
}

fn set_namespace(zone: &mut Zone, change: &Change<Namespace>) {
    let name = change.object().metadata.name.as_deref().unwrap_or_default();
    zone.set_namespace(name, matches!(change, Change::Applied { .. }));
}

/// Notes a change of a slice, and in `changed` the Services it concerns.
fn note(known: &mut Slices, change: Change<EndpointSlice>, changed: &mut BTreeSet<Key>) {
    let (gone, come) = match change {
        Change::Applied { object, previous } => (previous, Some(object)),
        Change::Deleted(object) => (Some(object), None),
    };
    if let Some((service, gone)) = gone.and_then(|gone| Some((service_of(&gone)?, gone))) {
        if let Some(slices) = known.get_mut(&service) {
            slices.remove(gone.metadata.name.as_deref().unwrap_or_default());
            if slices.is_empty() {
                known.remove(&service);
            }
        }
        changed.insert(service);
    }
    if let Some((service, come)) = come.and_then(|come| Some((service_of(&come)?, come))) {
        let name = come.metadata.name.clone().unwrap_or_default();
        known.entry(service.clone()).or_default().insert(name, come);
        changed.insert(service);
    }
}

fn service_of(slice: &EndpointSlice) -> Option<Key> {
    let service = slice.metadata.labels.as_ref()?.get(SERVICE_NAME)?;
    Some(Key::new(
        slice.metadata.namespace.clone().unwrap_or_default(),
        service.clone(),
    ))
}
