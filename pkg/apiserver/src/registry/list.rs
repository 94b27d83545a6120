//! Get and list: from a snapshot of the store to bytes, without reading the objects.

mod token;

use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode};
use kobune_api::fields::FieldError;
use kobune_api::status::Status;
use kobune_store::{Record, Revision, RevisionError, Snapshot};

use super::call::Call;
use super::index::Selection;
use super::output;
use crate::http::body::Body;
use token::Token;

/// How long a read waits for a revision that is not there yet; upstream's.
const WAIT: Duration = Duration::from_secs(3);

/// The objects of one answer.
pub struct Found {
    /// In the order of their keys.
    pub records: Vec<Arc<Record>>,
    /// The revision that the list shows.
    pub revision: Revision,
    /// Where the next page begins; `None` at the end.
    pub continues: Option<String>,
    /// How many objects are left, if no selector makes that unknown.
    pub remaining: Option<u64>,
}

/// GET of one object.
pub async fn get(call: &Call<'_>) -> Result<Response<Body>, Status> {
    if let Some(version) = revision(call.query.text("resourceVersion"))? {
        not_older_than(call, version).await?;
    }
    match call.server.store.get(&call.key()) {
        Some(record) => output::object(call, StatusCode::OK, &record.value),
        None => Err(Status::not_found(call.row.resource(), call.info.name)),
    }
}

/// GET of a collection.
pub async fn list(call: &Call<'_>) -> Result<Response<Body>, Status> {
    match select(call).await {
        Ok(found) => output::list(call, found),
        Err(status) if status.code == 410 => Ok(expired(call, &status)),
        Err(status) => Err(status),
    }
}

/// A page whose revision is forgotten can be followed by one of the newest revision.
fn expired(call: &Call<'_>, status: &Status) -> Response<Body> {
    match call.query.text("continue").and_then(Token::read) {
        None => output::failure(status, call.answer.encoding),
        Some(token) => {
            let next = Token {
                revision: None,
                ..token
            };
            output::expired_page(status, call.answer.encoding, &next.write())
        }
    }
}

/// Finds the objects of a collection that the query selects.
pub async fn select(call: &Call<'_>) -> Result<Found, Status> {
    check_options(call, false)?;
    let selection = Selection::parse(call.row, call.query)?;
    let limit = call
        .query
        .integer("limit")
        .map_err(Status::bad_request)?
        .unwrap_or(0);
    // Means nothing for a list, but must be a number.
    call.query
        .integer("timeoutSeconds")
        .map_err(Status::bad_request)?;
    let limit = usize::try_from(limit).unwrap_or(0);
    let prefix = prefix(call, &selection);
    let (snapshot, start, revision) = match call.query.text("continue") {
        Some(text) => continued(call, text)?,
        None => {
            let snapshot = snapshot(call, limit).await?;
            let revision = snapshot.revision;
            (snapshot, None, revision)
        }
    };
    if let Some(name) = single(call, &selection) {
        let record = snapshot.get(&call.row.key(name.0, name.1));
        let records = record.filter(|record| selection.matches(record)).cloned();
        return Ok(Found {
            records: records.into_iter().collect(),
            revision,
            continues: None,
            remaining: None,
        });
    }
    let mut found = Found {
        records: Vec::new(),
        revision,
        continues: None,
        remaining: None,
    };
    let start = start.map(|start| format!("{}{start}", call.row.prefix));
    let mut range = snapshot.range(&prefix, start.as_deref());
    while let Some(record) = range.next() {
        if !selection.matches(record) {
            continue;
        }
        if limit > 0 && found.records.len() == limit {
            page_end(call, &selection, &mut found, range.count() as u64 + 1);
            break;
        }
        found.records.push(record.clone());
    }
    Ok(found)
}

/// Where the next page begins is remembered in a token.
fn page_end(call: &Call<'_>, selection: &Selection, found: &mut Found, left: u64) {
    let last = found.records.last().map(|record| record.key.clone());
    let start = last
        .as_deref()
        .and_then(|key| key.strip_prefix(&*call.row.prefix));
    let token = Token {
        revision: Some(found.revision),
        start: start.unwrap_or("").to_owned(),
    };
    found.continues = Some(token.write());
    if selection.is_everything() {
        found.remaining = Some(left);
    }
}

/// A selector on the name makes a list a look-up.
fn single<'s>(call: &'s Call<'_>, selection: &'s Selection) -> Option<(&'s str, &'s str)> {
    let name = selection.name()?;
    let namespace = if call.info.namespace.is_empty() && call.row.kind.namespaced {
        selection.namespace()?
    } else {
        call.info.namespace
    };
    Some((namespace, name))
}

