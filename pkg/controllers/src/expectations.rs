//! What a controller has done but not yet seen in its cache.
//!
//! A ReplicaSet that has created three pods must not count pods before its cache shows all three, or it
//! would create them again. Creations are expected by name before the request is sent (the controller
//! chooses the name), deletions by uid; the cache's changes lower them before the key is handled.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kobune_client::Key;

/// After this long an expectation is given up: better a look too early than a workload that hangs.
const PATIENCE: Duration = Duration::from_secs(300);

#[derive(Default)]
struct Pending {
    created: HashSet<String>,
    deleted: HashSet<String>,
    since: Option<Instant>,
}

impl Pending {
    fn is_over(&self) -> bool {
        self.created.is_empty() && self.deleted.is_empty()
    }
}

/// The open expectations of all keys of one controller.
#[derive(Default)]
pub struct Expectations(Mutex<HashMap<Key, Pending>>);

impl Expectations {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Pending>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expect(&self, owner: &Key, note: impl FnOnce(&mut Pending)) {
        let mut all = self.lock();
        let pending = all.entry(owner.clone()).or_default();
        pending.since = Some(Instant::now());
        note(pending);
    }

    fn lower(&self, owner: &Key, note: impl FnOnce(&mut Pending)) {
        let mut all = self.lock();
        if let Some(pending) = all.get_mut(owner) {
            note(pending);
            if pending.is_over() {
                all.remove(owner);
            }
        }
    }

    /// The pod of this name is about to be created.
    pub fn will_create(&self, owner: &Key, name: &str) {
        self.expect(owner, |pending| {
            pending.created.insert(name.to_owned());
        });
    }

    /// The pod with this uid is about to be deleted.
    pub fn will_delete(&self, owner: &Key, uid: &str) {
        self.expect(owner, |pending| {
            pending.deleted.insert(uid.to_owned());
        });
    }

    /// The pod was seen, or its creation failed.
    pub fn created(&self, owner: &Key, name: &str) {
        self.lower(owner, |pending| {
            pending.created.remove(name);
        });
    }

    /// The pod was seen going, or its deletion failed.
    pub fn deleted(&self, owner: &Key, uid: &str) {
        self.lower(owner, |pending| {
            pending.deleted.remove(uid);
        });
    }

    /// Whether the cache shows all that was done for this key.
    pub fn are_met(&self, owner: &Key) -> bool {
        let all = self.lock();
        let Some(pending) = all.get(owner) else {
            return true;
        };
        pending.since.is_none_or(|since| since.elapsed() > PATIENCE)
    }

    /// The owner is gone.
    pub fn forget(&self, owner: &Key) {
        self.lock().remove(owner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_waits_until_everything_was_seen() {
        let (all, key) = (Expectations::default(), Key::new("a", "web"));
        assert!(all.are_met(&key));
        all.will_create(&key, "web-1");
        all.will_create(&key, "web-2");
        all.will_delete(&key, "uid");
        all.created(&key, "web-1");
        all.created(&key, "web-2");
        assert!(!all.are_met(&key));
        all.deleted(&key, "uid");
        assert!(all.are_met(&key));
    }

    #[test]
    fn one_key_does_not_wait_for_another() {
        let all = Expectations::default();
        all.will_create(&Key::new("a", "web"), "web-1");
        assert!(all.are_met(&Key::new("a", "db")));
    }
}
