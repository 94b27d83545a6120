//! The journal and the database as one: batches are durable in the journal, the database follows.
//!
//! ```text
//!  commit ── journal: write, fdatasync ── done
//!               │ a generation is full (or it is quiet, or the end)
//!               └──▶ the newest change of each of its keys ──▶ the database, on its thread, meanwhile the
//!                    other file fills ──▶ synced ──▶ the generation's number, synced ──▶ its file is free
//! ```
//!
//! Why: one sync of one write in place, by the thread that commits, is all that an acknowledgement waits
//! for. The database writes pages anew, wakes its seven threads and keeps what it wrote in memory; once for
//! some thousand changes that is nothing, for each commit it was most of the time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use tracing::{info, warn};

use super::SledOptions;
use super::aside::{Aside, ended};
use super::disk::{check_space, failed};
use super::frame;
use super::journal::{self, CAPACITY, Journal};
use super::open;
use crate::backend::{BackendError, Batch, Change, Loaded};
use crate::record::{Record, Revision};

/// What one generation changed: the newest change of each key.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// By key, so that the database's pages are visited in their order.
    pub by_key: BTreeMap<Arc<str>, Change>,
    /// The last reservation.
    pub reserved: Option<Revision>,
}

/// A generation on its way into the database.
struct Flight {
    generation: u64,
    changes: Arc<Changes>,
    /// None: it failed and must be tried again.
    outcome: Option<Receiver<Result<(), BackendError>>>,
}

/// Records in the journal and the database.
pub(super) struct Journalled {
    options: SledOptions,
    database: Aside,
    journal: Journal,
    /// What the journal's generation changed.
    pending: Changes,
    flight: Option<Flight>,
    /// Writing the journal failed: what its generation holds is not known.
    broken: bool,
}

impl Changes {
    fn add(&mut self, changes: impl IntoIterator<Item = Change>, reserved: Option<Revision>) {
        for change in changes {
            let key = match &change {
                Change::Put(record) => record.key.clone(),
                Change::Delete(key) => key.clone(),
            };
            self.by_key.insert(key, change);
        }
        self.reserved = reserved.or(self.reserved);
    }

    fn is_empty(&self) -> bool {
        self.by_key.is_empty() && self.reserved.is_none()
    }

    /// Brings what was loaded up to date.
    fn complete(&self, loaded: &mut Loaded) {
        loaded
            .records
            .retain(|record| !self.by_key.contains_key(&record.key));
        let puts = self.by_key.values().filter_map(|change| match change {
            Change::Put(record) => Some(record.clone()),
            Change::Delete(_) => None,
        });
        loaded.records.extend(puts);
        loaded.reserved = loaded.reserved.max(self.reserved.unwrap_or(0));
    }
}

impl Journalled {
    /// Reads both, and lets the database have what only the journal has.
    pub(super) fn load(options: &SledOptions) -> Result<(Self, Loaded), BackendError> {
        open::settle(&options.folder)?;
        let generations = journal::generations(&options.folder)?;
        let newest = generations.last().copied().unwrap_or(0);
        let start = Aside::start(options.clone());
        let database = start.map_err(failed("starting the thread for", &options.folder))?;
        let (mut loaded, absorbed) = database.load(newest)?;
        let mut loading = Self {
            options: options.clone(),
            database,
            journal: Journal::new(&options.folder, newest.max(absorbed) + 1),
            pending: Changes::default(),
            flight: None,
            broken: false,
        };
        let ahead = generations
            .into_iter()
            .filter(|generation| *generation > absorbed);
        loading.replay(ahead, &mut loaded)?;
        Ok((loading, loaded))
    }

    fn replay(&mut self, ahead: impl Iterator<Item = u64>, loaded: &mut Loaded) -> Result<(), BackendError> {
        let mut changes = Changes::default();
        for generation in ahead {
            for frame in journal::read(&self.options.folder, generation)? {
                changes.add(frame.changes, frame.reserved);
            }
        }
        if changes.is_empty() {
            return Ok(());
        }
        info!(
            keys = changes.by_key.len(),
            "the database gets what the journal has"
        );
        changes.complete(loaded);
        let generation = self.journal.generation() - 1;
        self.database.run(move |database| {
            database.absorb(&changes, generation)?;
            database.rest()
        })
    }

