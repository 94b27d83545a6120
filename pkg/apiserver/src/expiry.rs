//! Events live for an hour: one task sleeps until the oldest is over, and sleeps for good when there
//! are none.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use kobune_store::{Durability, Expect, Op, Record, Revision, Store};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long an Event lives after its last change; upstream's default.
const LIFE: Duration = Duration::from_secs(60 * 60);

/// Events that end within this time of each other end together.
const TOGETHER: Duration = Duration::from_secs(30);

/// What will end, in the order in which it does.
#[derive(Default)]
pub struct Expiry {
    queue: Mutex<VecDeque<(Instant, Arc<str>, Revision)>>,
    first: Notify,
}

impl Expiry {
    fn queue(&self) -> MutexGuard<'_, VecDeque<(Instant, Arc<str>, Revision)>> {
        self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Remembers a record that was just written. A later write of the key has its own entry.
    pub fn note(&self, record: &Record) {
        let mut queue = self.queue();
        queue.push_back((Instant::now() + LIFE, record.key.clone(), record.revision));
        if queue.len() == 1 {
            self.first.notify_one();
        }
    }

    /// Removes what is over, until the server goes down.
    pub async fn run(&self, store: Store, stop: CancellationToken) {
        loop {
            let next = self.queue().front().map(|(end, _, _)| *end);
            let wait = async {
                match next {
                    Some(end) => tokio::time::sleep_until(end + TOGETHER).await,
                    None => self.first.notified().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = wait => {}
            }
            if next.is_some() {
                self.sweep(&store).await;
            }
        }
    }

    async fn sweep(&self, store: &Store) {
        let now = Instant::now();
        loop {
            let over = {
                let mut queue = self.queue();
                match queue.front() {
                    Some((end, _, _)) if *end <= now => queue.pop_front(),
                    _ => None,
                }
            };
            let Some((_, key, revision)) = over else { return };
            let expect = Expect::Revision(revision);
            let delete = Op::Delete { key, expect, last: None };
            // A conflict says that it was changed and lives on, or is gone already.
            let _ = store.commit(vec![delete], Durability::Memory).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use kobune_store::memory_backend::MemoryBackend;
    use kobune_store::{Options, Value};

    use super::*;

    async fn write(store: &Store, key: &str) -> Arc<Record> {
        let value = Value { bytes: b"{}".to_vec(), revision_slot: None };
        let put = Op::Put { key: key.into(), value, expect: Expect::Any };
        let mut done = store.commit(vec![put], Durability::Memory).await.expect("a commit");
        done.records.pop().flatten().expect("a record")
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_ends_an_hour_after_its_last_change() {
        let store = Store::open(Box::new(MemoryBackend::new()), Options::default()).await.expect("a store");
        let expiry = Arc::new(Expiry::default());
        let stop = CancellationToken::new();
        let (runs, kept, token) = (expiry.clone(), store.clone(), stop.clone());
        let task = tokio::spawn(async move { runs.run(kept, token).await });
        expiry.note(&write(&store, "/registry/core/events/a/old").await);
        expiry.note(&write(&store, "/registry/core/events/a/new").await);
        tokio::time::sleep(Duration::from_secs(1800)).await;
        expiry.note(&write(&store, "/registry/core/events/a/new").await);
        tokio::time::sleep(Duration::from_secs(1900)).await;
        // The committer is a thread with a clock of its own: wait for its answer, not for time.
        write(&store, "/registry/core/events/b/other").await;
        assert!(store.get("/registry/core/events/a/old").is_none());
        assert!(store.get("/registry/core/events/a/new").is_some());
        stop.cancel();
        task.await.expect("it ends");
    }
}
