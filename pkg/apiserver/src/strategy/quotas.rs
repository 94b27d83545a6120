//! ResourceQuotas: what is used is counted by the server, whoever writes.

use kobune_api::status::Status;
use serde_json::Value;

use super::Strategy;
use crate::object::as_map;
use crate::quota::{limits_of, measure};
use crate::registry::call::Call;

/// See the module.
pub struct Quotas;

impl Strategy for Quotas {
    fn prepare_create(&self, call: &Call<'_>, quota: &mut Value) -> Result<(), Status> {
        count(call, quota, "", true);
        Ok(())
    }

    fn prepare_update(
        &self,
        call: &Call<'_>,
        part: &str,
        _old: &Value,
        quota: &mut Value,
    ) -> Result<(), Status> {
        count(call, quota, part, false);
        Ok(())
    }
}

fn count(call: &Call<'_>, quota: &mut Value, part: &str, new: bool) {
    let status = measure(call, quota, limits_of(quota, part), new);
    as_map(quota).insert("status".to_owned(), status);
}
