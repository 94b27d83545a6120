//! The changes that are remembered, bounded by number, bytes and age.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::record::{Event, Revision};

/// How much is remembered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Number of events.
    pub events: usize,
    /// Bytes kept alive by them alone.
    pub bytes: usize,
    /// Age of an event.
    pub age: Duration,
}

/// Few huge values must not make every watcher lag: this many events stay, whatever their size.
const ALWAYS_KEPT: usize = 16;

/// Events in the order of their revisions; all with a revision above `floor` are there.
pub(crate) struct History {
    bounds: Bounds,
    events: VecDeque<(Instant, Arc<Event>)>,
    bytes: usize,
    floor: Revision,
}

impl History {
    pub(crate) fn new(bounds: Bounds, floor: Revision) -> Self {
        Self {
            bounds,
            events: VecDeque::new(),
            bytes: 0,
            floor,
        }
    }

    /// The oldest revision from which one can go on.
    pub(crate) fn floor(&self) -> Revision {
        self.floor
    }

    pub(crate) fn push(&mut self, event: Arc<Event>, now: Instant) {
        self.bytes += event.retained_bytes();
        self.events.push_back((now, event));
    }

    /// Forgets the oldest event if the bounds ask for it.
    pub(crate) fn shed(&mut self, now: Instant) -> Option<Arc<Event>> {
        let (at, _) = self.events.front()?;
        let expired = now.duration_since(*at) >= self.bounds.age;
        let crowded = self.events.len() > self.bounds.events || self.bytes > self.bounds.bytes;
        if !(expired || crowded && self.events.len() > ALWAYS_KEPT) {
            return None;
        }
        let (_, event) = self.events.pop_front()?;
        self.bytes -= event.retained_bytes();
        self.floor = event.revision;
        if self.events.capacity() > 1024 && self.events.len() < self.events.capacity() / 4 {
            self.events.shrink_to(self.events.len() * 2);
        }
        Some(event)
    }

    /// When the oldest event is to be forgotten; None when there is none.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.events.front().map(|(at, _)| *at + self.bounds.age)
    }

    /// The events with `after < revision <= until`, oldest first.
    pub(crate) fn between(&self, after: Revision, until: Revision) -> impl Iterator<Item = &Arc<Event>> {
        let from = self.events.partition_point(|(_, event)| event.revision <= after);
        self.events
            .range(from..)
            .map(|(_, event)| event)
            .take_while(move |event| event.revision <= until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{EventKind, Record};
    use bytes::Bytes;

    fn event(revision: Revision, bytes: usize) -> Arc<Event> {
        let record = |revision| Arc::new(Record::new("/k".into(), Bytes::from(vec![0; bytes]), 1, revision));
        let previous = Some(record(revision - 1));
        Arc::new(Event {
            revision,
            kind: EventKind::Put,
            record: record(revision),
            previous,
        })
    }

    fn filled(bounds: Bounds, count: u64, bytes: usize) -> (History, Instant) {
        let now = Instant::now();
        let mut history = History::new(bounds, 0);
        for revision in 1..=count {
            history.push(event(revision, bytes), now);
            while history.shed(now).is_some() {}
        }
        (history, now)
    }

    const WIDE: Bounds = Bounds {
        events: 1000,
        bytes: 1 << 30,
        age: Duration::from_secs(300),
    };

    #[test]
    fn events_beyond_the_number_are_forgotten() {
        let (history, _) = filled(Bounds { events: 100, ..WIDE }, 150, 10);
        assert_eq!(history.floor(), 50);
        assert_eq!(
            history
                .between(148, 149)
                .map(|event| event.revision)
                .collect::<Vec<_>>(),
            [149]
        );
    }

    #[test]
    fn events_beyond_the_bytes_are_forgotten_but_for_a_few() {
        let (history, _) = filled(
            Bounds {
                bytes: 1 << 20,
                ..WIDE
            },
            100,
            1 << 20,
        );
        assert_eq!(history.floor(), 100 - ALWAYS_KEPT as u64);
    }

    #[test]
    fn old_events_are_forgotten_and_their_bytes_with_them() {
        let (mut history, now) = filled(WIDE, 10, 1000);
        assert_eq!(history.next_expiry(), Some(now + WIDE.age));
        while history.shed(now + WIDE.age).is_some() {}
        assert_eq!(
            (history.floor(), history.bytes, history.next_expiry()),
            (10, 0, None)
        );
    }
}
