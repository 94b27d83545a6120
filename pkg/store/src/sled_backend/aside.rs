//! The database on a thread of its own.
//!
//! Why: what the journal holds goes into the database while the next batches are committed; and allocators
//! keep what one thread allocates together. sled's pages come and go beside records that stay; mixed, the
//! pages leave holes the size of a value all over the memory, which cannot be given back (measured with
//! 10,000 values of 1 KiB: 36 MiB resident, apart: 31).

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};

use bytes::Bytes;

use super::SledOptions;
use super::database::Database;
use crate::backend::{BackendError, Loaded};
use crate::record::Record;

type Work = Box<dyn FnOnce(&mut Database) + Send>;

/// Hands work to the database on the other thread, in order.
pub(super) struct Aside {
    work: Option<Sender<Work>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Aside {
    /// Starts the thread. The database is opened when it is first used.
    pub(super) fn start(options: SledOptions) -> std::io::Result<Self> {
        let (work, inbox): (Sender<Work>, Receiver<Work>) = channel();
        let thread = std::thread::Builder::new()
            .name("store-disk".to_owned())
            .spawn(move || {
                let mut database = Database::new(options);
                inbox.into_iter().for_each(|work| work(&mut database));
            })?;
        Ok(Self {
            work: Some(work),
            thread: Some(thread),
        })
    }

    /// Begins some work; its outcome comes later.
    pub(super) fn begin<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Database) -> Result<T, BackendError> + Send + 'static,
    ) -> Result<Receiver<Result<T, BackendError>>, BackendError> {
        let (reply, outcome) = sync_channel(1);
        let work: Work = Box::new(move |database| {
            // Who asked may not care any more.
            let _ = reply.send(work(database));
        });
        let queue = self.work.as_ref().ok_or_else(ended)?;
        queue.send(work).map_err(|_| ended())?;
        Ok(outcome)
    }

    /// Does some work and waits for it.
    pub(super) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Database) -> Result<T, BackendError> + Send + 'static,
    ) -> Result<T, BackendError> {
        self.begin(work)?.recv().map_err(|_| ended())?
    }

    /// Reads everything, in memory that the caller's thread allocates; and up to which generation of the
    /// journal it is. `newest` is the journal's own.
    pub(super) fn load(&self, newest: u64) -> Result<(Loaded, u64), BackendError> {
        let (loaded, absorbed) = self.run(move |database| database.load(newest))?;
        let records = loaded
            .records
            .into_iter()
            .map(|record| moved_here(&record))
            .collect();
        Ok((Loaded { records, ..loaded }, absorbed))
    }
}

/// The thread is gone.
pub(super) fn ended() -> BackendError {
    BackendError::Panicked {
        what: "its thread ended".to_owned(),
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.work = None;
        if let Some(thread) = self.thread.take() {
            // A panic was already told by the panic hook.
            let _ = thread.join();
        }
    }
}

/// A copy that this thread allocated.
fn moved_here(record: &Record) -> Arc<Record> {
    let value = Bytes::copy_from_slice(&record.value);
    Arc::new(Record::new(
        Arc::from(&*record.key),
        value,
        record.create_revision,
        record.revision,
    ))
}
