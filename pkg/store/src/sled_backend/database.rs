//! The database itself: load, commit, reopen, rebuild.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use sled::Db;
use tracing::{error, info, warn};

use super::SledOptions;
use super::disk::{check_space, failed, sync_content};
use super::layout::{self, BATCH, CHUNKS, Group, Header, RECORDS, RESERVED_KEY, Write};
use super::open::{self, caught, close, open};
use crate::backend::{Backend, BackendError, Batch, Change, Loaded};
use crate::logical;
use crate::record::{Record, Revision};

/// After a restore from a snapshot it is not known how many revisions were handed out since it was taken;
/// more than this surely not.
const RESTORE_SKIPS: Revision = 1_000_000_000;

/// Records in sled, on the thread that calls.
pub(super) struct Database {
    options: SledOptions,
    open: Option<Open>,
    /// The keys whose values are in chunks.
    groups: HashMap<Arc<str>, Group>,
    next_group: u64,
}

/// An open database and its file, to sync it.
pub(super) struct Open {
    pub(super) db: Db,
    pub(super) file: File,
    pub(super) blobs: PathBuf,
}

impl Database {
    /// A backend that opens its folder when it is loaded.
    pub(super) fn new(options: SledOptions) -> Self {
        Self {
            options,
            open: None,
            groups: HashMap::new(),
            next_group: 1,
        }
    }

    fn path(&self) -> PathBuf {
        self.options.folder.join("sled")
    }

    /// Reads everything, and reopens to give back the memory that took.
    fn load_all(&mut self) -> Result<Loaded, BackendError> {
        self.close()?;
        let opened = open(&self.path())?;
        let (groups, next_group) = (&mut self.groups, &mut self.next_group);
        groups.clear();
        let loaded = caught("reading the database", || read(&opened.db, groups, next_group));
        let closed = close(opened, &self.path());
        let loaded = loaded?;
        closed?;
        self.open = Some(open(&self.path())?);
        Ok(loaded)
    }

    fn close(&mut self) -> Result<(), BackendError> {
        match self.open.take() {
            Some(opened) => close(opened, &self.path()),
            None => Ok(()),
        }
    }

    fn write(&mut self, batch: &Batch) -> Result<(), BackendError> {
        if self.open.is_none() {
            // The batch before failed: what it left behind decides about chunks, so look at all of it.
            self.load_all()?;
        }
        let Some(opened) = &self.open else {
            return Err(BackendError::Damaged {
                what: "the database is not open".to_owned(),
            });
        };
        let (groups, next_group) = (&mut self.groups, &mut self.next_group);
        caught("writing", || {
            let mut headers = Pending::default();
            for transaction in &batch.transactions {
                let layout = layout::lay_out(transaction, |key| groups.get(key).copied(), next_group);
                let mut chunks = Pending::default();
                for write in layout.chunks {
                    chunks.make_room(&opened.db, write.bytes())?;
                    chunks.push(write);
                }
                chunks.apply(&opened.db)?;
                headers.make_room(&opened.db, layout.headers.iter().map(Write::bytes).sum())?;
                layout.headers.into_iter().for_each(|write| headers.push(write));
                for (key, group) in layout.groups {
                    match group {
                        Some(group) => groups.insert(key, group),
                        None => groups.remove(&key),
                    };
                }
            }
            if let Some(reserved) = batch.reserved {
                headers.push(Write::Insert(
                    RESERVED_KEY.to_vec(),
                    reserved.to_be_bytes().to_vec(),
                ));
            }
            headers.apply(&opened.db)?;
            opened.db.flush().map_err(database("flushing"))?;
            Ok(())
        })?;
        opened.sync()
    }

    fn needed(&self, batch: &Batch) -> u64 {
        let size = |change: &Change| match change {
            Change::Put(record) => record.value.len() + record.key.len(),
            Change::Delete(_) => 0,
        };
        let bytes: usize = batch.transactions.iter().flatten().map(size).sum();
        let only_deletes = bytes == 0 && !batch.transactions.is_empty();
        // Twice: the log takes the value, and the page it is on may be written anew.
        if only_deletes {
            self.options.spare_bytes / 2
        } else {
            self.options.spare_bytes + 2 * bytes as u64
        }
    }

    /// Sets the database aside and starts from the newest whole logical snapshot.
    fn restore(&mut self, damage: BackendError) -> Result<Loaded, BackendError> {
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
            self.rebuild(&mut records.iter(), reserved)?;
            return Ok(Loaded { records, reserved });
        }
        Err(damage)
    }
}

impl Open {
    /// What makes a flushed batch survive a power cut.
    fn sync(&self) -> Result<(), BackendError> {
        self.file
            .sync_data()
            .map_err(failed("syncing the database in", &self.blobs))?;
        sync_content(&self.blobs)
    }
}

/// Writes that wait to be applied as one sled batch.
#[derive(Default)]
struct Pending {
    batch: sled::Batch,
    bytes: usize,
}

