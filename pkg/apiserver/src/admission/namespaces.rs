//! Namespace lifecycle: objects need their namespace, nothing new comes into one that goes, and the
//! system's own namespaces stay.

use kobune_api::meta;
use kobune_api::status::Status;
use serde_json::Value;

use crate::registry::call::Call;

/// The namespaces that cannot be deleted.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

/// Refuses a new object whose namespace is not there or is terminating.
pub fn create(call: &Call<'_>, object: &Value) -> Result<(), Status> {
    if !call.row.kind.namespaced {
        return Ok(());
    }
    let namespace = call.info.namespace;
    let key = format!("/registry/core/namespaces/{namespace}");
    let Some(record) = call.server.store.get(&key) else {
        return Err(Status::not_found(("", "namespaces"), namespace));
    };
    let terminating = meta::Meta::parse(&record.value).is_ok_and(|there| there.metadata.is_deleting());
    if !terminating {
        return Ok(());
    }
    let name = match meta::name(object) {
        "" => meta::text(object, "generateName"),
        name => name,
    };
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let message = format!("namespace {namespace} is being terminated");
    Err(Status::forbidden(call.row.resource(), name, why).with_cause(
        "NamespaceTerminating",
        message,
        "metadata.namespace",
    ))
}

/// Refuses to delete the system's namespaces.
pub fn delete(call: &Call<'_>, object: &Value) -> Result<(), Status> {
    let name = meta::name(object);
    if call.row.is("", "namespaces") && IMMORTAL.contains(&name) {
        let why = "this namespace may not be deleted";
        return Err(Status::forbidden(call.row.resource(), name, why));
    }
    Ok(())
}
