//! Who hears of what: the published state, the history, and a topic for each watched prefix.
//!
//! Watchers of one prefix share one topic: a ring of the events that match. A commit touches only the
//! topics its keys match (found by the distinct lengths of the watched prefixes), and a watcher is a
//! cursor into its topic's ring, so that 200 watchers of one change cost 200 wake-ups and no copies.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use tokio::sync::Notify;

use crate::error::RevisionError;
use crate::history::{Bounds, History};
use crate::plan::undo;
use crate::record::{Event, Revision};
use crate::snapshot::Snapshot;

/// Old snapshots kept at hand: the later pages of a list ask for the same revision again.
const REMEMBERED_SNAPSHOTS: usize = 4;

/// The state readers and watchers see.
///
/// Locks, in the order they are taken: `inner`, then `tip` or a topic's ring. None is held across
/// an await.
pub(crate) struct Hub {
    tip: RwLock<Snapshot>,
    inner: Mutex<Inner>,
    /// The newest revision whose events are in their topics.
    published: AtomicU64,
    closed: AtomicBool,
    /// Told of every commit, for those who wait for a revision.
    advanced: Notify,
}

struct Inner {
    history: History,
    topics: HashMap<Arc<str>, Arc<Topic>>,
    /// How many topics have a prefix of this length.
    lengths: BTreeMap<usize, usize>,
    /// Past states that were asked for, newest use last.
    past: VecDeque<Snapshot>,
}

