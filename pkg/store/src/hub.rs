//! Who hears of what: the published state, the history, and a topic for each watched prefix.
//!
//! Watchers of one prefix share one topic: a ring of the events that match. A commit touches only the
//! topics its keys match (found by the distinct lengths of the watched prefixes), and a watcher is a
//! cursor into its topic's ring: 200 watchers of one change cost 200 wake-ups at most, and no copies.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Instant;

use tokio::sync::Notify;

use crate::error::RevisionError;
use crate::herald::Herald;
use crate::history::{Bounds, History};
use crate::plan::undo;
use crate::record::{Event, Revision};
use crate::snapshot::Snapshot;
use crate::topic::Topic;
use crate::waiting::Seat;

/// Old snapshots kept at hand: the later pages of a list ask for the same revision again.
const REMEMBERED_SNAPSHOTS: usize = 4;

/// The state readers and watchers see.
///
/// Locks, in the order they are taken: `inner`, then `tip` or one of a topic's. None is held across an
/// await.
pub(crate) struct Hub {
    tip: RwLock<Snapshot>,
    inner: Mutex<Inner>,
    /// The newest revision whose events are in their topics.
    published: AtomicU64,
    closed: AtomicBool,
    /// Whether watches have ended, which they do when the store is closed or earlier.
    over: AtomicBool,
    herald: Herald,
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
            over: AtomicBool::new(false),
            herald: Herald::default(),
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

    /// Whether watches have ended.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(SeqCst)
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
                topic.push(event.clone());
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

    /// Wakes the watchers of `topics`, crowds perhaps a little later, and those who wait for a revision.
    pub(crate) fn wake(&self, topics: &[Arc<Topic>]) {
        self.advanced.notify_waiters();
        for topic in topics {
            if let Some(later) = topic.tell(Instant::now()) {
                self.herald.tell_at(later, topic.clone());
            }
        }
    }

    /// Forgets what is too old. Returns when to do it again.
    pub(crate) fn shed(&self, now: Instant) -> Option<Instant> {
        let mut inner = self.inner();
        inner.shed(now);
        inner.history.next_expiry()
    }

    /// Ends all watches, and those that begin later at once.
    pub(crate) fn end_watches(&self) {
        self.over.store(true, SeqCst);
        let inner = self.inner();
        inner.topics.values().for_each(|topic| topic.waiting.wake());
    }

    /// Ends all watches and tells those who wait for a revision that none will come.
    pub(crate) fn close(&self) {
        self.closed.store(true, SeqCst);
        self.advanced.notify_waiters();
        self.end_watches();
    }

    /// The topic of `prefix`, a seat there, and the cursor of the first event after `after`.
    pub(crate) fn subscribe(
        &self,
        prefix: &str,
        after: Revision,
    ) -> Result<(Arc<Topic>, Arc<Seat>, u64), RevisionError> {
        let mut inner = self.inner();
        self.within(&inner, after)?;
        let topic = inner.topic(prefix, self.published());
        let cursor = topic.cursor(after, |after, until| {
            let earlier = inner.history.between(after, until);
            let matching = earlier.filter(|event| event.record.key.starts_with(prefix));
            matching.cloned().collect()
        });
        let seat = topic.waiting.enter();
        Ok((topic, seat, cursor))
    }

    /// Gives a subscription back; the last one takes the topic with it.
    pub(crate) fn unsubscribe(&self, topic: &Arc<Topic>, seat: &Seat) {
        let mut inner = self.inner();
        if !topic.waiting.leave(seat) {
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
        let topic = Arc::new(Topic::new(prefix.clone(), published));
        *self.lengths.entry(prefix.len()).or_default() += 1;
        self.topics.insert(prefix, topic.clone());
        topic
    }

    fn shed(&mut self, now: Instant) {
        let before = self.history.floor();
        while let Some(event) = self.history.shed(now) {
            for topic in self.matching(&event.record.key) {
                topic.shed(event.revision);
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
