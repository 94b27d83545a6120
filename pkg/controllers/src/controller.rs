//! The one shape of a controller and the one loop that drives it.
//!
//! ```text
//! caches ── changes ──> sources ── keys ──> WorkQueue ──> reconcile(key) ── Ok ──> forget, maybe later
//!                                              ^              │ Err
//!                                              └── backoff ───┘
//! ```
//!
//! A controller is given a key, never what changed; it looks at the caches, decides (its `plan`), does, and
//! may be called again at any time for the same key. Channels: each source subscribes to one shared cache;
//! the queue belongs to the controller.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use kobune_client::cache::Cached;
use kobune_client::events::reference;
use kobune_client::{Cache, Caches, Change, EventType, Key, Recorder, WorkQueue, kube};
use kube::Client;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::answers::is_conflict;

/// What a controller works with. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The API with this controller's own identity.
    pub client: Client,
    /// The process' shared caches.
    pub caches: Caches,
    /// Events in this controller's name.
    pub recorder: Recorder,
    /// Ends when the process does.
    pub cancel: CancellationToken,
}

impl Context {
    /// Records an event about `object`.
    pub fn event<K: kube::Resource<DynamicType = ()>>(
        &self,
        object: &K,
        kind: EventType,
        reason: &str,
        message: impl Into<String>,
    ) {
        self.recorder.event(&reference(object), kind, reason, message);
    }
}

/// When a key wants to be looked at again although nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Only when something changes.
    Changed,
    /// After this long at the latest: a deadline, never a poll.
    After(Duration),
}

impl From<Option<Duration>> for Next {
    fn from(deadline: Option<Duration>) -> Self {
        deadline.map_or(Next::Changed, Next::After)
    }
}

/// A round that failed and is tried again.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The API server refused or could not be reached.
    #[error("{doing}: {source}")]
    Api {
        /// What we were doing.
        doing: String,
        /// The answer.
        #[source]
        source: kube::Error,
    },
    /// Some of what belongs to the key could not be done yet; each part was logged.
    #[error("{doing}: not finished")]
    Unfinished {
        /// What we were doing.
        doing: String,
    },
    /// A fault of ours; the log has its place. The key must not be forgotten for it.
    #[error("the round panicked")]
    Panicked,
}

impl ReconcileError {
    /// Somebody wrote the object between our look and our write: no fault, look again.
    pub fn is_conflict(&self) -> bool {
        matches!(self, ReconcileError::Api { source, .. } if is_conflict(source))
    }
}

/// Says what was being done when the API refused.
pub trait Doing<T> {
    /// Wraps the error with `doing` (`creating pod a/b`).
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, ReconcileError>;
}

impl<T> Doing<T> for Result<T, kube::Error> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, ReconcileError> {
        self.map_err(|source| ReconcileError::Api {
            doing: doing(),
            source,
        })
    }
}

/// A controller: key in, idempotent, not told what changed.
#[async_trait]
pub trait Controller: Send + Sync + 'static {
    /// Brings the world nearer to what the object of this key asks for.
    async fn reconcile(&self, key: &Key) -> Result<Next, ReconcileError>;
}

/// Connects caches to a controller's queue while it is being built.
pub struct Sources {
    queue: WorkQueue<Key>,
    caches: Caches,
    cancel: CancellationToken,
    tasks: JoinSet<()>,
    ready: Vec<futures_util::future::BoxFuture<'static, bool>>,
}

impl Sources {
    pub(crate) fn new(caches: Caches, cancel: CancellationToken) -> Self {
        Sources {
            queue: WorkQueue::new(),
            caches,
            cancel,
            tasks: JoinSet::new(),
            ready: Vec::new(),
        }
    }

    /// The controller's queue, for keys that come from elsewhere than a cache.
    pub fn queue(&self) -> WorkQueue<Key> {
        self.queue.clone()
    }

    /// Every object of the kind is a key itself.
    pub fn objects<K: Cached>(&mut self) -> Cache<K> {
        self.keys(|object: &K| vec![Key::of(object)])
    }

    /// Each object leads to the keys it concerns, in its new state and in its previous one.
    pub fn keys<K: Cached>(&mut self, keys_of: impl Fn(&K) -> Vec<Key> + Send + 'static) -> Cache<K> {
        let cache = self.caches.get::<K>();
        self.changes(cache, keys_of_change(keys_of))
    }