/// The events whose keys begin with `prefix`.
pub(crate) struct Topic {
    pub(crate) prefix: Arc<str>,
    ring: RwLock<Ring>,
    pub(crate) changed: Notify,
    /// Changed under `Inner`'s lock only.
    watchers: AtomicU64,
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

impl Ring {
    /// The event at `cursor`; None when it has not happened yet.
    pub(crate) fn at(&self, cursor: u64) -> Result<Option<&Arc<Event>>, Shed> {
        let index = cursor.checked_sub(self.first).ok_or(Shed)?;
        Ok(self.events.get(usize::try_from(index).map_err(|_| Shed)?))
    }
}

impl Topic {
    pub(crate) fn ring(&self) -> RwLockReadGuard<'_, Ring> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring_mut(&self) -> RwLockWriteGuard<'_, Ring> {
        self.ring.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub {
    pub(crate) fn new(tip: Snapshot, bounds: Bounds) -> Self {
        let inner = Inner {
            history: History::new(bounds, tip.revision),
            topics: HashMap::new(),
            lengths: BTreeMap::new(),
            past: VecDeque::new(),
        };
        Self {
            published: AtomicU64::new(tip.revision),
            tip: RwLock::new(tip),
            inner: Mutex::new(inner),
            closed: AtomicBool::new(false),
            advanced: Notify::new(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tip(&self) -> RwLockReadGuard<'_, Snapshot> {
        self.tip.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn published(&self) -> Revision {
        self.published.load(SeqCst)
    }

    pub(crate) fn advanced(&self) -> &Notify {
        &self.advanced
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(SeqCst)
    }

    /// Makes `next` what readers see and gives `events` to the topics they match. Returns those, for
    /// [`Hub::wake`]: the acknowledgements go first.
    pub(crate) fn publish(&self, next: Snapshot, events: Vec<Arc<Event>>, now: Instant) -> Vec<Arc<Topic>> {
        let revision = next.revision;
        let mut woken: Vec<Arc<Topic>> = Vec::new();
        let mut inner = self.inner();
        // The tip first: who hears of a change must find it when reading.
        let old = {
            let mut tip = self.tip.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *tip, next)
        };
        for event in events {
            for topic in inner.matching(&event.record.key) {
                topic.ring_mut().events.push_back(event.clone());
                if !woken.iter().rev().any(|known| Arc::ptr_eq(known, topic)) {
                    woken.push(topic.clone());
                }
            }
            inner.history.push(event, now);
        }
        inner.shed(now);
        self.published.store(revision, SeqCst);
        drop(inner);
        // Outside the locks: it may be the last to hold many records.
        drop(old);
        woken
    }

    /// Wakes the watchers of `topics` and those who wait for a revision.
    pub(crate) fn wake(&self, topics: &[Arc<Topic>]) {
        self.advanced.notify_waiters();
        for topic in topics {
            topic.changed.notify_waiters();
        }
    }

    /// Forgets what is too old. Returns when to do it again.
    pub(crate) fn shed(&self, now: Instant) -> Option<Instant> {
        let mut inner = self.inner();
        inner.shed(now);
        inner.history.next_expiry()
    }

    /// Ends all watches.
    pub(crate) fn close(&self) {
        let inner = self.inner();
        self.closed.store(true, SeqCst);
        self.advanced.notify_waiters();
        inner
            .topics
            .values()
            .for_each(|topic| topic.changed.notify_waiters());
    }

    /// The topic of `prefix` and the cursor of the first event after `after`.
    pub(crate) fn subscribe(
        &self,
        prefix: &str,
        after: Revision,
    ) -> Result<(Arc<Topic>, u64), RevisionError> {
        let mut inner = self.inner();
        self.within(&inner, after)?;
        let topic = inner.topic(prefix, self.published());
        topic.watchers.fetch_add(1, SeqCst);
        let mut ring = topic.ring_mut();
        if after < ring.since {
            let earlier: Vec<_> = inner
                .history
                .between(after, ring.since)
                .filter(|event| event.record.key.starts_with(prefix))
                .cloned()
                .collect();
            ring.first -= earlier.len() as u64;
            earlier
                .into_iter()
                .rev()
                .for_each(|event| ring.events.push_front(event));
            ring.since = after;
        }
        let cursor = ring.first + ring.events.partition_point(|event| event.revision <= after) as u64;
        drop(ring);
        Ok((topic, cursor))
    }

    /// Gives a subscription back; the last one takes the topic with it.
    pub(crate) fn unsubscribe(&self, topic: &Arc<Topic>) {
        let mut inner = self.inner();
        if topic.watchers.fetch_sub(1, SeqCst) > 1 {
            return;
        }
        inner.topics.remove(&topic.prefix);
        let length = topic.prefix.len();
        if let Some(count) = inner.lengths.get_mut(&length) {
            *count -= 1;
            if *count == 0 {
                inner.lengths.remove(&length);
            }
        }
    }

    /// The state as it was at `revision`: the tip with later events undone.
    pub(crate) fn snapshot_at(&self, revision: Revision) -> Result<Snapshot, RevisionError> {
        let (mut snapshot, later) = {
            let inner = self.inner();
            self.within(&inner, revision)?;
            let past = inner.past.iter().filter(|past| past.revision >= revision);
            let nearest = past.min_by_key(|past| past.revision).cloned();
            let start = nearest.unwrap_or_else(|| self.tip().clone());
            if start.revision == revision {
                return Ok(start);
            }
            let later: Vec<_> = inner.history.between(revision, start.revision).cloned().collect();
            (start, later)
        };
        undo(&mut snapshot.records, &later);
        snapshot.revision = revision;
        self.inner().remember(snapshot.clone());
        Ok(snapshot)
    }

    fn within(&self, inner: &Inner, revision: Revision) -> Result<(), RevisionError> {
        let (oldest, current) = (inner.history.floor(), self.published());
        match revision {
            _ if revision < oldest => Err(RevisionError::Compacted { oldest }),
            _ if revision > current => Err(RevisionError::Future { current }),
            _ => Ok(()),
        }
    }
}

impl Inner {
    /// The topics whose prefix `key` begins with.
    fn matching(&self, key: &str) -> impl Iterator<Item = &Arc<Topic>> {
        self.lengths
            .range(..=key.len())
            .filter_map(move |(length, _)| self.topics.get(key.get(..*length)?))
    }

    fn topic(&mut self, prefix: &str, published: Revision) -> Arc<Topic> {
        if let Some(topic) = self.topics.get(prefix) {
            return topic.clone();
        }
        let prefix: Arc<str> = prefix.into();
        let topic = Arc::new(Topic {
            prefix: prefix.clone(),
            // Numbers go down too, when an earlier event is added in front.
            ring: RwLock::new(Ring {
                first: u64::MAX / 2,
                since: published,
                events: VecDeque::new(),
            }),
            changed: Notify::new(),
            watchers: AtomicU64::new(0),
        });
        *self.lengths.entry(prefix.len()).or_default() += 1;
        self.topics.insert(prefix, topic.clone());
        topic
    }

    fn shed(&mut self, now: Instant) {
        let before = self.history.floor();
        while let Some(event) = self.history.shed(now) {
            for topic in self.matching(&event.record.key) {
                topic.ring_mut().shed(event.revision);
            }
        }
        let floor = self.history.floor();
        if floor != before {
            self.past.retain(|past| past.revision >= floor);
        }
    }

    fn remember(&mut self, snapshot: Snapshot) {
        if snapshot.revision < self.history.floor() {
            return;
        }
        self.past.push_back(snapshot);
        if self.past.len() > REMEMBERED_SNAPSHOTS {
            self.past.pop_front();
        }
    }
}

impl Ring {
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
