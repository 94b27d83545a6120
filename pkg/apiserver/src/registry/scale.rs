//! The scale subresource: the number of replicas of Deployments, ReplicaSets, StatefulSets and
//! ReplicationControllers as an `autoscaling/v1 Scale`.

use bytes::Bytes;
use http::{Response, StatusCode};
use kobune_api::selectors::LabelSelector;
use kobune_api::status::Status;
use kobune_api::{merge, meta};
use serde_json::{Value, json};

use super::call::Call;
use super::options::WriteOptions;
use super::patch::{Patch, PatchType};
use super::{output, update};
use crate::http::body::Body;
use crate::http::info::Verb;
use crate::http::negotiate::content_type;
use crate::object::{at, fields, integer};
use crate::rules::{self, FieldValidation};

/// GET, PUT and PATCH of `…/scale`.
pub async fn scale(call: &Call<'_>, body: Bytes) -> Result<Response<Body>, Status> {
    let object = match call.info.verb {
        Verb::Get => {
            let record = call.server.store.get(&call.key());
            let record = record.ok_or_else(|| Status::not_found(call.row.resource(), call.info.name))?;
            call.read(&record.value)?
        }
        Verb::Update => {
            let options = WriteOptions::parse(call.query, "UpdateOptions")?;
            let wanted = rules::decode_part(call, &body, options.validation)?;
            set(call, &options, &mut |_| Ok(wanted.clone())).await?
        }
        Verb::Patch => {
            let options = WriteOptions::parse(call.query, "PatchOptions")?;
            let kind = PatchType::of(content_type(call.headers))?;
            let (patch, _) = Patch::read(kind, body, FieldValidation::Ignore)?;
            set(call, &options, &mut |now| {
                let mut wanted = now.clone();
                merge_into(&mut wanted, &patch)?;
                Ok(wanted)
            })
            .await?
        }
        _ => return Err(Status::method_not_allowed()),
    };
    output::scale(call, StatusCode::OK, of(call, &object))
}

fn merge_into(scale: &mut Value, patch: &Patch) -> Result<(), Status> {
    match patch {
        Patch::Json(operations) => merge::json_patch(scale, operations).map_err(rules::unpatchable),
        Patch::Merge(fields) | Patch::Strategic(fields) | Patch::Apply(fields) => {
            merge::json_merge(scale, fields);
            Ok(())
        }
    }
}

async fn set(
    call: &Call<'_>,
    options: &WriteOptions<'_>,
    make: &mut update::Make<'_>,
) -> Result<Value, Status> {
    let changed = update::change(call, "scale", options, &mut |old| {
        let wanted = make(&of(call, old))?;
        let replicas = integer(&wanted, &["spec", "replicas"]).unwrap_or(0);
        let mut new = old.clone();
        if replicas < 0 {
            let error = kobune_api::fields::FieldError::invalid(
                "spec.replicas",
                replicas,
                "must be greater than or equal to 0",
            );
            return Err(Status::invalid(
                ("autoscaling", "Scale"),
                call.info.name,
                &[error],
            ));
        }
        let version = meta::resource_version(&wanted).to_owned();
        meta::set(&mut new, "resourceVersion", version);
        fields(&mut new, "spec").insert("replicas".to_owned(), replicas.into());
        Ok(new)
    })
    .await?;
    call.read(&changed.bytes)
}

/// The Scale of an object.
fn of(call: &Call<'_>, object: &Value) -> Value {
    let mut metadata = json!({
        "name": meta::name(object),
        "namespace": meta::namespace(object),
        "uid": meta::uid(object),
        "resourceVersion": meta::resource_version(object),
    });
    if let Some(created) = at(object, &["metadata", "creationTimestamp"]) {
        metadata["creationTimestamp"] = created.clone();
    }
    let mut scale = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {},
        "status": {"replicas": integer(object, &["status", "replicas"]).unwrap_or(0)},
    });
    if let Some(replicas) = integer(object, &["spec", "replicas"]).filter(|replicas| *replicas != 0) {
        scale["spec"]["replicas"] = replicas.into();
    }
    if let Some(selector) = selector(call, object) {
        scale["status"]["selector"] = selector.into();
    }
    scale
}

fn selector(call: &Call<'_>, object: &Value) -> Option<String> {
    let selector = at(object, &["spec", "selector"])?;
    if call.row.is("", "replicationcontrollers") {
        return Some(LabelSelector::from_map(selector.as_object()).to_string());
    }
    LabelSelector::from_object(Some(selector))
        .ok()
        .map(|selector| selector.to_string())
}
