//! Delete: marking, waiting for grace and finalizers, and removing.

pub mod plan;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{Response, StatusCode};
use kobune_api::meta;
use kobune_api::status::{self, Details, Status};
use kobune_store::{CommitError, Durability, Record};
use serde_json::Value;

use super::call::Call;
use super::encode::{is_same, stored, unstored};
use super::options::DeleteOptions;
use super::{list, output, update};
use crate::http::body::Body;
use crate::http::negotiate::content_type;
use crate::{admission, quota, rules};
use plan::Step;

/// How many objects of a collection are deleted at once: group commit makes one disk write of them.
const AT_ONCE: usize = 16;

/// What a delete did.
struct Deleted {
    bytes: Bytes,
    object: Value,
    gone: bool,
}

/// DELETE of one object.
pub async fn delete(call: &Call<'_>, body: Bytes) -> Result<Response<Body>, Status> {
    let options = read_options(call, &body)?;
    let deleted = one(call, call.info.name, call.info.namespace, &options).await?;
    if deleted.gone && !call.row.facts.returns_deleted {
        let details = Details {
            name: meta::name(&deleted.object).to_owned(),
            group: call.row.kind.group.to_string(),
            kind: call.row.kind.plural.to_string(),
            uid: meta::uid(&deleted.object).to_owned(),
            ..Details::default()
        };
        return Ok(output::status(
            call,
            StatusCode::OK,
            &status::success(None, Some(&details)),
        ));
    }
    let cascades = options.orphan_dependents == Some(false);
    let code = if !deleted.gone && cascades {
        StatusCode::ACCEPTED
    } else {
        StatusCode::OK
    };
    output::object(call, code, &deleted.bytes)
}

/// DELETE of a collection: every object that the selectors match.
pub async fn collection(call: &Call<'_>, body: Bytes) -> Result<Response<Body>, Status> {
    let options = read_options(call, &body)?;
    let found = list::select(call).await?;
    let deletes = found.records.iter().map(|record| {
        let options = &options;
        async move {
            let object = call.read(&record.value)?;
            match one(call, meta::name(&object), meta::namespace(&object), options).await {
                // Somebody else was faster: that is what was wanted.
                Err(status) if status.code == 404 => Ok(()),
                other => other.map(|_| ()),
            }
        }
    });
    // The collected futures give the stream one type to hold.
    let deletes: Vec<_> = deletes.collect();
    stream::iter(deletes)
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    output::list(call, found)
}

/// The delete at the end of an eviction.
pub(crate) async fn evict(call: &Call<'_>, options: &DeleteOptions) -> Result<(), Status> {
    one(call, call.info.name, call.info.namespace, options)
        .await
        .map(drop)
}

fn read_options(call: &Call<'_>, body: &Bytes) -> Result<DeleteOptions, Status> {
    if body.is_empty() {
        return DeleteOptions::from_query(call.query);
    }
    let object = rules::decode_options(content_type(call.headers), body)?;
    let kind = crate::object::text(&object, &["kind"]);
    if !matches!(kind, "" | "DeleteOptions") {
        return Err(Status::bad_request(format!(
            "decoded object cannot be converted to DeleteOptions: it is a {kind}"
        )));
    }
    let mut options = DeleteOptions::from_object(&object)?;
    // kubectl may send dryRun in both places.
    options.dry_run |= DeleteOptions::from_query(call.query)?.dry_run;
    Ok(options)
}

async fn one(
    call: &Call<'_>,
    name: &str,
    namespace: &str,
    options: &DeleteOptions,
) -> Result<Deleted, Status> {
    let key = call.row.key(namespace, name);
    // Never given up: a conflict means that another write has come through, so all together advance.
    loop {
        let Some(record) = call.server.store.get(&key) else {
            return Err(Status::not_found(call.row.resource(), name));
        };
        let old = call.read(&record.value)?;
        check_preconditions(call, name, &old, options)?;
        call.row.strategy.check_delete(call, &old)?;
        admission::delete(call, &old)?;
        if let Some(deleted) = begin(call, namespace, options, &record, old).await? {
            return Ok(deleted);
        }
    }
}

/// Takes the next step on the object's way out; `None`: somebody wrote it meanwhile.
async fn begin(
    call: &Call<'_>,
    namespace: &str,
    options: &DeleteOptions,
    record: &Record,
    old: Value,
) -> Result<Option<Deleted>, Status> {
    let mut new = old.clone();
    let step = plan::step(&call.row.facts, call.row.strategy, options, &mut new, call.now);
    if step == Step::Mark {
        call.row.strategy.marked(&mut new);
    }
    let gone = step == Step::Remove;
    let value = stored(call.row, &new);
    if step == Step::Wait || step == Step::Mark && is_same(&value, &record.value) {
        return Ok(Some(Deleted {
            bytes: record.value.clone(),
            object: old,
            gone,
        }));
    }
    if options.dry_run {
        return Ok(Some(Deleted {
            bytes: unstored(&new),
            object: new,
            gone,
        }));
    }
    let durability = if gone {
        call.row.strategy.durability(None, &new)
    } else {
        Durability::Synced
    };
    let left = (!gone).then_some(&new);
    let charges = quota::charge(call, namespace, Some(&old), left, false).await?;
    let mut ops = call.row.strategy.beside(call, Some(&old), left)?;
    ops.extend(charges.ops);
    ops.push(update::op(record, value, gone));
    let mut committed = match call.server.store.commit(ops, durability).await {
        Ok(committed) => committed,
        Err(CommitError::Conflict { .. }) => return Ok(None),
        Err(error) => return Err(update::failed(call, &error)),
    };
    let bytes = if gone {
        call.row.strategy.deleted(call, &new);
        meta::set(&mut new, "resourceVersion", committed.revision.to_string());
        unstored(&new)
    } else {
        let record = committed.records.pop().flatten();
        record.map(|record| record.value.clone()).unwrap_or_default()
    };
    Ok(Some(Deleted {
        bytes,
        object: new,
        gone,
    }))
}

fn check_preconditions(
    call: &Call<'_>,
    name: &str,
    object: &Value,
    options: &DeleteOptions,
) -> Result<(), Status> {
    let resource = call.row.resource();
    if let Some(uid) = options.uid.as_deref().filter(|uid| *uid != meta::uid(object)) {
        return Err(Status::uid_mismatch(resource, name, uid, meta::uid(object)));
    }
    let has = meta::resource_version(object);
    if let Some(version) = options
        .resource_version
        .as_deref()
        .filter(|version| *version != has)
    {
        return Err(Status::version_mismatch(resource, name, version, has));
    }
    Ok(())
}

/// Whether an object that is being deleted has nothing left to wait for.
pub(super) fn is_finished(call: &Call<'_>, object: &Value) -> bool {
    let graceful = crate::object::integer(object, &["metadata", "deletionGracePeriodSeconds"]);
    !meta::deletion_timestamp(object).is_empty()
        && graceful.unwrap_or(0) == 0
        && meta::finalizers(object).next().is_none()
        && call.row.strategy.may_go(object)
}