    /// The full form: `observe` sees each change before any key of it is handled.
    pub fn changes<K: Cached>(
        &mut self,
        cache: Cache<K>,
        mut observe: impl FnMut(&Change<K>) -> Vec<Key> + Send + 'static,
    ) -> Cache<K> {
        let (queue, cancel) = (self.queue.clone(), self.cancel.clone());
        let mut changes = cache.subscribe();
        self.tasks.spawn(async move {
            loop {
                let change = tokio::select! {
                    () = cancel.cancelled() => return,
                    change = changes.next() => change,
                };
                let Some(change) = change else { return };
                observe(&change).into_iter().for_each(|key| queue.add(key));
            }
        });
        self.wait_for(cache)
    }

    /// The controller reads this kind but is not woken by it.
    pub fn reads<K: Cached>(&mut self) -> Cache<K> {
        let cache = self.caches.get::<K>();
        self.wait_for(cache)
    }

    /// No key is handled before this cache is complete.
    fn wait_for<K: Cached>(&mut self, cache: Cache<K>) -> Cache<K> {
        let complete = cache.clone();
        self.wait_until(async move { complete.ready().await });
        cache
    }

    /// No key is handled before this answers true; false ends the controller.
    pub fn wait_until(&mut self, ready: impl Future<Output = bool> + Send + 'static) {
        self.ready.push(Box::pin(ready));
    }
}

/// The keys of a change: those of the object and, where they differ, those of its previous state.
pub fn keys_of_change<K>(keys_of: impl Fn(&K) -> Vec<Key>) -> impl FnMut(&Change<K>) -> Vec<Key> {
    move |change| {
        let mut keys = keys_of(change.object());
        if let Change::Applied {
            previous: Some(previous),
            ..
        } = change
        {
            for key in keys_of(previous) {
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
        }
        keys
    }
}

/// The loop: up to `workers` keys at once, never the same key twice at a time.
pub(crate) async fn run(
    name: &'static str,
    controller: Arc<dyn Controller>,
    workers: usize,
    sources: Sources,
) {
    let Sources {
        queue,
        cancel,
        mut tasks,
        ready,
        ..
    } = sources;
    for complete in ready {
        let complete = tokio::select! {
            () = cancel.cancelled() => return,
            complete = complete => complete,
        };
        if !complete {
            return;
        }
    }
    let slots = Arc::new(Semaphore::new(workers));
    let mut rounds = JoinSet::new();
    loop {
        // Never closed, so acquiring cannot fail.
        let Ok(slot) = slots.clone().acquire_owned().await else {
            break;
        };
        let key = tokio::select! {
            () = cancel.cancelled() => break,
            key = queue.next() => key,
        };
        while rounds.try_join_next().is_some() {}
        let (queue, controller) = (queue.clone(), controller.clone());
        rounds.spawn(async move {
            // What a round leaves behind is looked at anew by the next: nothing half-done is relied on.
            let round = AssertUnwindSafe(controller.reconcile(&key)).catch_unwind();
            let outcome = round.await.unwrap_or(Err(ReconcileError::Panicked));
            settle(name, &queue, &key, outcome);
            drop((key, slot));
        });
    }
    tasks.abort_all();
    rounds.abort_all();
}

/// Decides when the key is looked at again.
fn settle(name: &str, queue: &WorkQueue<Key>, key: &Key, result: Result<Next, ReconcileError>) {
    match result {
        Ok(next) => {
            queue.forget(key);
            if let Next::After(delay) = next {
                queue.add_after(key.clone(), delay);
            }
        }
        Err(error) => {
            if error.is_conflict() || queue.failures(key) < 2 {
                tracing::debug!(controller = name, %key, %error, "tried again");
            } else {
                tracing::warn!(controller = name, %key, %error, "failed repeatedly, tried again later");
            }
            queue.add_rate_limited(key.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::answers::tests::api;

    struct Clumsy(AtomicUsize);

    #[async_trait]
    impl Controller for Clumsy {
        async fn reconcile(&self, _: &Key) -> Result<Next, ReconcileError> {
            assert!(self.0.fetch_add(1, Ordering::SeqCst) > 0, "the first round fails");
            Ok(Next::Changed)
        }
    }

    #[tokio::test]
    async fn a_round_that_panics_is_tried_again() {
        let cancel = CancellationToken::new();
        let (pods, _) = api(Vec::new());
        let sources = Sources::new(Caches::new(pods.into_client(), cancel.clone()), cancel.clone());
        let (queue, controller) = (sources.queue(), Arc::new(Clumsy(AtomicUsize::new(0))));
        queue.add(Key::new("a", "web"));
        let running = tokio::spawn(run("clumsy", controller.clone(), 1, sources));
        let tried_again = async {
            while controller.0.load(Ordering::SeqCst) < 2 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), tried_again)
            .await
            .expect("the key is handled again");
        cancel.cancel();
        running.await.unwrap();
    }
}
