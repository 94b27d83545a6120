//! Admission: what must hold in the cluster, beside the object's own rules, before a write is done.
//!
//! ```text
//! namespace lifecycle ─ node restriction ─ default limits ─ service account ─ priority ─ tolerations ─
//! runtime class ─ limits
//!
//! and, with the write itself: quota
//! ```

mod limits;
mod namespaces;
mod nodes;
mod pods;
mod runtime_class;

use kobune_api::status::Status;
use serde_json::Value;

use crate::registry::call::Call;

/// A new object.
pub fn create(call: &Call<'_>, object: &mut Value) -> Result<(), Status> {
    namespaces::create(call, object)?;
    nodes::create(call, object)?;
    if call.row.is("", "pods") {
        limits::fill(call, object);
        pods::create(call, object)?;
        runtime_class::create(call, object)?;
    }
    if call.row.is("", "pods") || call.row.is("", "persistentvolumeclaims") {
        limits::check(call, object)?;
    }
    Ok(())
}

/// A changed object.
pub fn update(call: &Call<'_>, part: &str, old: &Value, new: &mut Value) -> Result<(), Status> {
    nodes::update(call, part, old, new)?;
    let bounded = match part {
        "" => call.row.is("", "persistentvolumeclaims"),
        "resize" => call.row.is("", "pods"),
        _ => false,
    };
    if bounded && kobune_api::meta::deletion_timestamp(old).is_empty() {
        limits::check(call, new)?;
    }
    Ok(())
}

/// An object about to be deleted.
pub fn delete(call: &Call<'_>, object: &Value) -> Result<(), Status> {
    namespaces::delete(call, object)?;
    nodes::delete(call, object)
}
