//! Watch: the store's events as frames of a response that ends when its time is over.
//!
//! An object's bytes are copied from the store's record into the frame. Nothing is parsed unless the
//! client asks for another form, and then once for all who want the same. What is already there when
//! a watcher wakes is written in one go.

mod frame;
mod shared;
mod watching;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Response, StatusCode};
use kobune_api::status::Status;
use kobune_store::RevisionError;

use super::call::Call;
use super::index::Selection;
use super::row::Row;
use super::{list, table};
use crate::http::body::Body;
use crate::http::negotiate::{Encoding, NotAcceptable};
use crate::http::respond::response;
use frame::Frames;
pub use shared::Forms;
use watching::{Clock, Watching};

/// Watches that do not say how long they want to last end after this, and up to twice this.
const SHORTEST: Duration = Duration::from_secs(30 * 60);

/// GET of a collection with `watch=true`.
pub async fn watch(call: &Call<'_>, row: &Arc<Row>) -> Result<Response<Body>, Status> {
    list::check_options(call, true)?;
    let selection = Selection::parse(call.row, call.query)?;
    let include = table::include(call.query)?;
    if call.answer.encoding == Encoding::Yaml {
        let accepted = "only the following media types are accepted: application/json;stream=watch, \
                        application/vnd.kubernetes.protobuf;stream=watch";
        return Err(crate::server::not_acceptable(&NotAcceptable(accepted.to_owned())));
    }
    let frames = Frames::new(row, call.answer, include, &call.server.forms);
    let began = start(call, selection, frames).await?;
    let media_type = match call.answer.encoding {
        Encoding::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
        _ => "application/json",
    };
    let body = match began {
        Began::Watching(watching) => Body::stream(Box::into_pin(watching)),
        Began::Expired(frame) => Body::full(frame),
    };
    let mut response = response(StatusCode::OK, media_type, body);
    // A proxy that collects the answer would hold back events.
    let headers = response.headers_mut();
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// What comes of asking for a watch.
enum Began {
    Watching(Box<Watching>),
    /// It is over before it begins: the only frame says that the version was forgotten. Upstream tells it
    /// this way and not by the answer's code, and clients that go on where they were look for it here.
    Expired(Bytes),
}

async fn start(call: &Call<'_>, selection: Selection, mut frames: Frames) -> Result<Began, Status> {
    let store = &call.server.store;
    let asked = list::revision(call.query.text("resourceVersion"))?;
    let send_initial = call.query.optional_flag("sendInitialEvents");
    let prefix = list::prefix(call, &selection);
    if let Some(version) = asked {
        list::not_older_than(call, version).await?;
    }
    let from_now = asked.unwrap_or(0) == 0;
    let (initial, after) = if send_initial == Some(true) || (send_initial.is_none() && from_now) {
        let snapshot = store.snapshot();
        let range = snapshot.range(&prefix, None);
        let records = range
            .filter(|record| selection.matches(record))
            .cloned()
            .collect();
        (records, snapshot.revision)
    } else if from_now {
        (Vec::new(), store.revision())
    } else {
        (Vec::new(), asked.unwrap_or(0))
    };
    let watch = match store.watch(&prefix, after) {
        Ok(watch) => watch,
        Err(RevisionError::Compacted { oldest }) => {
            let mut frame = BytesMut::new();
            frames.error(&mut frame, &Status::watch_too_old(after, oldest));
            return Ok(Began::Expired(frame.freeze()));
        }
        Err(RevisionError::Future { current }) => return Err(Status::version_too_large(after, current)),
    };
    let wants_bookmarks = call.query.flag("allowWatchBookmarks");
    Ok(Began::Watching(Box::new(Watching {
        watch: if call.near { watch.promptly() } else { watch },
        selection,
        frames,
        initial: initial.into_iter(),
        initial_end: (send_initial == Some(true) && wants_bookmarks).then_some(after),
        clock: Clock::start(duration(call)?, wants_bookmarks),
        told: after,
        over: false,
        _counted: call.server.metrics.watch_began(),
    })))
}

fn duration(call: &Call<'_>) -> Result<Duration, Status> {
    let asked = call
        .query
        .integer("timeoutSeconds")
        .map_err(Status::bad_request)?;
    Ok(match asked {
        Some(seconds) if seconds > 0 => Duration::from_secs(seconds.unsigned_abs()),
        _ => SHORTEST + Duration::from_millis(call.server.random() % 1_800_000),
    })
}
