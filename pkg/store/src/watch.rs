//! A watch: a cursor into the events of a prefix.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::task::{Context, Poll};

use crate::error::{RevisionError, WatchError};
use crate::hub::Hub;
use crate::record::{Event, Revision};
use crate::topic::{Shed, Topic};
use crate::waiting::Seat;

/// Every change under a prefix after a revision, in order, none lost.
///
/// It holds no events: a slow reader costs nothing, until what it has not read is forgotten; then it gets
/// [`WatchError::Lagged`] and must start over from a list.
///
/// When many watch one prefix and changes follow each other fast, they are woken for several changes at
/// a time, a few milliseconds apart at most.
pub struct Watch {
    hub: Arc<Hub>,
    topic: Arc<Topic>,
    seat: Arc<Seat>,
    cursor: u64,
    after: Revision,
    seen: AtomicU64,
    ended: bool,
}

impl Watch {
    /// A watch of the changes after a revision, if the history reaches back to it.
    pub(crate) fn begin(hub: Arc<Hub>, prefix: &str, after: Revision) -> Result<Self, RevisionError> {
        let (topic, seat, cursor) = hub.subscribe(prefix, after)?;
        Ok(Self {
            hub,
            topic,
            seat,
            cursor,
            after,
            seen: AtomicU64::new(after),
            ended: false,
        })
    }

    /// The same watch, woken by every change at once however many others watch the prefix.
    #[must_use]
    pub fn promptly(self) -> Self {
        self.seat.be_prompt();
        self
    }

    /// The next change, waiting for it. None when the store was closed or its watches were ended (or
    /// after an error). Safe to drop and call again: nothing is lost.
    pub async fn next(&mut self) -> Option<Result<Arc<Event>, WatchError>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// [`Watch::next`] for those who are polled themselves.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Arc<Event>, WatchError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Some(ready) = self.ready() {
            return Poll::Ready(Some(ready));
        }
        self.seat.wait(cx.waker());
        // In this order: an event before the end is told before it.
        let over = self.hub.is_over();
        match self.ready() {
            None if !over => Poll::Pending,
            ready => {
                self.seat.wait_no_more();
                Poll::Ready(ready)
            }
        }
    }

    /// The next change if it has happened already, to write many in one go. None also when
    /// [`Watch::next`] has an error to tell.
    pub fn try_next(&mut self) -> Option<Arc<Event>> {
        if self.ended {
            return None;
        }
        self.take().ok().flatten()
    }

    /// For bookmarks: everything up to this revision was delivered or did not match. Never goes back.
    pub fn seen(&self) -> Revision {
        // Read before the ring: what it covers is in the ring by then.
        let published = self.hub.published();
        let upto = match self.topic.ring().at(self.cursor) {
            Ok(None) => published,
            // An event the cursor has yet to pass holds it back.
            Ok(Some(event)) if event.revision > self.after => event.revision - 1,
            _ => 0,
        };
        self.seen.fetch_max(upto, SeqCst).max(upto)
    }

    fn ready(&mut self) -> Option<Result<Arc<Event>, WatchError>> {
        match self.take() {
            Ok(event) => event.map(Ok),
            Err(Shed) => {
                self.ended = true;
                Some(Err(WatchError::Lagged))
            }
        }
    }

    fn take(&mut self) -> Result<Option<Arc<Event>>, Shed> {
        if self.cursor == self.topic.end() {
            return Ok(None);
        }
        let ring = self.topic.ring();
        while let Some(event) = ring.at(self.cursor)? {
            self.cursor += 1;
            if event.revision > self.after {
                return Ok(Some(event.clone()));
            }
        }
        Ok(None)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.hub.unsubscribe(&self.topic, &self.seat);
    }
}
