//! One watched prefix: a window of its events, and those who wait for the next.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use crate::pace::{Pace, Tell};
use crate::record::{Event, Revision};
use crate::waiting::Waiting;

/// The events whose keys begin with `prefix`.
pub(crate) struct Topic {
    pub(crate) prefix: Arc<str>,
    ring: RwLock<Ring>,
    /// The number that the next event will have: who has come so far needs no lock to know it.
    end: AtomicU64,
    pub(crate) waiting: Waiting,
    pace: Mutex<Pace>,
}

/// A window of a topic's events; each has a number that counts from an arbitrary start.
pub(crate) struct Ring {
    first: u64,
    /// All matching events with a higher revision that were not shed are there.
    since: Revision,
    events: VecDeque<Arc<Event>>,
}

/// A cursor points to something the ring no longer has.
pub(crate) struct Shed;

impl Topic {
    /// A topic with nothing in it, which begins after the revision `since`.
    pub(crate) fn new(prefix: Arc<str>, since: Revision) -> Self {
        // Numbers go down too, when an earlier event is added in front.
        let first = u64::MAX / 2;
        Self {
            prefix,
            ring: RwLock::new(Ring {
                first,
                since,
                events: VecDeque::new(),
            }),
            end: AtomicU64::new(first),
            waiting: Waiting::default(),
            pace: Mutex::default(),
        }
    }

    pub(crate) fn ring(&self) -> RwLockReadGuard<'_, Ring> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring_mut(&self) -> RwLockWriteGuard<'_, Ring> {
        self.ring.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number that the next event will have.
    pub(crate) fn end(&self) -> u64 {
        self.end.load(SeqCst)
    }

    /// Adds the newest event. Nobody is woken yet.
    pub(crate) fn push(&self, event: Arc<Event>) {
        self.ring_mut().events.push_back(event);
        self.end.fetch_add(1, SeqCst);
    }

    /// Forgets the events up to a revision.
    pub(crate) fn shed(&self, floor: Revision) {
        self.ring_mut().shed(floor);
    }

    /// The number of the first event after `after`. What lies between it and the window's beginning is
    /// taken from `earlier`, which is asked for the events after the one revision up to the other.
    pub(crate) fn cursor(
        &self,
        after: Revision,
        earlier: impl FnOnce(Revision, Revision) -> Vec<Arc<Event>>,
    ) -> u64 {
        let mut ring = self.ring_mut();
        if after < ring.since {
            let earlier = earlier(after, ring.since);
            ring.first -= earlier.len() as u64;
            for event in earlier.into_iter().rev() {
                ring.events.push_front(event);
            }
            ring.since = after;
        }
        ring.first + ring.events.partition_point(|event| event.revision <= after) as u64
    }

    /// There is news: wakes those who wait. The answer is when to begin with the others, if that is later.
    pub(crate) fn tell(&self, now: Instant) -> Option<Instant> {
        let told = self.pace().news(self.waiting.len(), now);
        match told {
            Tell::Now => self.waiting.wake(),
            Tell::At(_) | Tell::Promised => self.waiting.wake_prompt(),
        }
        match told {
            Tell::At(due) => Some(due),
            Tell::Now | Tell::Promised => None,
        }
    }

    /// The later time has come for some of them. The answer is when it comes for others.
    pub(crate) fn keep_promise(&self, now: Instant) -> Option<Instant> {
        // Before the waking: what happens from here on is told by the next promise.
        let portion = self.pace().portion(self.waiting.len(), now);
        self.waiting.wake_some(portion.seats);
        portion.next
    }

    fn pace(&self) -> std::sync::MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    /// The event at `cursor`; None when it has not happened yet.
    pub(crate) fn at(&self, cursor: u64) -> Result<Option<&Arc<Event>>, Shed> {
        let index = cursor.checked_sub(self.first).ok_or(Shed)?;
        Ok(self.events.get(usize::try_from(index).map_err(|_| Shed)?))
    }

    fn shed(&mut self, floor: Revision) {
        while self.events.front().is_some_and(|event| event.revision <= floor) {
            self.events.pop_front();
            self.first += 1;
        }
        if self.events.capacity() > 64 && self.events.len() < self.events.capacity() / 4 {
            self.events.shrink_to(self.events.len() * 2);
        }
    }
}
