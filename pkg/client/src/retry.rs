//! How long a watch that failed rests before it is begun again.

use std::time::Duration;

use kube::runtime::utils::Backoff;

/// The API is in this process, or one network away: a watch that fell behind goes on soon.
const SHORTEST: Duration = Duration::from_millis(100);
/// And who is told no again and again does not ask all the time.
const LONGEST: Duration = Duration::from_secs(10);

/// Doubling rests, from the shortest to the longest; the first event starts over.
#[derive(Debug)]
pub(crate) struct Retry(Duration);

impl Retry {
    /// The next rest is the shortest.
    pub(crate) fn new() -> Self {
        Retry(SHORTEST)
    }
}

impl Iterator for Retry {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let rest = self.0;
        self.0 = rest.saturating_mul(2).min(LONGEST);
        Some(rest)
    }
}

impl Backoff for Retry {
    fn reset(&mut self) {
        self.0 = SHORTEST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_grow_up_to_a_limit_until_something_comes() {
        let mut retry = Retry::new();
        let first: Vec<_> = retry.by_ref().take(3).map(|rest| rest.as_millis()).collect();
        assert_eq!(first, [100, 200, 400]);
        assert_eq!(retry.by_ref().take(20).last(), Some(LONGEST));
        retry.reset();
        assert_eq!(retry.next(), Some(SHORTEST));
    }
}
