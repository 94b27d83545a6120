//! The database itself: load, commit, absorb the journal, rebuild. It is open only while it is used.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use tracing::{error, info, warn};

use super::SledOptions;
use super::applied::{Open, Pending};
use super::journalled::Changes;
use super::layout::{self, GENERATION_KEY, Group, RESERVED_KEY, Write};
use super::open::{self, caught, close, open};
use super::read::{number, read};
use crate::backend::{BackendError, Batch, Change, Loaded};
use crate::logical;
use crate::record::{Record, Revision};

/// After a restore from a snapshot it is not known how many revisions were handed out since it was taken;
/// more than this surely not.
const RESTORE_SKIPS: Revision = 1_000_000_000;

/// Records in sled, on the thread that calls.
pub(super) struct Database {
    options: SledOptions,
    open: Option<Open>,
    /// An error left it closed: what is in it decides about chunks, so all of it must be looked at.
    failed: bool,
    /// A sync failed: the system may have forgotten what it did not write, and shows it all the same. Nothing
    /// but a new database helps.
    unsound: bool,
    /// The keys whose values are in chunks.
    groups: HashMap<Arc<str>, Group>,
    next_group: u64,
}

impl Database {
    /// A backend that opens its folder when it is loaded.
    pub(super) fn new(options: SledOptions) -> Self {
        Self {
            options,
            open: None,
            failed: false,
            unsound: false,
            groups: HashMap::new(),
            next_group: 1,
        }
    }

    fn path(&self) -> PathBuf {
        self.options.folder.join("sled")
    }

    /// Reads everything, and closes, which gives back the memory that took.
    fn load_all(&mut self) -> Result<(Loaded, u64), BackendError> {
        self.close()?;
        // It may be a swap that failed, in whose middle there is no database; opening would make an empty one.
        open::settle(&self.options.folder)?;
        let opened = open(&self.path())?;
        let (groups, next_group) = (&mut self.groups, &mut self.next_group);
        groups.clear();
        let loaded = caught("reading the database", || {
            let absorbed = number(&opened.db, GENERATION_KEY)?.unwrap_or(0);
            Ok((read(&opened, groups, next_group)?, absorbed))
        });
        let closed = close(opened, &self.path());
        let loaded = loaded?;
        closed?;
        self.failed = false;
        Ok(loaded)
    }

    fn close(&mut self) -> Result<(), BackendError> {
        match self.open.take() {
            Some(opened) => close(opened, &self.path()),
            None => Ok(()),
        }
    }

    fn opened(&mut self) -> Result<(), BackendError> {
        if self.unsound {
            return Err(damaged(
                "it could not be synced before, what the disk has is not known",
            ));
        }
        if self.failed {
            self.load_all()?;
        }
        if self.open.is_none() {
            self.open = Some(open(&self.path())?);
        }
        Ok(())
    }

    fn write(&mut self, batch: &Batch) -> Result<(), BackendError> {
        self.durably(|opened, groups, next_group| {
            let mut headers = Pending::default();
            for transaction in &batch.transactions {
                let layout = layout::lay_out(transaction, |key| groups.get(key).copied(), next_group);
                let mut chunks = Pending::default();
                for write in layout.chunks {
                    chunks.make_room(opened, write.bytes())?;
                    chunks.push(write);
                }
                chunks.apply(opened)?;
                headers.make_room(opened, layout.headers.iter().map(Write::bytes).sum())?;
                layout.headers.into_iter().for_each(|write| headers.push(write));
                for (key, group) in layout.groups {
                    match group {
                        Some(group) => groups.insert(key, group),
                        None => groups.remove(&key),
                    };
                }
            }
            if let Some(reserved) = batch.reserved {
                headers.push(Write::number(RESERVED_KEY, reserved));
            }
            headers.apply(opened)
        })
    }

    /// Notes that the database has all of a generation. Everything before must be synced.
    fn mark(&mut self, generation: u64) -> Result<(), BackendError> {
        self.durably(|opened, _, _| {
            let mut mark = Pending::default();
            mark.push(Write::number(GENERATION_KEY, generation));
            mark.apply(opened)
        })
    }

    /// Applies something, given the groups and the next one's number, and syncs it.
    fn durably(
        &mut self,
        apply: impl FnOnce(&Open, &mut HashMap<Arc<str>, Group>, &mut u64) -> Result<(), BackendError>,
    ) -> Result<(), BackendError> {
        let Some(opened) = &self.open else {
            return Err(damaged("the database is not open"));
        };
        let (groups, next_group) = (&mut self.groups, &mut self.next_group);
        let written = caught("writing", || {
            apply(opened, groups, next_group)?;
            opened.sync()
        });
        self.unsound |= opened.sync_failed();
        written
    }

    /// Sets the database aside and starts from the newest whole logical snapshot. The journal, whose newest
    /// generation is given, goes on from a state that is lost: it is passed over.
    fn restore(&mut self, damage: BackendError, newest: u64) -> Result<(Loaded, u64), BackendError> {
        let snapshots = self
            .options
            .snapshots
            .as_deref()
            .map(logical::regular)
            .unwrap_or_default();
        for path in snapshots.iter().rev() {
            let (file, records) = match logical::read_records(path) {
                Ok(read) => read,
                Err(error) => {
                    warn!(path = %path.display(), %error, "a snapshot cannot be used");
                    continue;
                }
            };
            error!(
                error = %damage, snapshot = %path.display(), revision = file.revision, records = file.records,
                "the database cannot be read; it is set aside and the last snapshot restored"
            );
            let reserved = file.revision + RESTORE_SKIPS;
            self.rebuild(&mut records.iter(), reserved, newest)?;
            return Ok((Loaded { records, reserved }, newest));
        }
        Err(damage)
    }
}

