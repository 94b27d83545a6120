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
        self.queue
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
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

    /// Takes the first entry that is over at `now`.
    fn due(&self, now: Instant) -> Option<(Arc<str>, Revision)> {
        let mut queue = self.queue();
        let over = queue.front().is_some_and(|(end, _, _)| *end <= now);
        let (_, key, revision) = if over { queue.pop_front()? } else { return None };
        Some((key, revision))
    }

    async fn sweep(&self, store: &Store) {
        let now = Instant::now();
        while let Some((key, revision)) = self.due(now) {
            let expect = Expect::Revision(revision);
            let delete = Op::Delete {
                key,
                expect,
                last: None,
            };
            // A conflict says that it was changed and lives on, or is gone already.
            let _ = store.commit(vec![delete], Durability::Memory).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_entry_is_due_an_hour_after_its_write_and_once() {
        let expiry = Expiry::default();
        let record = |revision| Record::new("/registry/core/events/a/x".into(), "{}".into(), 1, revision);
        expiry.note(&record(1));
        expiry.note(&record(2));
        let now = Instant::now();
        assert_eq!(expiry.due(now), None);
        let later = now + LIFE + TOGETHER;
        assert_eq!(expiry.due(later).map(|(_, revision)| revision), Some(1));
        assert_eq!(expiry.due(later).map(|(_, revision)| revision), Some(2));
        assert_eq!(expiry.due(later), None);
    }
}
