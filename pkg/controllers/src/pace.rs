//! Coalesces status writes: a rollout of a hundred pods need not write a hundred intermediate counts.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kobune_client::Key;

/// The shortest time between two intermediate statuses of one object.
const WINDOW: Duration = Duration::from_millis(60);

/// When each object's status was last written.
#[derive(Default)]
pub struct Pace(Mutex<HashMap<Key, Instant>>);

impl Pace {
    /// How long to wait before an intermediate status may be written; `None`: write now. A status that
    /// somebody waits for (`is_final`) never waits.
    pub fn wait(&self, key: &Key, is_final: bool) -> Option<Duration> {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some(last) = written.get(key).filter(|_| !is_final) {
            let rest = WINDOW.saturating_sub(now.duration_since(*last));
            if !rest.is_zero() {
                return Some(rest);
            }
        }
        written.insert(key.clone(), now);
        None
    }

    /// The object is gone.
    pub fn forget(&self, key: &Key) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}
