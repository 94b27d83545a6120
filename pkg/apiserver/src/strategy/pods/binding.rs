//! `pods/binding`: the scheduler's word on where a pod runs.

use bytes::Bytes;
use http::{Response, StatusCode};
use kobune_api::fields::FieldError;
use kobune_api::meta;
use kobune_api::status::{self, Status};
use serde_json::{Value, json};

use super::set_condition;
use crate::http::body::Body;
use crate::object::{as_map, at, fields, text};
use crate::registry::call::Call;
use crate::registry::options::WriteOptions;
use crate::registry::{output, update};
use crate::rules;

/// POST of `pods/{name}/binding`.
pub async fn bind(call: &Call<'_>, body: Bytes) -> Result<Response<Body>, Status> {
    let options = WriteOptions::parse(call.query, "CreateOptions")?;
    let binding = rules::decode_part(call, &body, options.validation)?;
    let given = meta::name(&binding);
    if !given.is_empty() && given != call.info.name {
        return Err(Status::bad_request(format!(
            "name in URL does not match name in Binding object: {} {given}",
            call.info.name
        )));
    }
    check(&binding, call.info.name)?;
    let node = text(&binding, &["target", "name"]).to_owned();
    update::change(call, "binding", &options, &mut |pod| {
        assign(call, pod, &binding, &node)
    })
    .await?;
    Ok(output::status(
        call,
        StatusCode::CREATED,
        &status::success(Some(201), None),
    ))
}

/// POST of `bindings`, the older way in.
pub async fn bind_legacy(call: &Call<'_>, body: Bytes) -> Result<Response<Body>, Status> {
    let binding = update::decode(call, &body, rules::FieldValidation::Ignore)?;
    let Some(row) = call.server.rows.find("", "v1", "pods") else {
        return Err(Status::no_such_resource());
    };
    let name = meta::name(&binding).to_owned();
    let info = crate::http::info::RequestInfo {
        resource: "pods",
        subresource: "binding",
        name: &name,
        ..call.info.clone()
    };
    let inner = Call {
        row: &row,
        info: &info,
        warnings: std::sync::Mutex::default(),
        ..*call
    };
    bind(&inner, body).await
}

fn check(binding: &Value, name: &str) -> Result<(), Status> {
    let mut errors = Vec::new();
    let kind = text(binding, &["target", "kind"]);
    if !matches!(kind, "" | "Node") {
        errors.push(FieldError::not_supported(
            "target.kind",
            kind,
            &["Node", "<empty>"],
        ));
    }
    if text(binding, &["target", "name"]).is_empty() {
        errors.push(FieldError::required("target.name", ""));
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Status::invalid(("", "Binding"), name, &errors))
    }
}

fn assign(call: &Call<'_>, pod: &Value, binding: &Value, node: &str) -> Result<Value, Status> {
    let name = call.info.name;
    let refuse = |why: String| Status::conflict(("", "pods/binding"), name, why);
    let uid = meta::uid(binding);
    if !uid.is_empty() && uid != meta::uid(pod) {
        return Err(Status::uid_mismatch(
            ("", "pods/binding"),
            name,
            uid,
            meta::uid(pod),
        ));
    }
    if !meta::deletion_timestamp(pod).is_empty() {
        return Err(refuse(format!(
            "pod {name} is being deleted, cannot be assigned to a host"
        )));
    }
    let current = text(pod, &["spec", "nodeName"]);
    if !current.is_empty() {
        return Err(refuse(format!(
            "pod {name} is already assigned to node {current:?}"
        )));
    }
    let gates = at(pod, &["spec", "schedulingGates"]).and_then(Value::as_array);
    if gates.is_some_and(|gates| !gates.is_empty()) {
        return Err(refuse(format!("pod {name} has non-empty .spec.schedulingGates")));
    }
    let mut pod = pod.clone();
    fields(&mut pod, "spec").insert("nodeName".to_owned(), node.into());
    if let Some(more) = at(binding, &["metadata", "annotations"]).and_then(Value::as_object) {
        let annotations = meta::metadata_mut(&mut pod)
            .entry("annotations")
            .or_insert_with(|| json!({}));
        as_map(annotations).extend(more.clone());
    }
    set_condition(&mut pod, "PodScheduled", "True", call.now);
    Ok(pod)
}
