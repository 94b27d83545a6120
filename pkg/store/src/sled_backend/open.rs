//! Opening and closing sled, and swapping one database for another.

use std::any::Any;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use super::applied::Open;
use super::database::database;
use super::disk::{failed, is_unlocked, sync_file, sync_folder};
use crate::backend::BackendError;

/// In the folder of a database that was built to its end.
const COMPLETE: &str = "COMPLETE";
/// sled's own threads may hold the database a moment longer than its handle.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// The size of a segment of sled's log.
pub(super) const SEGMENT: usize = 2 << 20;
const CACHE: u64 = 4 << 20;

/// Runs sled's code; a panic becomes an error.
pub(super) fn caught<T>(
    doing: &'static str,
    work: impl FnOnce() -> Result<T, BackendError>,
) -> Result<T, BackendError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        Err(BackendError::Panicked {
            what: format!("{doing}: {}", message(&*panic)),
        })
    })
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// Opens, or creates, the database in `path` such that a power cut leaves it there.
pub(super) fn open(path: &Path) -> Result<Open, BackendError> {
    remove_unfinished(path)?;
    let config = sled::Config::new()
        .path(path)
        .flush_every_ms(None)
        .segment_size(SEGMENT)
        .cache_capacity(CACHE)
        .mode(sled::Mode::LowSpace);
    let db = caught("opening", || {
        config.open().map_err(database("opening the database"))
    })?;
    let blobs = path.join("blobs");
    let file = path.join("db");
    let file = File::open(&file).map_err(failed("opening", &file))?;
    file.sync_all().map_err(failed("syncing", path))?;
    sync_file(&path.join("conf"))?;
    sync_folder(&blobs)?;
    sync_folder(path)?;
    path.parent().map_or(Ok(()), sync_folder)?;
    Ok(Open::new(db, file, blobs))
}

/// Removes what sled was writing when it was killed while opening.
///
/// sled notes where its pages are in a file `snap.LSN.generating`, renames that to `snap.LSN` once it is on
/// disk, and only then removes the one before. When it opens, it takes the last file by name and says that
/// the database is damaged if that one is cut off; and an unfinished one comes after the whole one of the
/// same number. The one before is still there, and the log has all the rest.
fn remove_unfinished(path: &Path) -> Result<(), BackendError> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed("listing", path))?,
    };
    for entry in entries {
        let entry = entry.map_err(failed("listing", path))?.path();
        if entry.extension().is_some_and(|end| end == "generating") {
            fs::remove_file(&entry).map_err(failed("removing", &entry))?;
        }
    }
    Ok(())
}

/// Closes the database in `path` and waits until it is let go.
pub(super) fn close(opened: Open, path: &Path) -> Result<(), BackendError> {
    let closed = caught("closing", || {
        drop(opened);
        Ok(())
    });
    let file = path.join("db");
    let until = Instant::now() + LOCK_WAIT;
    // A lock has no event to wait for with a limit.
    while !is_unlocked(&file) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1));
    }
    give_back();
    closed
}

/// Returns freed memory to the system: a database that was read leaves a lot of it.
pub(super) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim has no preconditions and may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Makes the folder, and ends what an interrupted swap left.
pub(super) fn settle(folder: &Path) -> Result<(), BackendError> {
    if !folder.exists() {
        fs::create_dir_all(folder).map_err(failed("making", folder))?;
        folder.parent().map_or(Ok(()), sync_folder)?;
    }
    let (current, new) = (folder.join("sled"), folder.join("sled.new"));
    if !current.exists() && new.join(COMPLETE).exists() {
        fs::rename(&new, &current).map_err(failed("renaming", &new))?;
        sync_folder(folder)?;
    }
    remove(&new)
}

/// Marks `sled.new` complete and puts it in the place of `sled`, which becomes `sled.damaged`.
pub(super) fn complete(folder: &Path) -> Result<(), BackendError> {
    let [current, new, damaged] = ["sled", "sled.new", "sled.damaged"].map(|name| folder.join(name));
    let mark = new.join(COMPLETE);
    File::create(&mark)
        .and_then(|file| file.sync_all())
        .map_err(failed("creating", &mark))?;
    sync_folder(&new)?;
    remove(&damaged)?;
    match fs::rename(&current, &damaged) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("renaming", &current)(error))?,
        _ => sync_folder(folder)?,
    }
    fs::rename(&new, &current).map_err(failed("renaming", &new))?;
    sync_folder(folder)
}

/// Removes a folder if it is there.
pub(super) fn remove(folder: &Path) -> Result<(), BackendError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("removing", folder)(error)),
        _ => Ok(()),
    }
}