    /// Makes a batch durable.
    pub(super) fn commit(&mut self, batch: &Batch) -> Result<(), BackendError> {
        if self.options.spare_bytes > 0 {
            check_space(&self.options.folder, self.needed(batch))?;
        }
        let length = frame::length(batch);
        if length > CAPACITY {
            self.drain()?;
            let batch = batch.clone();
            return self.database.run(move |database| database.commit(&batch));
        }
        if self.broken || !self.journal.has_room(length) {
            self.turn()?;
        }
        self.journal.append(batch).inspect_err(|_| self.broken = true)?;
        let changes = batch.transactions.iter().flatten().cloned();
        self.pending.add(changes, batch.reserved);
        Ok(())
    }

    /// The space without which a batch is refused: the database must be able to take it, and what it has yet
    /// to take.
    fn needed(&self, batch: &Batch) -> u64 {
        let size = |change: &Change| match change {
            Change::Put(record) => record.value.len() + record.key.len(),
            Change::Delete(_) => 0,
        };
        let bytes: usize = batch.transactions.iter().flatten().map(size).sum();
        let only_deletes = bytes == 0 && !batch.transactions.is_empty();
        if only_deletes {
            return self.options.spare_bytes / 2;
        }
        let flying = if self.flight.is_some() { CAPACITY } else { 0 };
        // Twice: the database's log takes the value, and the page it is on may be written anew.
        self.options.spare_bytes + 2 * (bytes + self.journal.bytes() + flying) as u64
    }

    /// Ends the generation: the database begins to take it, the journal goes on in the other file.
    fn turn(&mut self) -> Result<(), BackendError> {
        self.settle()?;
        let changes = Arc::new(std::mem::take(&mut self.pending));
        let generation = self.journal.generation();
        let (own, database) = (changes.clone(), &self.database);
        let outcome = database.begin(move |database| database.absorb(&own, generation));
        self.flight = Some(Flight {
            generation,
            changes,
            outcome: outcome.ok(),
        });
        self.journal.advance();
        self.broken = false;
        Ok(())
    }

    /// Waits until the database has the generation that is on its way, if one is. What failed is tried again:
    /// the file must not be written over before.
    fn settle(&mut self) -> Result<(), BackendError> {
        let Some(flight) = &mut self.flight else {
            return Ok(());
        };
        let meanwhile = flight
            .outcome
            .take()
            .map(|outcome| outcome.recv().unwrap_or_else(|_| Err(ended())));
        if let Some(Err(error)) = &meanwhile {
            warn!(%error, "the database could not take what the journal has; it is tried again");
        }
        if !matches!(meanwhile, Some(Ok(()))) {
            let (changes, generation) = (flight.changes.clone(), flight.generation);
            self.database
                .run(move |database| database.absorb(&changes, generation))?;
        }
        self.flight = None;
        Ok(())
    }

    /// Until the database has everything.
    fn drain(&mut self) -> Result<(), BackendError> {
        if self.broken || !self.pending.is_empty() {
            self.turn()?;
        }
        self.settle()
    }

    /// Gives back the database's memory.
    pub(super) fn rest(&mut self) -> Result<(), BackendError> {
        self.drain()?;
        self.database.run(|database| database.rest())
    }

    /// Stores `records` instead of all there is.
    pub(super) fn rebuild(
        &mut self,
        records: &mut dyn Iterator<Item = &Arc<Record>>,
        reserved: Revision,
    ) -> Result<(), BackendError> {
        let records: Vec<_> = records.cloned().collect();
        let generation = self.journal.generation();
        // Failed or not, the new database may be the one that counts from now on, and it says that it has this
        // generation: nothing more may go into it.
        self.broken = true;
        self.database
            .run(move |database| database.rebuild(&mut records.iter(), reserved, generation))?;
        // What was pending or on its way is among the records.
        self.pending = Changes::default();
        self.flight = None;
        self.journal.advance();
        self.broken = false;
        Ok(())
    }
}

