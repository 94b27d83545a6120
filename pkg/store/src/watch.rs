//! A watch: a cursor into the events of a prefix.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use crate::error::WatchError;
use crate::hub::{Hub, Shed, Topic};
use crate::record::{Event, Revision};

/// Every change under a prefix after a revision, in order, none lost.
///
/// It holds no events: a slow reader costs nothing, until what it has not read is forgotten; then it gets
/// [`WatchError::Lagged`] and must start over from a list.
pub struct Watch {
    hub: Arc<Hub>,
    topic: Arc<Topic>,
    cursor: u64,
    after: Revision,
    seen: AtomicU64,
    ended: bool,
}

impl Watch {
    pub(crate) fn new(hub: Arc<Hub>, topic: Arc<Topic>, cursor: u64, after: Revision) -> Self {
        Self {
            hub,
            topic,
            cursor,
            after,
            seen: AtomicU64::new(after),
            ended: false,
        }
    }

    /// The next change, waiting for it. None when the store was closed (or after an error). Safe to
    /// drop and call again: nothing is lost.
    pub async fn next(&mut self) -> Option<Result<Arc<Event>, WatchError>> {
        loop {
            let topic = self.topic.clone();
            let mut changed = pin!(topic.changed.notified());
            changed.as_mut().enable();
            let closed = self.hub.is_closed();
            match self.take() {
                _ if self.ended => return None,
                Ok(Some(event)) => return Some(Ok(event)),
                Err(Shed) => {
                    self.ended = true;
                    return Some(Err(WatchError::Lagged));
                }
                Ok(None) if closed => return None,
                Ok(None) => changed.await,
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

    fn take(&mut self) -> Result<Option<Arc<Event>>, Shed> {
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
        self.hub.unsubscribe(&self.topic);
    }
}
