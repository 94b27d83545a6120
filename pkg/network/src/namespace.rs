//! Doing something inside another network namespace.

use std::fs::File;
use std::io;
use std::path::Path;

use nix::sched::{CloneFlags, setns};

/// Runs `work` on a thread of its own that has entered the network namespace pinned at `path`. The
/// thread ends afterwards, so no thread of ours is ever left in a foreign namespace.
pub(crate) fn within<T: Send>(
    namespace: &File,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("netns".to_owned())
            .stack_size(128 * 1024)
            .spawn_scoped(scope, || {
                setns(namespace, CloneFlags::CLONE_NEWNET)?;
                work()
            })?;
        thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread in the namespace panicked")))
    })
}

/// Opens a pinned network namespace.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}
