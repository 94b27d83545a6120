//! What the suites share.
#![allow(dead_code)] // Each suite uses a part.

use std::time::{Duration, Instant};

use kobune_store::{Expect, Op, Store, Value};

/// A put whose value ends in `@` and its revision.
pub fn put(key: &str, value: &str, expect: Expect) -> Op {
    let bytes = format!("{value}@").into_bytes();
    let revision_slot = Some(bytes.len());
    Op::Put {
        key: key.into(),
        value: Value { bytes, revision_slot },
        expect,
    }
}

/// A delete of whatever is there.
pub fn delete(key: &str) -> Op {
    Op::Delete {
        key: key.into(),
        expect: Expect::Any,
        last: None,
    }
}

/// A value as text.
pub fn text(store: &Store, key: &str) -> String {
    String::from_utf8_lossy(&store.get(key).expect("the key exists").value).into_owned()
}

/// Looks until it is so; fails after a time in which it must have become so.
pub async fn eventually(what: &str, so: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !so() {
        assert!(Instant::now() < until, "{what} did not come about");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Random numbers (SplitMix64) whose seed is printed, and taken from KOBUNE_SEED to repeat a failure.
pub struct Random(u64);

impl Random {
    pub fn new(what: &str) -> Self {
        let clock = std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .expect("the clock is after 1970");
        let given = std::env::var("KOBUNE_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or(clock.as_nanos() as u64);
        println!("{what}: KOBUNE_SEED={seed}");
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}
