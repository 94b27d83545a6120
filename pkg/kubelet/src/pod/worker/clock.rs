//! A worker's clock: the machine's, which may jump.
//!
//! Times that are reported are the machine's. What a worker waits for was noted in that time too, so
//! when the clock is set, its deadlines move along: a retry in ten seconds comes in ten seconds,
//! whatever day it is then.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

use super::Worker;

/// Less is drift, or the time between two looks at two clocks.
const SMALLEST_JUMP: SignedDuration = SignedDuration::from_secs(2);

/// Two clocks at one moment.
pub(super) struct Clock {
    machine: Timestamp,
    steady: Instant,
}

impl Clock {
    pub(super) fn new(machine: Timestamp) -> Self {
        Self {
            machine,
            steady: Instant::now(),
        }
    }

    /// How far the machine's clock was set since the last look.
    fn jump(&mut self, machine: Timestamp, steady: Instant) -> Option<SignedDuration> {
        let passed = steady.saturating_duration_since(self.steady);
        let passed = SignedDuration::try_from(passed).unwrap_or_default();
        let jump = machine.duration_since(self.machine) - passed;
        *self = Self { machine, steady };
        (jump.abs() >= SMALLEST_JUMP).then_some(jump)
    }
}

impl Worker {
    /// What time it is. Everything that is noted of times has followed the clock until here.
    pub(super) fn now(&mut self) -> Timestamp {
        let now = Timestamp::now();
        if let Some(jump) = self.clock.jump(now, Instant::now()) {
            tracing::info!(pod = %self.pod.full_name(), ?jump, "the clock was set");
            self.move_deadlines(jump, now);
        }
        now
    }

    fn move_deadlines(&mut self, jump: SignedDuration, now: Timestamp) {
        let moved = |at: &mut Timestamp| *at = at.checked_add(jump).unwrap_or(now);
        self.set_up_retry.iter_mut().for_each(moved);
        self.delete_retry.iter_mut().for_each(moved);
        self.pull_errors.values_mut().for_each(moved);
        self.retries.values_mut().for_each(|retry| moved(&mut retry.at));
        self.report.deadlines().for_each(moved);
        self.stop.iter_mut().for_each(|stop| moved(&mut stop.since));
        // Tokens are good until a time of day: their volumes are looked at anew.
        if self.refresh_at.is_some() {
            self.refresh_at = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_that_is_set_is_noticed_and_time_that_passes_is_not() {
        let begun = Timestamp::from_second(1_000_000).unwrap();
        let mut clock = Clock::new(begun);
        let steady = clock.steady;
        let mut look = |machine: i64, passed: u64| {
            let machine = begun.checked_add(SignedDuration::from_secs(machine)).unwrap();
            clock.jump(machine, steady + Duration::from_secs(passed))
        };
        assert_eq!(look(60, 60), None);
        assert_eq!(look(3661, 61), Some(SignedDuration::from_secs(3600)));
        assert_eq!(look(3670, 70), None);
        assert_eq!(look(-80_000, 71), Some(SignedDuration::from_secs(-83_671)));
        assert_eq!(look(-79_999, 73), None);
    }
}
