//! PATCH: a part of an object, merged into what is there.

use bytes::Bytes;
use http::{Response, StatusCode};
use kobune_api::status::Status;
use kobune_api::{merge, meta};
use serde_json::Value;

use super::call::Call;
use super::options::WriteOptions;
use super::{output, update};
use crate::http::body::Body;
use crate::http::negotiate::content_type;
use crate::rules::{self, FieldValidation};

/// The four kinds of patches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchType {
    /// RFC 6902
    Json,
    /// RFC 7386
    Merge,
    /// Kubernetes' own, which knows lists by their keys.
    Strategic,
    /// Server-side apply.
    Apply,
}

impl PatchType {
    /// Reads the content type; 415 for what is no patch.
    pub fn of(content_type: &str) -> Result<Self, Status> {
        match content_type {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" => Ok(Self::Strategic),
            "application/apply-patch+yaml" | "application/apply-patch+json" => Ok(Self::Apply),
            _ => Err(Status::unsupported_media_type(&[
                "application/json-patch+json",
                "application/merge-patch+json",
                "application/strategic-merge-patch+json",
                "application/apply-patch+yaml",
            ])),
        }
    }
}

/// A patch that was read but not applied yet.
pub enum Patch {
    /// Operations, as they came.
    Json(Bytes),
    /// The fields to set, and those to remove as null.
    Merge(Value),
    /// The same with directives.
    Strategic(Value),
    /// A whole intent.
    Apply(Value),
}

impl Patch {
    /// Reads a body; and what is doubtful in it, if that is of interest.
    pub fn read(kind: PatchType, body: Bytes, mode: FieldValidation) -> Result<(Self, Vec<String>), Status> {
        let object = |yaml| rules::patch_object(&body, yaml, mode);
        Ok(match kind {
            PatchType::Json => {
                let findings = rules::operation_findings(&body, mode)?;
                (Self::Json(body), findings)
            }
            PatchType::Merge => object(false).map(|(patch, found)| (Self::Merge(patch), found))?,
            PatchType::Strategic => object(false).map(|(patch, found)| (Self::Strategic(patch), found))?,
            PatchType::Apply => object(true).map(|(patch, found)| (Self::Apply(patch), found))?,
        })
    }
}

/// PATCH on an object or a part of it that has the object's own type.
pub async fn patch(call: &Call<'_>, body: Bytes) -> Result<Response<Body>, Status> {
    let kind = PatchType::of(content_type(call.headers))?;
    let options = WriteOptions::parse(call.query, "PatchOptions")?;
    if options.force.is_some() && kind != PatchType::Apply {
        let error =
            kobune_api::fields::FieldError::forbidden("force", "may not be specified for non-apply patch");
        return Err(Status::invalid(("meta.k8s.io", "PatchOptions"), "", &[error]));
    }
    let (patch, found) = Patch::read(kind, body, options.validation)?;
    if let Patch::Apply(intent) = patch {
        return super::apply::apply(call, &options, intent, &found).await;
    }
    let part = call.info.subresource;
    let changed = update::change(call, part, &options, &mut |old| {
        let mut new = old.clone();
        merge_into(call, &mut new, &patch)?;
        update::named(call, &mut new)?;
        let warnings = rules::prune(&call.row.kind, &mut new, options.validation, &found)?;
        warnings.into_iter().for_each(|warning| call.warn(warning));
        rules::defaults(&call.row.kind, &mut new);
        Ok(new)
    })
    .await?;
    output::object(call, StatusCode::OK, &changed.bytes)
}

/// Merges a patch into an object of the call's kind.
pub fn merge_into(call: &Call<'_>, object: &mut Value, patch: &Patch) -> Result<(), Status> {
    match patch {
        Patch::Json(operations) => merge::json_patch(object, operations).map_err(rules::unpatchable)?,
        Patch::Merge(fields) => merge::json_merge(object, fields),
        Patch::Strategic(fields) => rules::strategic_merge(&call.row.kind, object, fields)?,
        Patch::Apply(_) => return Err(Status::internal("an apply is not a merge")),
    }
    if !object.is_object() || meta::metadata(object).is_none() {
        return Err(Status::bad_request("the patched object is not an object"));
    }
    Ok(())
}
