//! Jobs: their selector is made of their uid, unless it is chosen by hand.

use kobune_api::meta;
use kobune_api::status::Status;
use serde_json::{Value, json};

use super::Strategy;
use crate::object::{as_map, fields};
use crate::registry::call::Call;

/// See the module.
pub struct Jobs;

impl Strategy for Jobs {
    fn prepare_create(&self, _call: &Call<'_>, job: &mut Value) -> Result<(), Status> {
        if job["spec"]["manualSelector"] == true {
            return Ok(());
        }
        let (name, uid) = (meta::name(job).to_owned(), meta::uid(job).to_owned());
        let spec = fields(job, "spec");
        if spec.get("selector").is_none_or(Value::is_null) {
            spec.insert(
                "selector".to_owned(),
                json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}),
            );
        }
        let template = spec.entry("template").or_insert_with(|| json!({}));
        let labels = meta::metadata_mut(template)
            .entry("labels")
            .or_insert_with(|| json!({}));
        for (key, value) in [
            ("batch.kubernetes.io/controller-uid", &uid),
            ("batch.kubernetes.io/job-name", &name),
            ("controller-uid", &uid),
            ("job-name", &name),
        ] {
            as_map(labels).insert(key.to_owned(), value.as_str().into());
        }
        Ok(())
    }
}