impl Drop for Journalled {
    fn drop(&mut self) {
        if let Err(failure) = self.drain() {
            warn!(error = %failure, "the next start reads from the journal what the database could not take");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::path::Path;

    fn put(key: &str, value: &[u8], revision: Revision) -> Batch {
        let record = Record::new(key.into(), Bytes::copy_from_slice(value), revision, revision);
        Batch {
            transactions: vec![vec![Change::Put(Arc::new(record))]],
            reserved: None,
        }
    }

    fn open(folder: &Path) -> (Journalled, BTreeMap<String, (Revision, usize)>) {
        let (journalled, loaded) = Journalled::load(&SledOptions::new(folder)).unwrap();
        let told = |record: &Arc<Record>| (record.key.to_string(), (record.revision, record.value.len()));
        let records = loaded.records.iter().map(told).collect();
        (journalled, records)
    }

    /// What a process leaves that was killed now: its files as they are.
    fn as_left(journalled: &mut Journalled) -> tempfile::TempDir {
        // Files that are being written cannot be copied as of one moment.
        journalled.settle().unwrap();
        let to = tempfile::tempdir().unwrap();
        copy(&journalled.options.folder, to.path());
        to
    }

    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap().flatten() {
            let to = to.join(entry.file_name());
            if entry.path().is_dir() {
                copy(&entry.path(), &to);
            } else {
                std::fs::copy(entry.path(), to).unwrap();
            }
        }
    }

    #[test]
    fn what_only_the_journal_has_is_loaded_after_a_crash() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journalled, _) = open(folder.path());
        journalled.commit(&put("/a", b"1", 1)).unwrap();
        journalled.commit(&put("/a", b"22", 2)).unwrap();
        let gone = Batch {
            transactions: vec![vec![Change::Delete("/b".into())]],
            reserved: Some(77),
        };
        journalled.commit(&put("/b", b"1", 3)).unwrap();
        journalled.commit(&gone).unwrap();
        let left = as_left(&mut journalled);
        for _ in 0..2 {
            let (_, loaded) = Journalled::load(&SledOptions::new(left.path())).unwrap();
            assert_eq!(loaded.reserved, 77);
            assert_eq!(loaded.records.len(), 1);
            assert_eq!(&loaded.records[0].value[..], b"22");
        }
    }

    #[test]
    fn every_moment_of_many_generations_is_recovered() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journalled, _) = open(folder.path());
        let mut known = BTreeMap::new();
        for step in 1..=40_u64 {
            let key = format!("/k{}", step % 7);
            // Now and then one that does not fit into the journal at all.
            let size = if step % 13 == 0 { CAPACITY + 1 } else { 400_000 };
            journalled.commit(&put(&key, &vec![b'x'; size], step)).unwrap();
            known.insert(key, (step, size));
            if step % 5 == 0 {
                let left = as_left(&mut journalled);
                assert_eq!(open(left.path()).1, known, "step {step}");
            }
        }
        drop(journalled);
        assert_eq!(open(folder.path()).1, known);
    }

    #[test]
    fn a_journal_that_failed_goes_on_in_a_new_generation() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journalled, _) = open(folder.path());
        journalled.commit(&put("/a", b"1", 1)).unwrap();
        let before = journalled.journal.generation();
        journalled.broken = true;
        journalled.commit(&put("/b", b"1", 2)).unwrap();
        assert_eq!(journalled.journal.generation(), before + 1);
        let left = as_left(&mut journalled);
        assert_eq!(open(left.path()).1.len(), 2);
    }

    #[test]
    fn a_rebuild_that_failed_ends_the_generation() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journalled, _) = open(folder.path());
        journalled.commit(&put("/a", b"1", 1)).unwrap();
        let before = journalled.journal.generation();
        let in_the_way = folder.path().join("sled.damaged");
        std::fs::write(&in_the_way, "not a folder").unwrap();
        let record = Arc::new(Record::new("/a".into(), Bytes::from_static(b"1"), 1, 1));
        journalled.rebuild(&mut [record].iter(), 5).unwrap_err();
        journalled.commit(&put("/b", b"1", 2)).unwrap();
        assert_eq!(journalled.journal.generation(), before + 1);
        let left = as_left(&mut journalled);
        assert_eq!(open(left.path()).1.len(), 2);
    }

    #[test]
    fn a_rebuilt_database_does_not_hear_of_what_the_journal_had() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journalled, _) = open(folder.path());
        journalled.commit(&put("/old", b"1", 1)).unwrap();
        let record = Arc::new(Record::new("/new".into(), Bytes::from_static(b"1"), 2, 2));
        journalled.rebuild(&mut [record].iter(), 5).unwrap();
        journalled.commit(&put("/next", b"1", 3)).unwrap();
        let left = as_left(&mut journalled);
        let (_, records) = open(left.path());
        assert_eq!(records.keys().collect::<Vec<_>>(), ["/new", "/next"]);
    }
}
