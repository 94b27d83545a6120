//! Changing an object that is there: the one path of update, patch and every subresource that
//! writes.
//!
//! ```text
//! read ─ make the new state ─ check versions ─ keep what is not the client's ─ prepare ─ admit ─
//! validate ─ same? done ─ commit at the version read ─ changed meanwhile: read again
//! ```

use bytes::Bytes;
use http::{Response, StatusCode};
use kobune_api::fields::FieldError;
use kobune_api::meta;
use kobune_api::status::{Reason, Status};
use kobune_store::{CommitError, Durability, Expect, Op, Record};
use serde_json::Value;

use super::call::Call;
use super::encode::{is_same, stored, unstored};
use super::options::WriteOptions;
use super::{create, delete, output};
use crate::http::body::Body;
use crate::http::negotiate::content_type;
use crate::object::{restore, restore_meta};
use crate::rules::FieldValidation;
use crate::{admission, quota, rules};

/// What a change makes of the object that is there; `None`: it is not there and was asked for.
pub type Make<'m> = dyn FnMut(&Value) -> Result<Value, Status> + Send + 'm;

/// The outcome of a change: what is stored, or what was when the change let the object go.
pub struct Changed {
    /// The object as it is now, in the stored version.
    pub bytes: Bytes,
}

/// PUT on an object or a part of it that has the object's own type.
pub async fn update(call: &Call<'_>, body: Bytes) -> Result<Response<Body>, Status> {
    let options = WriteOptions::parse(call.query, "UpdateOptions")?;
    let mut object = decode(call, &body, options.validation)?;
    create::place(call, &mut object)?;
    named(call, &mut object)?;
    rules::defaults(&call.row.kind, &mut object);
    let part = call.info.subresource;
    let creates = call.row.facts.create_on_update && part.is_empty();
    if creates && call.server.store.get(&call.key()).is_none() && meta::uid(&object).is_empty() {
        let bytes = create::insert(call, object, &options).await?;
        return output::object(call, StatusCode::CREATED, &bytes);
    }
    let changed = change(call, part, &options, &mut |_| Ok(object.clone())).await?;
    output::object(call, StatusCode::OK, &changed.bytes)
}

/// Decodes a body that must be of the call's kind and version.
pub(crate) fn decode(call: &Call<'_>, body: &Bytes, mode: FieldValidation) -> Result<Value, Status> {
    let decoded = rules::decode(&call.row.kind, content_type(call.headers), body, mode)?;
    decoded
        .warnings
        .into_iter()
        .for_each(|warning| call.warn(warning));
    Ok(decoded.value)
}

/// The object must have the name of the path.
pub(super) fn named(call: &Call<'_>, object: &mut Value) -> Result<(), Status> {
    let given = meta::name(object);
    if given.is_empty() {
        meta::set(object, "name", call.info.name);
    } else if given != call.info.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({})",
            call.info.name
        )));
    }
    Ok(())
}

/// Applies a change until it is stored, refused, or changes nothing.
pub async fn change(
    call: &Call<'_>,
    part: &str,
    options: &WriteOptions<'_>,
    make: &mut Make<'_>,
) -> Result<Changed, Status> {
    let key = call.key();
    // Never given up: a conflict means that another write has come through, so all together advance.
    loop {
        let Some(record) = call.server.store.get(&key) else {
            return Err(Status::not_found(call.row.resource(), call.info.name));
        };
        let old = call.read(&record.value)?;
        let new = next(call, part, options, make, &old)?;
        if let Some(changed) = write(call, part, options, &record, &old, new).await? {
            return Ok(changed);
        }
    }
}

/// The state that a change asks for, complete and found good.
fn next(
    call: &Call<'_>,
    part: &str,
    options: &WriteOptions<'_>,
    make: &mut Make<'_>,
    old: &Value,
) -> Result<Value, Status> {
    let mut new = make(old)?;
    check_version(call, old, &new)?;
    // From here on it is a change of what is there, also where the client did not say so.
    restore_meta(&mut new, old, "resourceVersion");
    keep(call, part, old, &mut new);
    call.row.strategy.prepare_update(call, part, old, &mut new)?;
    bump_generation(call, part, old, &mut new);
    admission::update(call, part, old, &mut new)?;
    validate(call, part, old, &new)?;
    if part.is_empty() {
        rules::warn(call, Some(old), &new);
    }
    rules::track(call, Some(old), &mut new, options, part);
    Ok(new)
}

/// Stores the new state at the version that was read, unless it is the same; `None`: somebody wrote
/// meanwhile.
async fn write(
    call: &Call<'_>,
    part: &str,
    options: &WriteOptions<'_>,
    record: &Record,
    old: &Value,
    mut new: Value,
) -> Result<Option<Changed>, Status> {
    let reservation = call.row.strategy.reserve(call, Some(old), &mut new)?;
    let goes = delete::is_finished(call, &new);
    let value = stored(call.row, &new);
    if !goes && is_same(&value, &record.value) {
        let bytes = record.value.clone();
        return Ok(Some(Changed { bytes }));
    }
    let enforced = matches!(part, "" | "resize");
    let left = (!goes).then_some(&new);
    let charges = quota::charge(call, call.info.namespace, Some(old), left, enforced).await?;
    if options.dry_run {
        let bytes = unstored(&new);
        return Ok(Some(Changed { bytes }));
    }
    let durability = if goes {
        Durability::Synced
    } else {
        call.row.strategy.durability(Some(old), &new)
    };
    let mut ops = call.row.strategy.beside(call, Some(old), left)?;
    ops.extend(charges.ops);
    ops.push(op(record, value, goes));
    let mut committed = match call.server.store.commit(ops, durability).await {
        Ok(committed) => committed,
        Err(CommitError::Conflict { .. }) => return Ok(None),
        Err(error) => return Err(failed(call, &error)),
    };
    if let Some(reservation) = reservation {
        reservation.keep();
    }
    if goes {
        call.row.strategy.deleted(call, &new);
        let bytes = unstored(&new);
        return Ok(Some(Changed { bytes }));
    }
    let Some(record) = committed.records.pop().flatten() else {
        return Err(Status::internal("the store did not return the object"));
    };
    call.server.wrote(call.row, &record);
    let bytes = record.value.clone();
    Ok(Some(Changed { bytes }))
}

