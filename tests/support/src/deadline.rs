//! Waiting for what becomes true, with a deadline.

use std::time::{Duration, Instant};

/// Looks again and again until `look` answers something; panics with what was awaited, and what
/// `look` said last, after `seconds`.
#[track_caller]
pub fn eventually<T>(what: &str, seconds: u64, mut look: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        match look() {
            Ok(found) => return found,
            Err(last) if Instant::now() > deadline => panic!("not within {seconds} s: {what}; last: {last}"),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}
