//! Namespaces: they go when everything in them is gone, which a controller sees to and says through
//! the `finalize` subresource.

use kobune_api::meta;
use kobune_api::status::Status;
use serde_json::{Value, json};

use super::Strategy;
use crate::object::{as_map, at, elements, fields, put, restore};
use crate::registry::call::Call;

/// The finalizer of the namespace controller, in `spec`.
const KUBERNETES: &str = "kubernetes";

/// The label that every namespace carries its name in.
const NAME: &str = "kubernetes.io/metadata.name";

/// See the module.
pub struct Namespaces;

fn label(namespace: &mut Value) {
    let name = meta::name(namespace).to_owned();
    let labels = meta::metadata_mut(namespace)
        .entry("labels")
        .or_insert_with(|| json!({}));
    as_map(labels).insert(NAME.to_owned(), name.into());
}

impl Strategy for Namespaces {
    fn prepare_create(&self, _call: &Call<'_>, namespace: &mut Value) -> Result<(), Status> {
        label(namespace);
        fields(namespace, "status").insert("phase".to_owned(), json!("Active"));
        let list = fields(namespace, "spec")
            .entry("finalizers")
            .or_insert_with(|| json!([]));
        match list.as_array_mut() {
            Some(list) if list.iter().any(|name| name == KUBERNETES) => {}
            Some(list) => list.push(json!(KUBERNETES)),
            None => *list = json!([KUBERNETES]),
        }
        Ok(())
    }

    fn prepare_update(
        &self,
        _call: &Call<'_>,
        part: &str,
        old: &Value,
        new: &mut Value,
    ) -> Result<(), Status> {
        label(new);
        if part == "finalize" {
            restore(new, old, "status");
        } else {
            let kept = at(old, &["spec", "finalizers"]).cloned();
            put(fields(new, "spec"), "finalizers", kept);
        }
        Ok(())
    }

    fn may_go(&self, namespace: &Value) -> bool {
        elements(namespace, &["spec", "finalizers"]).is_empty()
    }

    fn marked(&self, namespace: &mut Value) {
        fields(namespace, "status").insert("phase".to_owned(), json!("Terminating"));
    }
}
