//! Back-off per container and image: doubling delays that are forgotten after a quiet time.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

/// Delays that double with each failure. Pure: the caller says what time it is.
#[derive(Debug, Clone)]
pub struct BackOff {
    initial: Duration,
    max: Duration,
    entries: HashMap<String, Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    delay: Duration,
    updated: Timestamp,
}

impl BackOff {
    /// The kubelet's: 10 s doubling to 5 min, forgotten after 10 min.
    pub fn kubelet() -> Self {
        BackOff::new(Duration::from_secs(10), Duration::from_secs(300))
    }

    /// Delays from `initial` doubling to `max`; forgotten after twice `max`.
    pub fn new(initial: Duration, max: Duration) -> Self {
        BackOff {
            initial,
            max,
            entries: HashMap::new(),
        }
    }

    /// Whether something has failed there before.
    pub fn knows(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Until when nothing may be tried, when something failed at `event` before. After an event that
    /// is yet to come the clock was set back: nobody knows how long ago it was, and nothing waits.
    pub fn blocked_until(&self, key: &str, event: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let entry = self.entries.get(key)?;
        if self.expired(entry, event) || now < event {
            return None;
        }
        let until = event.checked_add(entry.delay).ok()?;
        (now < until).then_some(until)
    }

    /// A new try is made after what happened at `event`: the next delay is twice as long.
    pub fn next(&mut self, key: &str, event: Timestamp, now: Timestamp) -> Duration {
        let delay = match self.entries.get(key) {
            Some(entry) if !self.expired(entry, event) => (entry.delay * 2).min(self.max),
            _ => self.initial,
        };
        self.entries.insert(key.to_owned(), Entry { delay, updated: now });
        delay
    }

    /// The present delay.
    pub fn delay(&self, key: &str) -> Duration {
        self.entries.get(key).map_or(Duration::ZERO, |e| e.delay)
    }

    /// Forgets one key, after success.
    pub fn forget(&mut self, key: &str) {
        self.entries.remove(key);
    }

    fn expired(&self, entry: &Entry, event: Timestamp) -> bool {
        event.duration_since(entry.updated) > jiff::SignedDuration::try_from(self.max * 2).unwrap_or_default()
    }
}

/// A duration as Go prints it: `10s`, `1m20s`, `5m0s`, `1.5s`, `250ms`.
pub fn go_duration(d: Duration) -> String {
    if d.is_zero() {
        return "0s".into();
    }
    if d < Duration::from_secs(1) {
        return format!("{}ms", trim(d.as_micros() as f64 / 1000.0));
    }
    let (minutes, millis) = (d.as_secs() / 60, (d.as_millis() % 60_000) as f64);
    let seconds = trim(millis / 1000.0);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, m) => format!("{m}m{seconds}s"),
        (h, m) => format!("{h}h{m}m{seconds}s"),
    }
}

fn trim(number: f64) -> String {
    let text = format!("{number:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    #[test]
    fn the_first_restart_is_immediate_and_the_next_ones_wait_longer() {
        let mut b = BackOff::kubelet();
        assert_eq!(b.blocked_until("a", at(0), at(0)), None);
        assert_eq!(b.next("a", at(0), at(0)), Duration::from_secs(10));
        assert_eq!(b.blocked_until("a", at(1), at(1)), Some(at(11)));
        assert_eq!(b.blocked_until("a", at(1), at(11)), None);
        assert_eq!(b.next("a", at(11), at(11)), Duration::from_secs(20));
    }

    #[test]
    fn delays_stop_growing_at_five_minutes() {
        let mut b = BackOff::kubelet();
        for i in 0..10 {
            b.next("a", at(i), at(i));
        }
        assert_eq!(b.delay("a"), Duration::from_secs(300));
    }

    #[test]
    fn ten_quiet_minutes_start_it_over() {
        let mut b = BackOff::kubelet();
        b.next("a", at(0), at(0));
        b.next("a", at(20), at(20));
        assert_eq!(b.blocked_until("a", at(700), at(700)), None);
        assert_eq!(b.next("a", at(700), at(700)), Duration::from_secs(10));
    }

    #[test]
    fn durations_print_as_go_prints_them() {
        assert_eq!(go_duration(Duration::from_secs(10)), "10s");
        assert_eq!(go_duration(Duration::from_secs(80)), "1m20s");
        assert_eq!(go_duration(Duration::from_secs(300)), "5m0s");
        assert_eq!(go_duration(Duration::from_millis(1234)), "1.234s");
        assert_eq!(go_duration(Duration::from_millis(250)), "250ms");
    }

    #[test]
    fn a_clock_that_is_set_back_holds_nothing_up() {
        let mut backoff = BackOff::kubelet();
        backoff.next("k", at(100_000), at(100_000));
        assert_eq!(
            backoff.blocked_until("k", at(100_020), at(100_021)),
            Some(at(100_030))
        );
        assert_eq!(backoff.blocked_until("k", at(100_020), at(5_000)), None);
        // What fails from then on waits as before.
        assert_eq!(backoff.next("k", at(5_000), at(5_001)), Duration::from_secs(20));
        assert_eq!(backoff.blocked_until("k", at(5_002), at(5_003)), Some(at(5_022)));
    }
}
