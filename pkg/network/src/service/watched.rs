//! Which EndpointSlices belong to which Service.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use kobune_client::k8s_openapi::api::discovery::v1::EndpointSlice;
use kobune_client::{Change, Key};

/// The label that names a slice's Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The slices seen, by Service and their own name.
#[derive(Debug, Default)]
pub(super) struct Watched {
    slices: HashMap<Key, BTreeMap<String, Arc<EndpointSlice>>>,
}

impl Watched {
    /// Notes a change of a slice, and in `changed` the Services it concerns.
    pub(super) fn note(&mut self, change: Change<EndpointSlice>, changed: &mut BTreeSet<Key>) {
        match change {
            Change::Applied { object, previous } => {
                if let Some(previous) = previous {
                    self.forget(&previous, changed);
                }
                if let Some(service) = service_of(&object) {
                    let slices = self.slices.entry(service.clone()).or_default();
                    slices.insert(name(&object), object);
                    changed.insert(service);
                }
            }
            Change::Deleted(object) => self.forget(&object, changed),
        }
    }

    fn forget(&mut self, slice: &EndpointSlice, changed: &mut BTreeSet<Key>) {
        let Some(service) = service_of(slice) else { return };
        if let Some(slices) = self.slices.get_mut(&service) {
            slices.remove(&name(slice));
            if slices.is_empty() {
                self.slices.remove(&service);
            }
        }
        changed.insert(service);
    }

    /// The slices of a Service, in the order of their names.
    pub(super) fn slices(&self, service: &Key) -> Vec<&EndpointSlice> {
        self.slices
            .get(service)
            .into_iter()
            .flat_map(BTreeMap::values)
            .map(|slice| &**slice)
            .collect()
    }
}

fn name(slice: &EndpointSlice) -> String {
    slice.metadata.name.clone().unwrap_or_default()
}

fn service_of(slice: &EndpointSlice) -> Option<Key> {
    let service = slice.metadata.labels.as_ref()?.get(SERVICE_NAME)?;
    Some(Key::new(
        slice.metadata.namespace.clone().unwrap_or_default(),
        service.clone(),
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn slice(name: &str, service: &str) -> Arc<EndpointSlice> {
        let slice = json!({"metadata": {"namespace": "n", "name": name, "labels": {SERVICE_NAME: service}},
            "addressType": "IPv4", "endpoints": []});
        Arc::new(serde_json::from_value(slice).unwrap())
    }

    #[test]
    fn a_slice_that_moves_concerns_both_services() {
        let mut watched = Watched::default();
        let mut changed = BTreeSet::new();
        watched.note(
            Change::Applied {
                object: slice("s", "a"),
                previous: None,
            },
            &mut changed,
        );
        assert_eq!(watched.slices(&Key::new("n", "a")).len(), 1);
        changed.clear();
        let moved = Change::Applied {
            object: slice("s", "b"),
            previous: Some(slice("s", "a")),
        };
        watched.note(moved, &mut changed);
        assert_eq!(changed, BTreeSet::from([Key::new("n", "a"), Key::new("n", "b")]));
        assert_eq!(watched.slices(&Key::new("n", "a")).len(), 0);
        watched.note(Change::Deleted(slice("s", "b")), &mut changed);
        assert!(watched.slices.is_empty());
    }
}
