//! Logical snapshots: the records in one portable file, for any backend.
//!
//! The file is `KOBUNE-SNAPSHOT 1\n`, then one frame per record: lengths of key and value (u32 each),
//! create revision and revision (u64 each), key, value; then an end frame: two u32::MAX, the number of
//! records and the snapshot's revision; then the CRC-32 (IEEE) of all before it. Little endian.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use bytes::Bytes;
use tracing::{info, warn};

use crate::backend::Backend;
use crate::error::SnapshotFileError;
use crate::record::{Record, Revision};
use crate::snapshot::Snapshot;
use crate::store::RegularSnapshots;

const MAGIC: &[u8] = b"KOBUNE-SNAPSHOT 1\n";
const END: u32 = u32::MAX;
const SUFFIX: &str = ".kobune-snapshot";

/// What a logical snapshot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotFile {
    /// The newest commit it includes.
    pub revision: Revision,
    /// Number of records.
    pub records: u64,
    /// Size of the file, bytes.
    pub bytes: u64,
}

/// Writes `snapshot` to `path`: to a file beside it first, which then takes its name.
pub(crate) fn save(snapshot: &Snapshot, path: &Path) -> Result<SnapshotFile, SnapshotFileError> {
    let fail = |doing| {
        move |source| SnapshotFileError::Io {
            doing,
            path: path.to_owned(),
            source,
        }
    };
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let written = write(snapshot, &part).and_then(|bytes| {
        fs::rename(&part, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(bytes)
    });
    if written.is_err() {
        // The error to tell is the first one.
        let _ = fs::remove_file(&part);
    }
    let bytes = written.map_err(fail("writing"))?;
    Ok(SnapshotFile {
        revision: snapshot.revision,
        records: snapshot.len() as u64,
        bytes,
    })
}

fn write(snapshot: &Snapshot, path: &Path) -> io::Result<u64> {
    let file = File::create(path)?;
    let mut out = Summed {
        inner: BufWriter::with_capacity(1 << 16, file),
        crc: Crc::new(),
        bytes: 0,
    };
    out.write_all(MAGIC)?;
    for record in snapshot.records.values() {
        let too_long = |_| io::Error::other("a key or value of 4 GiB");
        out.write_all(&u32::try_from(record.key.len()).map_err(too_long)?.to_le_bytes())?;
        out.write_all(&u32::try_from(record.value.len()).map_err(too_long)?.to_le_bytes())?;
        out.write_all(&record.create_revision.to_le_bytes())?;
        out.write_all(&record.revision.to_le_bytes())?;
        out.write_all(record.key.as_bytes())?;
        out.write_all(&record.value)?;
    }
    out.write_all(&END.to_le_bytes())?;
    out.write_all(&END.to_le_bytes())?;
    out.write_all(&(snapshot.len() as u64).to_le_bytes())?;
    out.write_all(&snapshot.revision.to_le_bytes())?;
    let crc = out.crc.value();
    out.write_all(&crc.to_le_bytes())?;
    let bytes = out.bytes;
    out.inner
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?
        .sync_all()?;
    Ok(bytes)
}

/// Checks that the file is a whole, unchanged snapshot, and tells what it holds.
pub fn verify(path: &Path) -> Result<SnapshotFile, SnapshotFileError> {
    read(path, |_| {})
}

/// Fills an empty backend from a snapshot file. Revisions go on above the snapshot's.
pub fn restore(path: &Path, backend: &mut dyn Backend) -> Result<SnapshotFile, SnapshotFileError> {
    let held = backend.load().map_err(SnapshotFileError::Backend)?;
    if !held.records.is_empty() {
        return Err(SnapshotFileError::NotEmpty);
    }
    let (file, records) = read_records(path)?;
    let reserved = file.revision.max(held.reserved);
    backend
        .rebuild(&mut records.iter(), reserved)
        .map_err(SnapshotFileError::Backend)?;
    Ok(file)
}

/// The whole content of a snapshot file.
pub(crate) fn read_records(path: &Path) -> Result<(SnapshotFile, Vec<Arc<Record>>), SnapshotFileError> {
    let mut records = Vec::new();
    let file = read(path, |record| records.push(Arc::new(record)))?;
    Ok((file, records))
}

fn read(path: &Path, each: impl FnMut(Record)) -> Result<SnapshotFile, SnapshotFileError> {
    let io_error = |source| SnapshotFileError::Io {
        doing: "reading",
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(io_error)?;
    let bytes = file.metadata().map_err(io_error)?.len();
    let input = Summed {
        inner: BufReader::with_capacity(1 << 16, file),
        crc: Crc::new(),
        bytes: 0,
    };
    match read_frames(input, bytes, each) {
        Ok((records, revision)) => Ok(SnapshotFile {
            revision,
            records,
            bytes,
        }),
        Err(Unreadable::Io(source)) if source.kind() != io::ErrorKind::UnexpectedEof => Err(io_error(source)),
        Err(Unreadable::Io(_)) => Err(damaged(path, "it is cut off")),
        Err(Unreadable::Damaged(what)) => Err(damaged(path, what)),
    }
}

fn damaged(path: &Path, what: &str) -> SnapshotFileError {
    SnapshotFileError::Damaged {
        path: path.to_owned(),
        what: what.to_owned(),
    }
}

enum Unreadable {
    Io(io::Error),
    Damaged(&'static str),
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        Unreadable::Io(error)
    }
}

/// Number of records and revision.
fn read_frames(
    mut input: Summed<impl Read>,
    size: u64,
    mut each: impl FnMut(Record),
) -> Result<(u64, Revision), Unreadable> {
    let mut magic = [0; MAGIC.len()];
    input.read_exact(&mut magic)?;
    if magic != MAGIC {
        return Err(Unreadable::Damaged("it does not begin as one"));
    }
    let mut records = 0;
    loop {
        let (key_length, value_length) = (input.u32()?, input.u32()?);
        let (first, second) = (input.u64()?, input.u64()?);
        if (key_length, value_length) == (END, END) {
            let crc = input.crc.value();
            if input.u32()? != crc || first != records || input.bytes != size {
                return Err(Unreadable::Damaged("its checksum is wrong"));
            }
            return Ok((records, second));
        }
        // Before believing a length enough to allocate it.
        if u64::from(key_length) + u64::from(value_length) > size - input.bytes.min(size) {
            return Err(Unreadable::Damaged("a record is longer than the file"));
        }
        let key = String::from_utf8(input.vec(key_length)?);
        let key = key.map_err(|_| Unreadable::Damaged("a key is not UTF-8"))?;
        let value = Bytes::from(input.vec(value_length)?);
        each(Record::new(key.into(), value, first, second));
        records += 1;
    }
}

/// Counts and sums what passes.
struct Summed<T> {
    inner: T,
    crc: Crc,
    bytes: u64,
}

impl<T: Write> Write for Summed<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.crc.add(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Summed<T> {
    fn read_exact(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.inner.read_exact(bytes)?;
        self.crc.add(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn u32(&mut self) -> io::Result<u32> {
        let mut bytes = [0; 4];
        self.read_exact(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn u64(&mut self) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.read_exact(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn vec(&mut self, length: u32) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length as usize];
        self.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// CRC-32 (IEEE 802.3).
#[derive(Clone)]
pub(crate) struct Crc(crc32fast::Hasher);

impl Crc {
    pub(crate) fn new() -> Self {
        Self(crc32fast::Hasher::new())
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn value(&self) -> u32 {
        self.0.clone().finalize()
    }
}

/// Writes regular snapshots, on a thread of its own for each.
pub(crate) struct Saver {
    plan: RegularSnapshots,
    due: Option<Instant>,
    running: Option<JoinHandle<()>>,
}

impl Saver {
    pub(crate) fn new(plan: RegularSnapshots) -> Self {
        Self {
            plan,
            due: None,
            running: None,
        }
    }

    /// Something changed that a restart would keep.
    pub(crate) fn changed(&mut self, now: Instant) {
        self.due.get_or_insert(now + self.plan.every);
    }

    /// When the next is due; None while nothing changed since the last.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Starts to write one.
    pub(crate) fn save(&mut self, snapshot: Snapshot) {
        self.finish();
        self.due = None;
        let plan = self.plan.clone();
        let thread = std::thread::Builder::new().name("store-snapshot".to_owned());
        match thread.spawn(move || save_regular(&plan, &snapshot)) {
            Ok(running) => self.running = Some(running),
            Err(error) => warn!(%error, "no thread for the regular snapshot"),
        }
    }

    /// Waits for the one that is being written.
    pub(crate) fn finish(&mut self) {
        if let Some(running) = self.running.take() {
            // Its panic was already told by the panic hook.
            let _ = running.join();
        }
    }
}

fn save_regular(plan: &RegularSnapshots, snapshot: &Snapshot) {
    let path = plan.folder.join(format!("{:020}{SUFFIX}", snapshot.revision));
    let made = fs::create_dir_all(&plan.folder);
    let saved = made
        .map_err(|source| SnapshotFileError::Io {
            doing: "making",
            path: plan.folder.clone(),
            source,
        })
        .and_then(|()| save(snapshot, &path));
    match saved {
        Ok(file) => {
            info!(path = %path.display(), revision = file.revision, records = file.records, "snapshot saved")
        }
        Err(error) => return warn!(path = %path.display(), %error, "the regular snapshot failed"),
    }
    for old in regular(&plan.folder).iter().rev().skip(plan.keep.max(1)) {
        if let Err(error) = fs::remove_file(old) {
            warn!(path = %old.display(), %error, "an old snapshot could not be removed");
        }
    }
}

/// The regular snapshots in a folder, oldest first.
pub(crate) fn regular(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let mut found: Vec<_> = entries
        .filter(|path| path.to_string_lossy().ends_with(SUFFIX))
        .collect();
    // The revision is padded with zeros: the order of names is theirs.
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_standard_one() {
        let mut crc = Crc::new();
        crc.add(b"123456789");
        assert_eq!(crc.value(), 0xcbf4_3926);
    }
}
