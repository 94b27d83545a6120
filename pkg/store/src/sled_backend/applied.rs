//! What is applied to sled, and when it is synced.
//!
//! sled writes its log in segments. A segment whose pages all stand in later ones is written over, at the
//! earliest one whole segment after the last of those pages. sled takes for written what the system was told
//! to write; a power cut may take it back where the file had grown, but not what was written over in place,
//! and then a page is in neither. So the log must never grow by a segment between two syncs.
//!
//! How much it grows cannot be asked, and it is many times what is applied: sled writes a whole page anew, of up
//! to 16 neighbours of 8 KiB, when it has changed some times, is split, or shrinks. Hence the prices below; the
//! test measures what they come to.

use std::cell::Cell;
use std::fs::File;
use std::path::PathBuf;

use sled::Db;

use super::database::database;
use super::disk::{failed, sync_content};
use super::layout::Write;
use crate::backend::BackendError;

/// Changes that may come about apart are applied in batches of about so many bytes.
const PIECE: usize = 32 << 10;
/// How many bytes are applied between two syncs.
const SYNC_EVERY: usize = 128 << 10;
/// What an insert counts for besides its own bytes.
const NEIGHBOURS: usize = 2 << 10;
/// What a removal counts for.
const REMOVAL: usize = 4 << 10;

/// An open database and its file, to sync it.
pub(super) struct Open {
    pub(super) db: Db,
    file: File,
    blobs: PathBuf,
    /// What was applied since the last sync, at the prices above.
    unsynced: Cell<usize>,
    sync_failed: Cell<bool>,
}

impl Open {
    /// `file` is the database's, `blobs` the folder of its large messages.
    pub(super) fn new(db: Db, file: File, blobs: PathBuf) -> Self {
        Self {
            db,
            file,
            blobs,
            unsynced: Cell::new(0),
            sync_failed: Cell::new(false),
        }
    }

    /// Makes everything applied survive a power cut.
    pub(super) fn sync(&self) -> Result<(), BackendError> {
        self.db.flush().map_err(database("flushing"))?;
        let synced = self
            .file
            .sync_data()
            .map_err(failed("syncing the database in", &self.blobs))
            .and_then(|()| sync_content(&self.blobs));
        self.unsynced.set(0);
        synced.inspect_err(|_| self.sync_failed.set(true))
    }

    /// Whether a sync failed: what the disk has is not known then.
    pub(super) fn sync_failed(&self) -> bool {
        self.sync_failed.get()
    }
}

/// Writes that wait to be applied as one sled batch.
#[derive(Default)]
pub(super) struct Pending {
    batch: sled::Batch,
    bytes: usize,
    cost: usize,
}

impl Pending {
    /// Applies what waits if it is much, or `bytes` more would be too much.
    pub(super) fn make_room(&mut self, opened: &Open, bytes: usize) -> Result<(), BackendError> {
        if self.cost > 0 && (self.bytes + bytes > PIECE || self.cost > SYNC_EVERY) {
            self.apply(opened)
        } else {
            Ok(())
        }
    }

    /// Adds a write.
    pub(super) fn push(&mut self, write: Write) {
        self.bytes += write.bytes();
        match write {
            Write::Insert(key, value) => {
                self.cost += key.len() + value.len() + NEIGHBOURS;
                self.batch.insert(key, value);
            }
            Write::Remove(key) => {
                self.cost += REMOVAL;
                self.batch.remove(key);
            }
        }
    }

    /// Applies what waits, and syncs if there is a good deal to sync.
    pub(super) fn apply(&mut self, opened: &Open) -> Result<(), BackendError> {
        if self.cost == 0 {
            return Ok(());
        }
        let Self { batch, cost, .. } = std::mem::take(self);
        opened
            .db
            .apply_batch(batch)
            .map_err(database("applying a batch"))?;
        opened.unsynced.set(opened.unsynced.get() + cost);
        if opened.unsynced.get() < SYNC_EVERY {
            return Ok(());
        }
        opened.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sled_backend::open::{SEGMENT, open};

    /// How many bytes this process has written.
    fn written() -> u64 {
        let io = std::fs::read_to_string("/proc/self/io").unwrap();
        let line = io.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap();
        line.parse().unwrap()
    }

    fn insert(key: u64, size: usize) -> Write {
        Write::Insert(key.to_be_bytes().to_vec(), vec![key as u8; size])
    }

    /// Applies the writes to a new database; the most that was written between two syncs.
    fn most_between_syncs(writes: impl Iterator<Item = Write>) -> u64 {
        let folder = tempfile::tempdir().unwrap();
        let opened = open(&folder.path().join("sled")).unwrap();
        let (mut pending, mut most, mut last) = (Pending::default(), 0, written());
        for write in writes {
            pending.make_room(&opened, write.bytes()).unwrap();
            pending.push(write);
            most = most.max(written() - last);
            if opened.unsynced.get() == 0 {
                last = written();
            }
        }
        most
    }

    #[test]
    #[ignore = "counts what its process writes; the next test runs it alone"]
    fn growth_between_syncs() {
        const KEYS: u64 = 1000;
        let mut state = 1_u64;
        let mut any_key = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) % KEYS
        };
        let remove = |key: u64| Write::Remove(key.to_be_bytes().to_vec());
        let large = || (0..KEYS).map(|key| insert(key, 8 << 10));
        let mut keys: Vec<u64> = (0..4 * KEYS).map(|_| any_key()).collect();
        let churn = |size: usize| large().chain(keys.clone().into_iter().map(move |key| insert(key, size)));
        let mut found = vec![
            ("large ones rewritten", most_between_syncs(churn(8 << 10))),
            ("middling ones", most_between_syncs(churn(1000))),
            ("small ones among large ones", most_between_syncs(churn(10))),
            (
                "large ones removed in order",
                most_between_syncs(large().chain((0..KEYS).map(remove))),
            ),
        ];
        keys.dedup();
        let removed = large().chain(keys.iter().copied().map(remove));
        found.push(("large ones removed", most_between_syncs(removed)));
        println!("{found:?}");
        assert!(found.iter().all(|(_, most)| *most < SEGMENT as u64), "{found:?}");
    }

    #[test]
    fn the_log_never_grows_by_a_segment_between_two_syncs() {
        let alone = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "sled_backend::applied::tests::growth_between_syncs",
                "--exact",
                "--ignored",
                "--nocapture",
            ])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&alone.stdout);
        assert!(alone.status.success() && said.contains("1 passed"), "{said}");
    }
}
