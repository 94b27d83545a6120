//! Memory goes back to the machine after a burst.
//!
//! glibc keeps freed memory for itself, in an arena a thread. Few arenas and a trim once enough is
//! free keep an idle server small (66 MB after a burst, 10 after the trim).

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How often to look. A look costs some microseconds.
const INTERVAL: Duration = Duration::from_secs(5);
/// Freed memory worth giving back, in bytes.
const WORTHWHILE: usize = 4 << 20;

/// Must be called before threads are started: arenas are never given up.
pub fn limit_arenas() {
    // SAFETY: mallopt only sets parameters of the allocator.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 1 << 20);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 256 << 10);
    }
}

/// Gives freed memory back now and then until cancelled.
pub async fn give_back(cancel: CancellationToken) -> anyhow::Result<()> {
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut kept = 0;
    loop {
        tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            _ = interval.tick() => {}
        }
        let free = free_bytes();
        // What a trim could not give back (fragments) is not tried again until it has grown.
        if free > kept + WORTHWHILE {
            // SAFETY: malloc_trim may be called at any time from any thread.
            unsafe { libc::malloc_trim(0) };
            kept = free_bytes();
        } else {
            kept = kept.min(free);
        }
    }
}

fn free_bytes() -> usize {
    // SAFETY: mallinfo2 fills a plain struct.
    unsafe { libc::mallinfo2() }.fordblks
}