impl Database {
    /// Everything, and up to which generation of the journal it is.
    pub(super) fn load(&mut self, newest: u64) -> Result<(Loaded, u64), BackendError> {
        match self.load_all() {
            Err(damage @ (BackendError::Panicked { .. } | BackendError::Damaged { .. })) => {
                self.restore(damage, newest)
            }
            loaded => loaded,
        }
    }

    /// Makes a batch durable here.
    pub(super) fn commit(&mut self, batch: &Batch) -> Result<(), BackendError> {
        self.opened()?;
        let written = self.write(batch);
        self.checked(written)
    }

    /// Takes a generation of the journal.
    pub(super) fn absorb(&mut self, changes: &Changes, generation: u64) -> Result<(), BackendError> {
        self.opened()?;
        // They need not come about together: the journal has them until the generation is noted.
        let transactions = changes.by_key.values().map(|change| vec![change.clone()]);
        let written = self.write(&Batch {
            transactions: transactions.collect(),
            reserved: changes.reserved,
        });
        let written = written.and_then(|()| self.mark(generation));
        self.checked(written)
    }

    /// sled does not recover from an error; a fresh start, before the next batch, does.
    fn checked(&mut self, written: Result<(), BackendError>) -> Result<(), BackendError> {
        written.inspect_err(|_| {
            self.failed = true;
            if let Err(failure) = self.close() {
                warn!(error = %failure, "closing the database after an error");
            }
        })
    }

    /// Closes the database until it is needed: it keeps what it wrote in memory.
    pub(super) fn rest(&mut self) -> Result<(), BackendError> {
        self.close()
    }

    /// Stores `records` instead of all there is; the journal up to `generation` is among them.
    pub(super) fn rebuild(
        &mut self,
        records: &mut dyn Iterator<Item = &Arc<Record>>,
        reserved: Revision,
        generation: u64,
    ) -> Result<(), BackendError> {
        if let Err(failure) = self.close() {
            warn!(error = %failure, "closing the database to build it anew");
        }
        let new = self.options.folder.join("sled.new");
        open::remove(&new)?;
        self.groups.clear();
        self.failed = true;
        self.unsound = false;
        self.open = Some(open(&new)?);
        let mut records = records.cloned().map(Change::Put).peekable();
        while records.peek().is_some() {
            let transactions = vec![records.by_ref().take(128).collect()];
            self.write(&Batch {
                transactions,
                reserved: None,
            })?;
        }
        self.write(&Batch {
            transactions: Vec::new(),
            reserved: Some(reserved),
        })?;
        self.mark(generation)?;
        if let Some(opened) = self.open.take() {
            close(opened, &new)?;
        }
        open::complete(&self.options.folder)?;
        self.failed = false;
        info!(folder = %self.options.folder.display(), "the database was built anew");
        Ok(())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Err(failure) = self.close() {
            warn!(error = %failure, "closing the database");
        }
    }
}

/// What is stored makes no sense.
pub(super) fn damaged(what: &str) -> BackendError {
    BackendError::Damaged {
        what: what.to_owned(),
    }
}

/// Tells a lack of space and damage apart from other failures of sled.
pub(super) fn database(doing: &'static str) -> impl FnOnce(sled::Error) -> BackendError {
    move |error| match error {
        sled::Error::Io(source) => BackendError::Io {
            doing,
            path: "sled".into(),
            source,
        },
        error @ sled::Error::Corruption { .. } => BackendError::Damaged {
            what: format!("{doing}: {error}"),
        },
        error @ sled::Error::ReportableBug(_) => BackendError::Panicked {
            what: format!("{doing}: {error}"),
        },
        error => BackendError::Database {
            doing,
            source: Box::new(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn record(key: &str) -> Arc<Record> {
        Arc::new(Record::new(key.into(), Bytes::from_static(b"value"), 1, 1))
    }

    fn put(key: &str) -> Batch {
        Batch {
            transactions: vec![vec![Change::Put(record(key))]],
            reserved: None,
        }
    }

    fn keys(database: &mut Database) -> Vec<String> {
        let (loaded, _) = database.load(0).unwrap();
        loaded
            .records
            .iter()
            .map(|record| record.key.to_string())
            .collect()
    }

    #[test]
    fn a_database_that_could_not_be_synced_is_not_written_on_until_it_is_built_anew() {
        let folder = tempfile::tempdir().unwrap();
        let mut database = Database::new(SledOptions::new(folder.path()));
        database.commit(&put("/a")).unwrap();
        std::fs::remove_dir(database.path().join("blobs")).unwrap();
        let first = database.commit(&put("/b")).unwrap_err();
        assert!(matches!(first, BackendError::Io { .. }), "{first:?}");
        let again = database.commit(&put("/b")).unwrap_err();
        assert!(matches!(again, BackendError::Damaged { .. }), "{again:?}");
        database.rebuild(&mut [record("/a")].iter(), 7, 0).unwrap();
        database.commit(&put("/b")).unwrap();
        assert_eq!(keys(&mut database), ["/a", "/b"]);
    }

    #[test]
    fn a_swap_that_failed_half_way_does_not_leave_an_empty_database() {
        let folder = tempfile::tempdir().unwrap();
        let mut database = Database::new(SledOptions::new(folder.path()));
        database.commit(&put("/a")).unwrap();
        database.close().unwrap();
        // What a swap leaves that fails between its two renames.
        std::fs::write(database.path().join("COMPLETE"), "").unwrap();
        std::fs::rename(database.path(), folder.path().join("sled.new")).unwrap();
        database.failed = true;
        database.commit(&put("/b")).unwrap();
        assert_eq!(keys(&mut database), ["/a", "/b"]);
    }
}
