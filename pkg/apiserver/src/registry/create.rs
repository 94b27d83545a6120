//! Create: a new object from its body to the store.
//!
//! ```text
//! decode ─ default ─ admit ─ identity ─ prepare ─ validate ─ reserve ─ commit
//!                      ▲                                                  │
//!                      └───────── generateName: taken, another name ──────┘
//! ```

use bytes::Bytes;
use http::{Response, StatusCode};
use kobune_api::status::{Reason, Status};
use kobune_api::{meta, names};
use kobune_store::{CommitError, Expect, Op};
use serde_json::Value;

use super::call::Call;
use super::encode::{stored, unstored};
use super::options::WriteOptions;
use super::{output, update};
use crate::http::body::Body;
use crate::{admission, quota, rules};

/// How many names are tried for a `generateName`.
const NAME_ATTEMPTS: usize = 8;

/// POST to a collection.
pub async fn create(call: &Call<'_>, body: Bytes) -> Result<Response<Body>, Status> {
    let options = WriteOptions::parse(call.query, "CreateOptions")?;
    let mut object = update::decode(call, &body, options.validation)?;
    place(call, &mut object)?;
    rules::strip_status(call, &mut object);
    rules::defaults(&call.row.kind, &mut object);
    let bytes = insert(call, object, &options).await?;
    output::object(call, StatusCode::CREATED, &bytes)
}

/// Puts the object into the namespace of the path, or refuses it.
pub(super) fn place(call: &Call<'_>, object: &mut Value) -> Result<(), Status> {
    let wanted = call.info.namespace;
    if !call.row.kind.namespaced {
        if meta::namespace(object).is_empty() {
            return Ok(());
        }
        if call.row.is("", "namespaces") {
            meta::remove(object, "namespace");
            return Ok(());
        }
        return Err(Status::bad_request(
            "namespace must be empty for a cluster-scoped resource",
        ));
    }
    let given = meta::namespace(object);
    if given.is_empty() {
        meta::set(object, "namespace", wanted);
    } else if given != wanted {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

/// Admits, completes, validates and stores a decoded and defaulted object; gives its stored bytes.
pub(super) async fn insert(
    call: &Call<'_>,
    object: Value,
    options: &WriteOptions<'_>,
) -> Result<Bytes, Status> {
    if !meta::resource_version(&object).is_empty() {
        let message = "resourceVersion should not be set on objects to be created";
        return Err(Status::new(500, Reason::Unknown, message));
    }
    let base = match meta::name(&object) {
        "" => meta::text(&object, "generateName").to_owned(),
        _ => String::new(),
    };
    if base.is_empty() {
        return named(call, object, options).await;
    }
    let mut attempts = 0;
    loop {
        attempts += 1;
        let name = names::generate(&base, call.server.random());
        let mut candidate = object.clone();
        meta::set(&mut candidate, "name", name.as_str());
        match named(call, candidate, options).await {
            Err(status) if status.reason != Reason::AlreadyExists => return Err(status),
            Err(_) if attempts == NAME_ATTEMPTS => {
                return Err(Status::generate_name_conflict(call.row.resource(), &name));
            }
            Err(_) => {}
            made => return made,
        }
    }
}

async fn named(call: &Call<'_>, mut object: Value, options: &WriteOptions<'_>) -> Result<Bytes, Status> {
    admission::create(call, &mut object)?;
    complete(call, &mut object)?;
    rules::track(call, None, &mut object, options, "");
    store(call, &mut object, options).await
}

/// What only the server sets on a new object, and the kind's own preparations.
fn complete(call: &Call<'_>, object: &mut Value) -> Result<(), Status> {
    meta::begin_life(object, &call.server.new_uid(), call.now);
    if call.row.facts.generation.is_empty() {
        meta::remove(object, "generation");
    } else {
        meta::set(object, "generation", 1);
    }
    call.row.strategy.prepare_create(call, object)
}

fn validate(call: &Call<'_>, object: &Value) -> Result<(), Status> {
    let errors = rules::validate_create(&call.row.kind, object);
    if errors.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(
        call.row.group_kind(),
        meta::name(object),
        &errors,
    ))
}

async fn store(call: &Call<'_>, object: &mut Value, options: &WriteOptions<'_>) -> Result<Bytes, Status> {
    validate(call, object)?;
    rules::warn(call, None, object);
    let name = meta::name(object).to_owned();
    let key = call.row.key(call.info.namespace, &name);
    if let Some(there) = call.server.store.get(&key) {
        return Err(exists(call, &name, &there.value));
    }
    let reservation = call.row.strategy.reserve(call, None, object)?;
    if options.dry_run {
        quota::charge(call, call.info.namespace, None, Some(object), true).await?;
        return Ok(unstored(object));
    }
    let durability = call.row.strategy.durability(None, object);
    let put = Op::Put {
        key: key.clone(),
        value: stored(call.row, object),
        expect: Expect::Absent,
    };
    let outcome = loop {
        let charges = quota::charge(call, call.info.namespace, None, Some(object), true).await?;
        let mut ops = call.row.strategy.beside(call, None, Some(object))?;
        ops.extend(charges.ops);
        if ops.is_empty() {
            break call.server.store.commit(vec![put], durability).await;
        }
        ops.push(put.clone());
        match call.server.store.commit(ops, durability).await {
            // What is written beside was changed meanwhile: it is asked again.
            Err(CommitError::Conflict { key: other, .. }) if other != key => {}
            outcome => break outcome,
        }
    };
    match outcome {
        Ok(mut committed) => {
            if let Some(reservation) = reservation {
                reservation.keep();
            }
            match committed.records.pop().flatten() {
                Some(record) => {
                    call.server.wrote(call.row, &record);
                    Ok(record.value.clone())
                }
                None => Err(Status::internal("the store did not return the object")),
            }
        }
        Err(CommitError::Conflict { current, .. }) => {
            let there = current.map(|record| record.value.clone()).unwrap_or_default();
            Err(exists(call, &name, &there))
        }
        Err(error) => Err(update::failed(call, &error)),
    }
}

/// The name is taken; says so if its owner is on its way out.
fn exists(call: &Call<'_>, name: &str, there: &[u8]) -> Status {
    let mut status = Status::already_exists(call.row.resource(), name);
    if meta::Meta::parse(there).is_ok_and(|there| there.metadata.is_deleting()) {
        status.message = format!("object is being deleted: {}", status.message);
    }
    status
}
