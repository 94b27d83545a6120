//! Watch: the store's events as frames of a response that ends when its time is over.
//!
//! An object's bytes are copied from the store's record into the frame, and nothing is parsed unless
//! the client asks for another shape. What is already there when a watcher wakes is written in one go.

mod frame;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderValue, Response, StatusCode};
use kobune_api::status::Status;
use kobune_store::{Event, EventKind, Record, Revision, RevisionError, WatchError};
use tokio::time::{Instant, Interval, MissedTickBehavior, Sleep};
use tokio_util::sync::CancellationToken;

use super::call::Call;
use super::index::Selection;
use super::row::Row;
use super::{list, table};
use crate::http::body::Body;
use crate::http::negotiate::{Encoding, NotAcceptable};
use crate::http::respond::response;
use frame::{Frames, Type};

/// How often a quiet watch tells how far it has come, if the client wants to know.
const BOOKMARK: Duration = Duration::from_secs(60);

/// A frame is sent when it has this many bytes, or when nothing more is there.
const FRAME: usize = 32 * 1024;

/// Watches that do not say how long they want to last end after this, and up to twice this.
const SHORTEST: Duration = Duration::from_secs(30 * 60);

/// GET of a collection with `watch=true`.
pub async fn watch(call: &Call<'_>, row: &Arc<Row>) -> Result<Response<Body>, Status> {
    list::check_options(call, true)?;
    let selection = Selection::parse(call.row, call.query)?;
    let frames = Frames {
        row: row.clone(),
        answer: call.answer,
        include: table::include(call.query)?,
        columns_sent: false,
    };
    if call.answer.encoding == Encoding::Yaml {
        let accepted = "only the following media types are accepted: application/json;stream=watch, \
                        application/vnd.kubernetes.protobuf;stream=watch";
        return Err(crate::server::not_acceptable(&NotAcceptable(accepted.to_owned())));
    }
    let watching = start(call, selection, frames).await?;
    let media_type = match call.answer.encoding {
        Encoding::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
        _ => "application/json",
    };
    let counted = call.server.metrics.watch_began();
    let frames = stream::unfold(
        (Box::new(watching), counted),
        |(mut watching, counted)| async move {
            let frame = watching.next().await?;
            Some((Ok(frame), (watching, counted)))
        },
    );
    let mut response = response(StatusCode::OK, media_type, Body::stream(Box::pin(frames)));
    // A proxy that collects the answer would hold back events.
    let headers = response.headers_mut();
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// One watcher.
struct Watching {
    watch: kobune_store::Watch,
    selection: Selection,
    frames: Frames,
    /// The objects that were there at the beginning and are not sent yet.
    initial: std::vec::IntoIter<Arc<Record>>,
    /// The revision to tell when they are, to who asked for initial events.
    initial_end: Option<Revision>,
    bookmarks: Option<Interval>,
    told: Revision,
    end: std::pin::Pin<Box<Sleep>>,
    draining: CancellationToken,
    over: bool,
}

async fn start(call: &Call<'_>, selection: Selection, frames: Frames) -> Result<Watching, Status> {
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
    let watch = store.watch(&prefix, after).map_err(|error| match error {
        RevisionError::Compacted { oldest } => Status::watch_too_old(after, oldest),
        RevisionError::Future { current } => Status::version_too_large(after, current),
    })?;
    let wants_bookmarks = call.query.flag("allowWatchBookmarks");
    Ok(Watching {
        watch,
        selection,
        frames,
        initial: initial.into_iter(),
        initial_end: (send_initial == Some(true) && wants_bookmarks).then_some(after),
        bookmarks: wants_bookmarks.then(|| {
            let mut every = tokio::time::interval_at(Instant::now() + BOOKMARK, BOOKMARK);
            every.set_missed_tick_behavior(MissedTickBehavior::Delay);
            every
        }),
        told: after,
        end: Box::pin(tokio::time::sleep(duration(call)?)),
        draining: call.server.draining.clone(),
        over: false,
    })
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

/// What woke a watcher.
enum Woken {
    Event(Option<Result<Arc<Event>, WatchError>>),
    Bookmark,
    End,
}

impl Watching {
    /// The next frame; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if self.over {
            return None;
        }
        let mut out = BytesMut::new();
        if let Some(frame) = self.initial_frame(&mut out) {
            return Some(frame);
        }
        loop {
            let woken = tokio::select! {
                biased;
                event = self.watch.next() => Woken::Event(event),
                () = &mut self.end => Woken::End,
                () = self.draining.cancelled() => Woken::End,
                _ = tick(&mut self.bookmarks) => Woken::Bookmark,
            };
            match woken {
                Woken::Event(Some(Ok(event))) => {
                    self.event(&mut out, &event);
                    while out.len() < FRAME {
                        let Some(event) = self.watch.try_next() else { break };
                        self.event(&mut out, &event);
                    }
                }
                Woken::Event(Some(Err(WatchError::Lagged))) => {
                    self.over = true;
                    self.frames.error(&mut out, &Status::watch_expired());
                }
                Woken::Bookmark => self.bookmark(&mut out),
                Woken::End if self.bookmarks.is_some() => {
                    self.over = true;
                    self.bookmark(&mut out);
                    if out.is_empty() {
                        return None;
                    }
                }
                Woken::End | Woken::Event(None) => return None,
            }
            if !out.is_empty() {
                return Some(out.freeze());
            }
        }
    }

    /// The objects of the beginning, some at a time, and then the mark behind them.
    fn initial_frame(&mut self, out: &mut BytesMut) -> Option<Bytes> {
        while out.len() < FRAME {
            let Some(record) = self.initial.next() else { break };
            self.frames.object(out, Type::Added, &record.value);
        }
        if out.len() < FRAME
            && let Some(revision) = self.initial_end.take()
        {
            self.frames.bookmark(out, revision, true);
        }
        (!out.is_empty()).then(|| std::mem::take(out).freeze())
    }

    /// Writes an event as this watcher sees it: an object that comes into its selection is new to it,
    /// one that leaves is deleted.
    fn event(&mut self, out: &mut BytesMut, event: &Event) {
        let before = event
            .previous
            .as_ref()
            .filter(|record| self.selection.matches(record));
        let there = event.kind == EventKind::Put && self.selection.matches(&event.record);
        match (before, there) {
            (Some(_), true) => self.frames.object(out, Type::Modified, &event.record.value),
            (None, true) => self.frames.object(out, Type::Added, &event.record.value),
            (Some(_), false) if event.kind == EventKind::Delete => {
                self.frames.object(out, Type::Deleted, &event.record.value);
            }
            (Some(before), false) => self.frames.left(out, &before.value, event.revision),
            (None, false) => {}
        }
    }

    fn bookmark(&mut self, out: &mut BytesMut) {
        let seen = self.watch.seen();
        if seen > self.told {
            self.told = seen;
            self.frames.bookmark(out, seen, false);
        }
    }
}

async fn tick(interval: &mut Option<Interval>) {
    match interval {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}