/// The write of an object's new state, or of its end in that state, if it is still as it was read.
pub(super) fn op(record: &Record, value: kobune_store::Value, goes: bool) -> Op {
    let (key, expect) = (record.key.clone(), Expect::Revision(record.revision));
    if goes {
        let last = Some(value);
        Op::Delete { key, expect, last }
    } else {
        Op::Put { key, value, expect }
    }
}

/// The version and identity the client saw must be those that are there.
fn check_version(call: &Call<'_>, old: &Value, new: &Value) -> Result<(), Status> {
    let (uid, has) = (meta::uid(new), meta::uid(old));
    if !uid.is_empty() && uid != has {
        return Err(Status::uid_mismatch(
            call.row.resource(),
            call.info.name,
            uid,
            has,
        ));
    }
    let version = meta::resource_version(new);
    if version.is_empty() || version == "0" {
        if call.row.facts.conditional_update {
            let zero = FieldError::invalid("metadata.resourceVersion", 0, "must be specified for an update");
            return Err(Status::invalid(call.row.group_kind(), call.info.name, &[zero]));
        }
    } else if version.parse::<u64>().is_err() {
        let bad = FieldError::invalid(
            "metadata.resourceVersion",
            version,
            format!("strconv.ParseUint: parsing {version:?}: invalid syntax"),
        );
        return Err(Status::invalid(call.row.group_kind(), call.info.name, &[bad]));
    } else if version != meta::resource_version(old) {
        return Err(Status::modified(call.row.resource(), call.info.name));
    }
    Ok(())
}

/// Takes from the old object what a client cannot set by this way in.
fn keep(call: &Call<'_>, part: &str, old: &Value, new: &mut Value) {
    for field in [
        "creationTimestamp",
        "uid",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        // Setting another uid or creation time is an error that validation reports; leaving them out
        // is not.
        let given = matches!(field, "creationTimestamp" | "uid")
            && meta::metadata(new)
                .and_then(|map| map.get(field))
                .is_some_and(|value| !value.is_null());
        if !given {
            restore_meta(new, old, field);
        }
    }
    meta::remove(new, "selfLink");
    let has_status = call.row.kind.subresource("status").is_some();
    match part {
        "" if has_status => restore(new, old, "status"),
        "status" => {
            let others: Vec<String> = all_fields(old, new);
            for field in others
                .iter()
                .filter(|field| *field != "status" && *field != "metadata")
            {
                restore(new, old, field);
            }
            if call.row.facts.status_keeps_metadata {
                keep_metadata(old, new);
            }
        }
        _ => {}
    }
}

fn all_fields(old: &Value, new: &Value) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for object in [old, new] {
        all.extend(object.as_object().into_iter().flat_map(|map| map.keys().cloned()));
    }
    all.sort_unstable();
    all.dedup();
    all
}

/// Upstream's `ResetObjectMetaForStatus`: labels, annotations, finalizers and owners stay.
pub(crate) fn keep_metadata(old: &Value, new: &mut Value) {
    for field in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "labels",
        "annotations",
        "finalizers",
        "ownerReferences",
        "managedFields",
    ] {
        restore_meta(new, old, field);
    }
}

/// The generation counts the changes of what the user asks for; a status is none, nor are the
/// annotations that come with it.
fn bump_generation(call: &Call<'_>, part: &str, old: &Value, new: &mut Value) {
    // Neither is what the user asks for; upstream's binding leaves the generation alone too.
    if matches!(part, "status" | "binding") {
        return;
    }
    let watched = call.row.facts.generation;
    let changed = watched.iter().any(|field| match *field {
        "metadata" => {
            let annotations = ["metadata", "annotations"];
            crate::object::at(old, &annotations) != crate::object::at(new, &annotations)
        }
        field => old.get(field) != new.get(field),
    });
    if changed {
        meta::set(new, "generation", meta::generation(old) + 1);
    }
}

fn validate(call: &Call<'_>, part: &str, old: &Value, new: &Value) -> Result<(), Status> {
    let errors = rules::validate_update(&call.row.kind, part, old, new);
    if errors.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(call.row.group_kind(), meta::name(new), &errors))
}

/// What the store said, in the API's words.
pub(super) fn failed(call: &Call<'_>, error: &CommitError) -> Status {
    match error {
        CommitError::Conflict { .. } => Status::modified(call.row.resource(), call.info.name),
        CommitError::Full { .. } => {
            tracing::error!(%error, "a write was refused");
            Status::new(
                507,
                Reason::InternalError,
                "etcdserver: mvcc: database space exceeded: no space left on the disk of the datastore",
            )
        }
        CommitError::TooLarge { limit, .. } => Status::too_large(*limit),
        CommitError::Closed => Status::service_unavailable("the server is shutting down"),
        CommitError::Backend { .. } => {
            tracing::error!(error = %crate::describe(error), "a write failed");
            Status::internal(crate::describe(error))
        }
    }
}
