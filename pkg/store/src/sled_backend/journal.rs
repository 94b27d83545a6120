//! The journal: two files in which batches become durable before the database has them.
//!
//! A generation is what one file holds: frames ([`frame`]) from its beginning on. Generations take the files
//! in turn, odd and even, and a file is written over only when the database has all of the generation that
//! lies there. So whatever the moment, every batch is in the database or in a file, whole.
//!
//! The files have their full size from the start and are written in place: a sync then has nothing but the
//! data to write. What an older generation left behind the last frame is told by its number.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::fcntl::posix_fallocate;

use super::disk::{failed, sync_folder};
use super::frame::{self, Frame};
use crate::backend::{BackendError, Batch};

/// The size of a file. The database gets at most so much at a time, while the other file fills.
pub(super) const CAPACITY: usize = 4 << 20;
/// The buffer for frames is kept up to this size.
const KEPT_BUFFER: usize = 256 << 10;

/// The files, and where in them we are.
pub(super) struct Journal {
    folder: PathBuf,
    files: [Option<File>; 2],
    generation: u64,
    offset: usize,
    buffer: Vec<u8>,
}

impl Journal {
    /// A journal that begins with `generation`. The files are made when they are first needed.
    pub(super) fn new(folder: &Path, generation: u64) -> Self {
        Self {
            folder: folder.to_owned(),
            files: [None, None],
            generation,
            offset: 0,
            buffer: Vec::new(),
        }
    }

    /// The generation that is being written.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// How much of this generation is written.
    pub(super) fn bytes(&self) -> usize {
        self.offset
    }

    /// Whether this generation has room for `bytes` more.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.offset + bytes <= CAPACITY
    }

    /// Makes a batch durable; there must be room for it. After an error the generation must be ended: what is
    /// on the disk behind the last good frame is not known.
    pub(super) fn append(&mut self, batch: &Batch) -> Result<(), BackendError> {
        frame::encode(batch, self.generation, &mut self.buffer);
        let path = path(&self.folder, self.generation);
        let file = match &mut self.files[(self.generation % 2) as usize] {
            Some(file) => file,
            none => none.insert(create(&self.folder, &path)?),
        };
        file.write_all_at(&self.buffer, self.offset as u64)
            .map_err(failed("writing", &path))?;
        file.sync_data().map_err(failed("syncing", &path))?;
        self.offset += self.buffer.len();
        if self.buffer.capacity() > KEPT_BUFFER {
            self.buffer = Vec::new();
        }
        Ok(())
    }

    /// Begins the next generation, in the other file.
    pub(super) fn advance(&mut self) {
        self.generation += 1;
        self.offset = 0;
    }
}

fn path(folder: &Path, generation: u64) -> PathBuf {
    folder.join(["journal.0", "journal.1"][(generation % 2) as usize])
}

/// Opens a file with its full size on the disk, made if need be.
fn create(folder: &Path, path: &Path) -> Result<File, BackendError> {
    let mut options = OpenOptions::new();
    // Read: where a filesystem cannot reserve, the C library does it by hand and looks at what is there.
    options.read(true).write(true).create(true).truncate(false);
    let file = options.open(path).map_err(failed("opening", path))?;
    posix_fallocate(&file, 0, CAPACITY as i64)
        .map_err(|errno| failed("reserving space for", path)(errno.into()))?;
    file.sync_all().map_err(failed("syncing", path))?;
    sync_folder(folder)?;
    Ok(file)
}

/// The generations that lie in the files, the older one first.
pub(super) fn generations(folder: &Path) -> Result<Vec<u64>, BackendError> {
    let mut found = Vec::with_capacity(2);
    for parity in 0..2 {
        let path = path(folder, parity);
        match File::open(&path).and_then(|file| first(&file)) {
            Ok(first) => found.extend(first.map(|frame| frame.generation)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed("reading", &path)(error)),
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The frame a file begins with.
fn first(file: &File) -> std::io::Result<Option<Frame>> {
    let mut bytes = [0; 4];
    if file.read_at(&mut bytes, 0)? < bytes.len() {
        return Ok(None);
    }
    let length = frame::START + u32::from_le_bytes(bytes) as usize;
    if length > CAPACITY {
        return Ok(None);
    }
    let mut bytes = vec![0; length];
    match file.read_exact_at(&mut bytes, 0) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        read => read.map(|()| frame::decode(&bytes).map(|(frame, _)| frame)),
    }
}

/// The frames of a generation, in the order in which they were written.
pub(super) fn read(folder: &Path, generation: u64) -> Result<Vec<Frame>, BackendError> {
    let path = path(folder, generation);
    let bytes = std::fs::read(&path).map_err(failed("reading", &path))?;
    let (mut frames, mut rest) = (Vec::new(), &bytes[..]);
    // What follows the generation is the rest of an older one.
    while let Some((frame, after)) = frame::decode(rest).filter(|(frame, _)| frame.generation == generation) {
        frames.push(frame);
        rest = after;
    }
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Change;

    fn batch(key: &str) -> Batch {
        Batch {
            transactions: vec![vec![Change::Delete(key.into())]],
            reserved: None,
        }
    }

    fn keys(folder: &Path) -> Vec<String> {
        let of = |change: &Change| match change {
            Change::Delete(key) => key.to_string(),
            Change::Put(record) => record.key.to_string(),
        };
        let frames = generations(folder).unwrap().into_iter();
        let frames: Vec<_> = frames
            .flat_map(|generation| read(folder, generation).unwrap())
            .collect();
        frames.iter().flat_map(|frame| &frame.changes).map(of).collect()
    }

    #[test]
    fn what_was_written_is_read_in_order_and_an_older_generations_rest_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::new(folder.path(), 1);
        for key in ["a", "b", "c"] {
            journal.append(&batch(key)).unwrap();
        }
        journal.advance();
        journal.append(&batch("d")).unwrap();
        assert_eq!(keys(folder.path()), ["a", "b", "c", "d"]);
        journal.advance();
        journal.append(&batch("e")).unwrap();
        assert_eq!(keys(folder.path()), ["d", "e"]);
    }

    #[test]
    fn a_frame_that_was_cut_off_ends_its_generation() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::new(folder.path(), 4);
        journal.append(&batch("a")).unwrap();
        journal.append(&batch("b")).unwrap();
        let file = OpenOptions::new()
            .write(true)
            .open(path(folder.path(), 4))
            .unwrap();
        file.write_all_at(&[0; 8], journal.offset as u64 - 8).unwrap();
        assert_eq!(keys(folder.path()), ["a"]);
    }

    #[test]
    fn a_files_space_can_be_reserved_by_hand() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(folder.path(), 1);
        for _ in 0..2 {
            let file = create(folder.path(), &path).unwrap();
            assert_eq!(file.metadata().unwrap().len(), CAPACITY as u64);
            file.read_at(&mut [0], 0).unwrap();
        }
    }

    #[test]
    fn a_full_generation_has_no_room() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::new(folder.path(), 1);
        journal.append(&batch("a")).unwrap();
        assert!(journal.has_room(100) && !journal.has_room(CAPACITY));
    }
}
