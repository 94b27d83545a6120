//! One watcher, as the stream that its answer's body is made of.
//!
//! It is polled by its connection whenever that has something to do, so a poll with no news is cheap:
//! it registers nothing anew and takes no lock that others want.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use kobune_api::status::Status;
use kobune_store::{Event, EventKind, Record, Revision, WatchError};
use tokio::time::{Instant, Sleep};

use super::frame::{Frames, Type};
use crate::http::body::BoxError;
use crate::metrics::Counted;
use crate::registry::index::Selection;

/// How often a quiet watch tells how far it has come, if the client wants to know.
const BOOKMARK: Duration = Duration::from_secs(60);

/// A frame is sent when it has this many bytes, or when nothing more is there.
const FRAME: usize = 32 * 1024;

/// A watch that is under way.
pub struct Watching {
    /// The changes.
    pub watch: kobune_store::Watch,
    /// Which of them are told.
    pub selection: Selection,
    /// How they are written.
    pub frames: Frames,
    /// The objects that were there at the beginning and are not sent yet.
    pub initial: std::vec::IntoIter<Arc<Record>>,
    /// The revision to tell when they are, to who asked for initial events.
    pub initial_end: Option<Revision>,
    /// When it ends, and when it tells how far it has come.
    pub clock: Clock,
    /// How far it was told to have come.
    pub told: Revision,
    /// Nothing follows.
    pub over: bool,
    /// Held for the metrics.
    pub _counted: Counted,
}

impl Stream for Watching {
    type Item = Result<Bytes, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let mut out = BytesMut::new();
        if !this.over {
            this.initial(&mut out);
        }
        while !this.over && out.is_empty() {
            match this.watch.poll_next(cx) {
                Poll::Ready(Some(Ok(event))) => this.events(&mut out, &event),
                Poll::Ready(Some(Err(WatchError::Lagged))) => {
                    this.over = true;
                    this.frames.error(&mut out, &Status::watch_expired());
                }
                Poll::Ready(None) => this.end(&mut out),
                Poll::Pending => match ready!(this.clock.poll(cx)) {
                    Tick::Bookmark => this.bookmark(&mut out),
                    Tick::End => this.end(&mut out),
                },
            }
        }
        Poll::Ready((!out.is_empty()).then(|| Ok(out.freeze())))
    }
}

impl Watching {
    /// Writes some of the objects of the beginning, and then the mark behind them.
    fn initial(&mut self, out: &mut BytesMut) {
        while out.len() < FRAME {
            let Some(record) = self.initial.next() else { break };
            self.frames.object(out, Type::Added, &record);
        }
        if out.len() < FRAME
            && let Some(revision) = self.initial_end.take()
        {
            self.frames.bookmark(out, revision, true);
        }
    }

    /// Writes an event and what has happened after it.
    fn events(&mut self, out: &mut BytesMut, first: &Event) {
        self.event(out, first);
        while out.len() < FRAME {
            let Some(event) = self.watch.try_next() else { break };
            self.event(out, &event);
        }
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
            (Some(_), true) => self.frames.object(out, Type::Modified, &event.record),
            (None, true) => self.frames.object(out, Type::Added, &event.record),
            (Some(_), false) if event.kind == EventKind::Delete => {
                self.frames.object(out, Type::Deleted, &event.record);
            }
            (Some(before), false) => self.frames.left(out, &before.value, event.revision),
            (None, false) => {}
        }
    }

    fn end(&mut self, out: &mut BytesMut) {
        self.over = true;
        if self.clock.bookmark.is_some() {
            self.bookmark(out);
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

/// A watch's one timer.
pub struct Clock {
    end: Instant,
    /// When to tell how far the watch has come, if its client wants to know.
    bookmark: Option<Instant>,
    sleep: Pin<Box<Sleep>>,
}

/// What it is time for.
enum Tick {
    Bookmark,
    End,
}

impl Clock {
    /// The clock of a watch that begins now.
    pub fn start(duration: Duration, bookmarks: bool) -> Self {
        let now = Instant::now();
        let (end, bookmark) = (now + duration, bookmarks.then_some(now + BOOKMARK));
        Self {
            end,
            bookmark,
            sleep: Box::pin(tokio::time::sleep_until(next(end, bookmark))),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Tick> {
        ready!(self.sleep.as_mut().poll(cx));
        let now = Instant::now();
        if now >= self.end {
            return Poll::Ready(Tick::End);
        }
        self.bookmark = self.bookmark.map(|_| now + BOOKMARK);
        self.sleep.as_mut().reset(next(self.end, self.bookmark));
        Poll::Ready(Tick::Bookmark)
    }
}

fn next(end: Instant, bookmark: Option<Instant>) -> Instant {
    bookmark.map_or(end, |bookmark| bookmark.min(end))
}
