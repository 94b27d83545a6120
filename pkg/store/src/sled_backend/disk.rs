//! What sled leaves to us of the disk: syncing files and folders, and looking at free space.

use std::fs::{self, File};
use std::path::Path;

use crate::backend::BackendError;

/// Makes the folder's entries (not its files' content) survive a power cut.
pub(super) fn sync_folder(path: &Path) -> Result<(), BackendError> {
    sync_file(path)
}

/// Makes a file survive a power cut.
pub(super) fn sync_file(path: &Path) -> Result<(), BackendError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(failed("syncing", path))
}

/// Syncs every file of a folder, and the folder, if there is any.
pub(super) fn sync_content(folder: &Path) -> Result<(), BackendError> {
    let mut any = false;
    for entry in fs::read_dir(folder).map_err(failed("listing", folder))? {
        let entry = entry.map_err(failed("listing", folder))?;
        sync_file(&entry.path())?;
        any = true;
    }
    if any { sync_folder(folder) } else { Ok(()) }
}

/// Refuses when fewer than `needed` bytes are free for us. To stop before the disk is full is far gentler
/// to the database than to run into it.
pub(super) fn check_space(folder: &Path, needed: u64) -> Result<(), BackendError> {
    let found = nix::sys::statvfs::statvfs(folder)
        .map_err(|errno| failed("looking at the free space of", folder)(errno.into()))?;
    let free = found.blocks_available() as u64 * found.fragment_size() as u64;
    if free < needed {
        return Err(BackendError::Full {
            path: folder.to_owned(),
            free,
            needed,
        });
    }
    Ok(())
}

/// Whether nobody holds the lock of a file.
pub(super) fn is_unlocked(path: &Path) -> bool {
    match File::open(path) {
        Ok(file) => file.try_lock().is_ok(),
        // Nothing there: nothing locked.
        Err(_) => true,
    }
}

/// Wraps an I/O error.
pub(super) fn failed(
    doing: &'static str,
    path: &Path,
) -> impl FnOnce(std::io::Error) -> BackendError + use<> {
    let path = path.to_owned();
    move |source| BackendError::Io { doing, path, source }
}
