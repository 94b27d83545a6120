//! The work queue of controllers, with client-go's semantics.
//!
//! A key that is added while it waits is not added twice; a key that is added while it is being
//! handled is handled once more afterwards, never by two workers at a time.
//!
//! ```text
//! add ──> waiting ──next()──> in work ──drop──> gone
//!            ^                   │ added meanwhile
//!            └───────────────────┘
//! ```

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// First delay of a key that failed; doubled at each further failure.
const FIRST_DELAY: Duration = Duration::from_millis(5);
/// The longest delay between tries (client-go's default limiter: 1000 s).
const LONGEST_DELAY: Duration = Duration::from_secs(1000);

struct State<K> {
    waiting: VecDeque<K>,
    /// Waiting, or added while in work.
    dirty: HashSet<K>,
    in_work: HashSet<K>,
    delayed: BinaryHeap<Reverse<(Instant, u64)>>,
    /// The key of each delayed entry and the earliest entry of each key.
    delayed_keys: HashMap<u64, K>,
    earliest: HashMap<K, (Instant, u64)>,
    failures: HashMap<K, u32>,
    sequence: u64,
}

impl<K: Clone + Eq + Hash> State<K> {
    fn add(&mut self, key: K) -> bool {
        if !self.dirty.insert(key.clone()) || self.in_work.contains(&key) {
            return false;
        }
        self.waiting.push_back(key);
        true
    }

    /// Moves what is due into the queue; answers when the next is due.
    fn promote(&mut self, now: Instant) -> Option<Instant> {
        while let Some(Reverse((at, id))) = self.delayed.peek().copied() {
            if at > now {
                return Some(at);
            }
            self.delayed.pop();
            // Without a key the entry was superseded by an earlier one.
            if let Some(key) = self.delayed_keys.remove(&id) {
                self.earliest.remove(&key);
                self.add(key);
            }
        }
        None
    }

    fn add_at(&mut self, key: K, at: Instant) {
        if let Some((present, id)) = self.earliest.get(&key).copied() {
            if present <= at {
                return;
            }
            self.delayed_keys.remove(&id);
        }
        self.sequence += 1;
        let id = self.sequence;
        self.delayed.push(Reverse((at, id)));
        self.delayed_keys.insert(id, key.clone());
        self.earliest.insert(key, (at, id));
    }
}

struct Inner<K> {
    state: Mutex<State<K>>,
    changed: Notify,
}

/// A queue of keys to handle. Cheap to clone; all clones are one queue.
pub struct WorkQueue<K: Clone + Eq + Hash>(Arc<Inner<K>>);

impl<K: Clone + Eq + Hash> Clone for WorkQueue<K> {
    fn clone(&self) -> Self {
        WorkQueue(self.0.clone())
    }
}

impl<K: Clone + Eq + Hash> Default for WorkQueue<K> {
    fn default() -> Self {
        let state = State {
            waiting: VecDeque::new(),
            dirty: HashSet::new(),
            in_work: HashSet::new(),
            delayed: BinaryHeap::new(),
            delayed_keys: HashMap::new(),
            earliest: HashMap::new(),
            failures: HashMap::new(),
            sequence: 0,
        };
        WorkQueue(Arc::new(Inner {
            state: Mutex::new(state),
            changed: Notify::new(),
        }))
    }
}

impl<K: Clone + Eq + Hash> WorkQueue<K> {
    /// An empty queue.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a key to be handled as soon as possible.
    pub fn add(&self, key: K) {
        if self.lock().add(key) {
            self.0.changed.notify_one();
        }
    }

    /// Adds a key to be handled after `delay`, or earlier if it is added with a shorter one.
    pub fn add_after(&self, key: K, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        self.lock().add_at(key, Instant::now() + delay);
        // Somebody who waits must look at the new deadline.
        self.0.changed.notify_one();
    }

    /// Adds a key that failed: 5 ms later at first, then doubling up to 1000 s.
    pub fn add_rate_limited(&self, key: K) {
        let mut state = self.lock();
        let failures = state.failures.entry(key.clone()).or_default();
        let delay = FIRST_DELAY
            .saturating_mul(1 << (*failures).min(18))
            .min(LONGEST_DELAY);
        *failures += 1;
        drop(state);
        self.add_after(key, delay);
    }

    /// Forgets how often a key failed, after it succeeded.
    pub fn forget(&self, key: &K) {
        self.lock().failures.remove(key);
    }

    /// How often a key failed in a row.
    pub fn failures(&self, key: &K) -> u32 {
        self.lock().failures.get(key).copied().unwrap_or(0)
    }

    /// How many keys wait to be handled now.
    pub fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// True when no key waits to be handled now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next key; it is in work until the answer is dropped.
    pub async fn next(&self) -> Work<K> {
        loop {
            let changed = self.0.changed.notified();
            let due = {
                let mut state = self.lock();
                let due = state.promote(Instant::now());
                if let Some(key) = state.waiting.pop_front() {
                    state.dirty.remove(&key);
                    state.in_work.insert(key.clone());
                    if !state.waiting.is_empty() {
                        self.0.changed.notify_one();
                    }
                    return Work {
                        queue: self.clone(),
                        key,
                    };
                }
                due
            };
            match due {
                Some(at) => {
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
                None => changed.await,
            }
        }
    }
}

/// A key that is being handled; dropping it says that it is done.
pub struct Work<K: Clone + Eq + Hash> {
    queue: WorkQueue<K>,
    key: K,
}

impl<K: Clone + Eq + Hash> std::ops::Deref for Work<K> {
    type Target = K;
    fn deref(&self) -> &K {
        &self.key
    }
}

impl<K: Clone + Eq + Hash> Drop for Work<K> {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.in_work.remove(&self.key);
        if state.dirty.contains(&self.key) {
            state.waiting.push_back(self.key.clone());
            drop(state);
            self.queue.0.changed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_added_twice_is_handled_once() {
        let queue = WorkQueue::new();
        queue.add("a");
        queue.add("a");
        assert_eq!(*queue.next().await, "a");
        assert!(queue.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_added_while_in_work_is_handled_again_afterwards() {
        let queue = WorkQueue::new();
        queue.add("a");
        let work = queue.next().await;
        queue.add("a");
        assert!(queue.is_empty());
        drop(work);
        assert_eq!(*queue.next().await, "a");
    }

    #[tokio::test(start_paused = true)]
    async fn the_shortest_delay_wins() {
        let queue = WorkQueue::new();
        let start = Instant::now();
        queue.add_after("a", Duration::from_secs(9));
        queue.add_after("a", Duration::from_secs(2));
        queue.add_after("a", Duration::from_secs(5));
        assert_eq!(*queue.next().await, "a");
        assert_eq!(start.elapsed().as_secs(), 2);
        assert!(
            tokio::time::timeout(Duration::from_secs(60), queue.next())
                .await
                .is_err()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn failures_double_the_delay_until_forgotten() {
        let queue = WorkQueue::new();
        let mut delays = Vec::new();
        for _ in 0..3 {
            let start = Instant::now();
            queue.add_rate_limited("a");
            drop(queue.next().await);
            delays.push(start.elapsed().as_millis());
        }
        assert_eq!(delays, [5, 10, 20]);
        queue.forget(&"a");
        assert_eq!(queue.failures(&"a"), 0);
    }
}
