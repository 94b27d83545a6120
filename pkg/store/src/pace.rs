//! When those who wait for a topic are told of news.
//!
//! To tell a crowd of every change by itself costs a wake-up, a TLS record and a system call for each
//! change and watcher. So a crowd is told at most so often that telling cannot take all of the machine:
//! what happens in between is gathered and told together. The first change after silence is told at
//! once, and so is every change to a few watchers.

use std::time::{Duration, Instant};

/// So many watchers of a topic, or more, are a crowd.
const CROWD: usize = 16;

/// The distance between two times of telling, for each watcher: about what it costs to tell one.
const EACH: Duration = Duration::from_micros(12);

/// The longest distance, however large the crowd is.
const LONGEST: Duration = Duration::from_millis(3);

/// The rhythm of one topic.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    told: Option<Instant>,
    /// Somebody is going to tell, by [`Tell::At`].
    promised: bool,
}

/// What to do about news.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Tell {
    /// Tell everybody.
    Now,
    /// Tell everybody at this time.
    At(Instant),
    /// They will be told anyway.
    Promised,
}

impl Pace {
    /// There is news for so many.
    pub(crate) fn news(&mut self, watchers: usize, now: Instant) -> Tell {
        if self.promised {
            return Tell::Promised;
        }
        let due = self.told.map(|told| told + distance(watchers));
        match due.filter(|due| *due > now) {
            None => {
                self.told = Some(now);
                Tell::Now
            }
            Some(due) => {
                self.promised = true;
                Tell::At(due)
            }
        }
    }

    /// The promise is kept.
    pub(crate) fn kept(&mut self, now: Instant) {
        self.promised = false;
        self.told = Some(now);
    }
}

fn distance(watchers: usize) -> Duration {
    match u32::try_from(watchers) {
        _ if watchers < CROWD => Duration::ZERO,
        Ok(watchers) => EACH.saturating_mul(watchers).min(LONGEST),
        Err(_) => LONGEST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn a_few_watchers_are_told_of_each_change_at_once() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        for step in 0..5 {
            assert_eq!(pace.news(CROWD - 1, now + Duration::from_micros(step)), Tell::Now);
        }
    }

    #[test]
    fn a_crowd_is_told_at_once_after_silence_and_then_in_lots() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert_eq!(pace.news(500, now), Tell::Now);
        assert_eq!(pace.news(500, now + MILLISECOND), Tell::At(now + LONGEST));
        assert_eq!(pace.news(500, now + 2 * MILLISECOND), Tell::Promised);
        pace.kept(now + LONGEST);
        assert_eq!(pace.news(500, now + 4 * MILLISECOND), Tell::At(now + 2 * LONGEST));
        pace.kept(now + 2 * LONGEST);
        assert_eq!(pace.news(500, now + 4 * LONGEST), Tell::Now);
    }

    #[test]
    fn a_small_crowd_waits_for_less() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        pace.news(20, now);
        assert_eq!(pace.news(20, now), Tell::At(now + 20 * EACH));
    }

    #[test]
    fn a_crowd_that_went_away_leaves_no_delay() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        pace.news(200, now);
        assert_eq!(pace.news(1, now), Tell::Now);
    }
}
