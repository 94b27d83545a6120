//! When those who wait for a topic are told of news.
//!
//! To tell a crowd of every change by itself costs a wake-up, a TLS record and a system call for each
//! change and watcher. So a crowd is told at most so often that telling cannot take all of the machine:
//! what happens in between is gathered and told together. The first change after silence is told at
//! once, and so is every change to a few watchers.
//!
//! While news keep coming the crowd is told in rounds, a portion after the other: were all woken at one
//! time, each would wait for the others, and so would the writer whose next change they are to hear of.
//!
//! ```text
//!  news ── silence before: all at once
//!     └─── else: a round ─ portion ─ portion ─ … ─ portion ─┬─ news meanwhile: the next round
//!                └───────────── distance ─────────────┘     └─ silence
//! ```

use std::ops::Range;
use std::time::{Duration, Instant};

/// So many watchers of a topic, or more, are a crowd.
const CROWD: usize = 16;

/// So many of a crowd are told at a time.
const PORTION: usize = 64;

/// The distance between two times of telling, for each watcher: about what it costs to tell one.
const EACH: Duration = Duration::from_micros(15);

/// The longest distance, however large the crowd is.
const LONGEST: Duration = Duration::from_millis(3);

/// The rhythm of one topic.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// When everybody, or the first portion, was last told.
    told: Option<Instant>,
    /// Somebody is going to tell, by [`Tell::At`].
    round: Option<Round>,
}

#[derive(Debug, Default)]
struct Round {
    /// None: it is promised only.
    began: Option<Instant>,
    /// How many have been told.
    done: usize,
    /// There was news since it began.
    again: bool,
}

/// What to do about news.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Tell {
    /// Tell everybody.
    Now,
    /// Tell the first portion at this time.
    At(Instant),
    /// They will be told anyway.
    Promised,
}

/// A part of a kept promise.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Portion {
    /// Whom to tell now.
    pub(crate) seats: Range<usize>,
    /// When to ask for the next portion.
    pub(crate) next: Option<Instant>,
}

impl Pace {
    /// There is news for so many.
    pub(crate) fn news(&mut self, watchers: usize, now: Instant) -> Tell {
        if let Some(round) = &mut self.round {
            round.again = true;
            return Tell::Promised;
        }
        let due = self.told.map(|told| told + silence(watchers));
        match due.filter(|due| *due > now) {
            None if self.told.is_none_or(|told| told + distance(watchers) <= now) => {
                self.told = Some(now);
                Tell::Now
            }
            due => {
                self.round = Some(Round::default());
                Tell::At(due.unwrap_or(now))
            }
        }
    }

    /// Some of so many are told now, as it was promised.
    pub(crate) fn portion(&mut self, watchers: usize, now: Instant) -> Portion {
        let Some(round) = &mut self.round else {
            return Portion {
                seats: 0..watchers,
                next: None,
            };
        };
        let began = *round.began.get_or_insert_with(|| {
            round.again = false;
            now
        });
        let seats = round.done..(round.done + PORTION).min(watchers).max(round.done);
        round.done = seats.end;
        let distance = distance(watchers);
        let next = if seats.end < watchers {
            let share = seats.end as f64 / watchers as f64;
            Some(began + distance.mul_f64(share))
        } else {
            self.told = Some(began);
            let again = std::mem::take(&mut self.round).is_some_and(|round| round.again);
            again.then(|| {
                self.round = Some(Round::default());
                began + distance
            })
        };
        Portion { seats, next }
    }
}

fn distance(watchers: usize) -> Duration {
    match u32::try_from(watchers) {
        _ if watchers < CROWD => Duration::ZERO,
        Ok(watchers) => EACH.saturating_mul(watchers).min(LONGEST),
        Err(_) => LONGEST,
    }
}

/// How long after all were told a round begins. One of several portions takes its time too.
fn silence(watchers: usize) -> Duration {
    match distance(watchers) {
        distance if watchers > PORTION => distance / 2,
        distance => distance,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);
    const TWO: usize = 2 * PORTION;

    /// Keeps what was promised for `due`: when how many were told, up to the silence.
    fn rounds(pace: &mut Pace, watchers: usize, mut due: Option<Instant>) -> Vec<(Instant, usize)> {
        let mut told = Vec::new();
        while let Some(now) = due {
            let portion = pace.portion(watchers, now);
            told.push((now, portion.seats.len()));
            due = portion.next;
        }
        told
    }

    #[test]
    fn a_few_watchers_are_told_of_each_change_at_once() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        for step in 0..5 {
            assert_eq!(pace.news(CROWD - 1, now + Duration::from_micros(step)), Tell::Now);
        }
    }

    #[test]
    fn a_crowd_is_told_at_once_after_silence_and_then_in_portions() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert_eq!(pace.news(500, now), Tell::Now);
        let due = now + LONGEST / 2;
        assert_eq!(pace.news(500, now + MILLISECOND), Tell::At(due));
        assert_eq!(pace.news(500, now + MILLISECOND), Tell::Promised);
        let told = rounds(&mut pace, 500, Some(due));
        assert_eq!(told[0], (due, PORTION));
        assert_eq!(told.iter().map(|(_, seats)| seats).sum::<usize>(), 500);
        let last = told[told.len() - 1].0;
        assert!(last > due + LONGEST / 2 && last < due + LONGEST, "{told:?}");
        assert_eq!(pace.news(500, last + LONGEST), Tell::Now);
    }

    #[test]
    fn news_during_a_round_make_another_at_the_same_pace() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        pace.news(TWO, now);
        let Tell::At(due) = pace.news(TWO, now) else {
            panic!("no promise")
        };
        let first = pace.portion(TWO, due);
        assert_eq!(first.seats, 0..PORTION);
        assert_eq!(pace.news(TWO, due), Tell::Promised);
        let told = rounds(&mut pace, TWO, first.next);
        let each = EACH * TWO as u32;
        let times: Vec<_> = told.iter().map(|(at, _)| *at - due).collect();
        assert_eq!(times, [each / 2, each, each * 3 / 2]);
    }

    #[test]
    fn a_change_right_after_a_round_begins_the_next_when_its_time_has_come() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        pace.news(TWO, now);
        let Tell::At(due) = pace.news(TWO, now) else {
            panic!("no promise")
        };
        let told = rounds(&mut pace, TWO, Some(due));
        let last = told[1].0;
        assert_eq!(pace.news(TWO, last), Tell::At(last));
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
        pace.news(200, now);
        pace.news(200, now);
        let told = rounds(&mut pace, 3, Some(now + LONGEST));
        assert_eq!(told, [(now + LONGEST, 3)]);
    }
}
