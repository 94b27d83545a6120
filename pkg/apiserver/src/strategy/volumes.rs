//! Volumes and claims begin as pending.

use kobune_api::status::Status;
use serde_json::{Value, json};

use super::Strategy;
use crate::object::fields;
use crate::registry::call::Call;

/// PersistentVolumes and PersistentVolumeClaims.
pub struct Volumes;

impl Strategy for Volumes {
    fn prepare_create(&self, _call: &Call<'_>, object: &mut Value) -> Result<(), Status> {
        fields(object, "status").insert("phase".to_owned(), json!("Pending"));
        Ok(())
    }
}