/// The part of the key space that a list or watch looks at.
pub(super) fn prefix(call: &Call<'_>, selection: &Selection) -> String {
    match selection.namespace() {
        Some(namespace) if call.info.namespace.is_empty() => call.row.collection(namespace),
        _ => call.row.collection(call.info.namespace),
    }
}

/// The snapshot that resourceVersion and resourceVersionMatch ask for.
async fn snapshot(call: &Call<'_>, limit: usize) -> Result<Snapshot, Status> {
    let store = &call.server.store;
    let Some(version) = revision(call.query.text("resourceVersion"))? else {
        return Ok(store.snapshot());
    };
    let rule = call.query.text("resourceVersionMatch");
    // A page without a rule is exact, as it always was.
    let exact = rule == Some("Exact") || rule.is_none() && limit > 0 && version > 0;
    not_older_than(call, version).await?;
    if !exact {
        return Ok(store.snapshot());
    }
    store.snapshot_at(version).map_err(|error| match error {
        RevisionError::Compacted { .. } => Status::list_too_old(),
        RevisionError::Future { current } => Status::version_too_large(version, current),
    })
}

fn continued(call: &Call<'_>, text: &str) -> Result<(Snapshot, Option<String>, Revision), Status> {
    if call
        .query
        .text("resourceVersion")
        .is_some_and(|version| version != "0")
    {
        return Err(Status::bad_request(
            "specifying resource version is not allowed when using continue",
        ));
    }
    let token = Token::read(text)
        .ok_or_else(|| Status::bad_request("continue key is not valid: it was not given by this server"))?;
    let store = &call.server.store;
    let Some(revision) = token.revision else {
        let snapshot = store.snapshot();
        let revision = snapshot.revision;
        return Ok((snapshot, Some(token.start), revision));
    };
    match store.snapshot_at(revision) {
        Ok(snapshot) => Ok((snapshot, Some(token.start), revision)),
        Err(RevisionError::Future { current }) => Err(Status::version_too_large(revision, current)),
        Err(RevisionError::Compacted { .. }) => Err(Status::continue_inconsistent()),
    }
}

/// Waits until the store is at a revision; 504 if that takes too long.
pub(super) async fn not_older_than(call: &Call<'_>, version: Revision) -> Result<(), Status> {
    let store = &call.server.store;
    if version <= store.revision() {
        return Ok(());
    }
    let waited = store.wait_for(version, WAIT).await;
    waited.map_err(|_| Status::version_too_large(version, store.revision()))
}

/// Reads a resourceVersion; `None` when there is none.
pub(super) fn revision(text: Option<&str>) -> Result<Option<Revision>, Status> {
    let Some(text) = text else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|_| {
        let error = FieldError::invalid(
            "resourceVersion",
            text,
            format!(
                "strconv.ParseUint: parsing {}: invalid syntax",
                crate::http::query::quoted(text)
            ),
        );
        Status::bad_request(format!("{}: {}", error.field, error.body()))
    })
}

/// Upstream's rules for the options of lists and watches together.
pub(super) fn check_options(call: &Call<'_>, watch: bool) -> Result<(), Status> {
    let query = call.query;
    let rule = query.text("resourceVersionMatch");
    let initial = query.optional_flag("sendInitialEvents");
    let mut errors = Vec::new();
    let forbidden = |detail: &str| FieldError::forbidden("resourceVersionMatch", detail);
    if watch {
        match (rule, initial) {
            (Some(_), None) => errors.push(forbidden(
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            )),
            (None, Some(_)) => errors.push(forbidden(
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            )),
            (Some(rule), Some(_)) if rule != "NotOlderThan" => {
                errors.push(FieldError::not_supported(
                    "resourceVersionMatch",
                    rule,
                    &["NotOlderThan"],
                ));
            }
            _ => {}
        }
    } else if let Some(rule) = rule {
        let version = query.text("resourceVersion");
        if version.is_none() {
            errors.push(forbidden(
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            ));
        }
        if query.text("continue").is_some() {
            errors.push(forbidden(
                "resourceVersionMatch is forbidden when continue is provided",
            ));
        }
        if !matches!(rule, "Exact" | "NotOlderThan") {
            let all = ["Exact", "NotOlderThan", ""];
            errors.push(FieldError::not_supported("resourceVersionMatch", rule, &all));
        }
        if rule == "Exact" && version == Some("0") {
            errors.push(forbidden(
                "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            ));
        }
    }
    if !watch && initial.is_some() {
        errors.push(FieldError::forbidden(
            "sendInitialEvents",
            "sendInitialEvents is forbidden for list",
        ));
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Status::invalid(("meta.k8s.io", "ListOptions"), "", &errors))
    }
}