impl Pending {
    /// Applies what waits if `bytes` more would be too much.
    fn make_room(&mut self, db: &Db, bytes: usize) -> Result<(), BackendError> {
        if self.bytes > 0 && self.bytes + bytes > BATCH {
            self.apply(db)
        } else {
            Ok(())
        }
    }

    fn push(&mut self, write: Write) {
        self.bytes += write.bytes();
        match write {
            Write::Insert(key, value) => self.batch.insert(key, value),
            Write::Remove(key) => self.batch.remove(key),
        }
    }

    fn apply(&mut self, db: &Db) -> Result<(), BackendError> {
        if self.bytes == 0 {
            return Ok(());
        }
        self.bytes = 0;
        db.apply_batch(std::mem::take(&mut self.batch))
            .map_err(database("applying a batch"))
    }
}

impl Backend for Database {
    fn load(&mut self) -> Result<Loaded, BackendError> {
        open::settle(&self.options.folder)?;
        match self.load_all() {
            Err(damage @ (BackendError::Panicked { .. } | BackendError::Damaged { .. })) => {
                self.restore(damage)
            }
            loaded => loaded,
        }
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), BackendError> {
        if self.options.spare_bytes > 0 {
            check_space(&self.options.folder, self.needed(batch))?;
        }
        self.write(batch).inspect_err(|_| {
            // sled does not recover from an error; a fresh start, before the next batch, does.
            if let Err(failure) = self.close() {
                warn!(error = %failure, "closing the database after an error");
            }
        })
    }

    fn rest(&mut self) -> Result<(), BackendError> {
        self.close()?;
        self.open = Some(open(&self.path())?);
        Ok(())
    }

    fn rebuild(
        &mut self,
        records: &mut dyn Iterator<Item = &Arc<Record>>,
        reserved: Revision,
    ) -> Result<(), BackendError> {
        if let Err(failure) = self.close() {
            warn!(error = %failure, "closing the database to build it anew");
        }
        let new = self.options.folder.join("sled.new");
        open::remove(&new)?;
        self.groups.clear();
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
        if let Some(opened) = self.open.take() {
            close(opened, &new)?;
        }
        open::complete(&self.options.folder)?;
        self.open = Some(open(&self.path())?);
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

/// Everything in the database. Chunks nobody refers to, of transactions that were cut off, are removed.
fn read(
    db: &Db,
    groups: &mut HashMap<Arc<str>, Group>,
    next_group: &mut u64,
) -> Result<Loaded, BackendError> {
    let mut loaded = Loaded::default();
    if let Some(reserved) = db
        .get(RESERVED_KEY)
        .map_err(database("reading the reservation"))?
    {
        let reserved = <[u8; 8]>::try_from(&*reserved);
        loaded.reserved =
            u64::from_be_bytes(reserved.map_err(|_| damaged("the reservation is not a number"))?);
    }
    for entry in db.scan_prefix(RECORDS) {
        let (key, value) = entry.map_err(database("reading the records"))?;
        let key: Arc<str> = std::str::from_utf8(&key[RECORDS.len()..])
            .map_err(|_| damaged("a key is not UTF-8"))?
            .into();
        let (header, rest) = Header::decode(&value).ok_or_else(|| damaged("a header is cut off"))?;
        let value = if header.group == 0 {
            Bytes::copy_from_slice(rest)
        } else {
            let group = Group {
                id: header.group,
                length: header.length,
            };
            groups.insert(key.clone(), group);
            assemble(db, group)?
        };
        if !header.fits(&value) {
            return Err(damaged(&format!("the value of {key} does not fit its checksum")));
        }
        loaded.records.push(Arc::new(Record::new(
            key,
            value,
            header.create_revision,
            header.revision,
        )));
    }
    drop_orphans(db, groups, next_group)?;
    Ok(loaded)
}

fn assemble(db: &Db, group: Group) -> Result<Bytes, BackendError> {
    let mut value = Vec::with_capacity(group.length as usize);
    for key in layout::chunk_keys(group) {
        let piece = db.get(key).map_err(database("reading a large value"))?;
        value.extend_from_slice(&piece.ok_or_else(|| damaged("a piece of a large value is missing"))?);
    }
    Ok(value.into())
}

fn drop_orphans(
    db: &Db,
    groups: &HashMap<Arc<str>, Group>,
    next_group: &mut u64,
) -> Result<(), BackendError> {
    let known: HashSet<u64> = groups.values().map(|group| group.id).collect();
    let mut orphans = Pending::default();
    for key in db.scan_prefix(CHUNKS).keys() {
        let key = key.map_err(database("reading the chunks"))?;
        let id = layout::group_of_chunk(&key).ok_or_else(|| damaged("a chunk's key is cut off"))?;
        *next_group = (id + 1).max(*next_group);
        if !known.contains(&id) {
            orphans.push(Write::Remove(key.to_vec()));
        }
    }
    orphans.apply(db)
}

fn damaged(what: &str) -> BackendError {
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
