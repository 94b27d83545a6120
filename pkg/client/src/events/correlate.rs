//! What becomes of an occurrence, as client-go decides it (`tools/record`). Pure.
//!
//! The same event again raises a count. From the tenth different message on, with less than ten minutes
//! between them, those of one object and reason share one event, "(combined from similar events)". An
//! object that is the subject of too many is cut off: 25 at once, then one in five minutes.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

use super::Occurrence;

/// So many different messages are too many for events of their own.
const SIMILAR_LIMIT: usize = 10;
const SIMILAR_WINDOW: Duration = Duration::from_secs(600);
/// Events of one object at once, and how long until one more is let through.
const BURST: f64 = 25.0;
const REFILL: Duration = Duration::from_secs(300);
/// How much is remembered for correlation (client-go's `maxLruCacheEntries`).
const REMEMBERED: usize = 4096;

/// The Event that tells an occurrence.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// How often that happened; 1: it is new.
    pub count: i32,
    /// When that happened first.
    pub first: Timestamp,
    /// What it says now.
    pub message: String,
}

/// Kind, namespace, name, uid and type: whose events are limited together.
type Subject = [String; 5];
/// With the reason: whose events are combined.
type Similar = (Subject, String);
/// With the field and the message: what is counted. None of these: what is combined.
type Same = (Similar, Option<(String, String)>);

#[derive(Default)]
struct Messages {
    known: Vec<String>,
    last: Timestamp,
}

/// What one component has told lately.
#[derive(Default)]
pub struct Correlator {
    similar: HashMap<Similar, Messages>,
    entries: HashMap<Same, Entry>,
    buckets: HashMap<Subject, (f64, Timestamp)>,
}

impl Correlator {
    /// Enters an occurrence; `None` when its object is cut off.
    pub fn enter(&mut self, occurrence: &Occurrence) -> Option<Entry> {
        self.shed();
        let subject = subject(occurrence);
        let similar = (subject.clone(), occurrence.reason.clone());
        let combined = self.is_one_of_many(&similar, occurrence);
        let (same, message) = if combined {
            let message = format!("(combined from similar events): {}", occurrence.message);
            ((similar, None), message)
        } else {
            let field = occurrence.object.field_path.clone().unwrap_or_default();
            let same = (similar, Some((field, occurrence.message.clone())));
            (same, occurrence.message.clone())
        };
        let entry = self.entries.entry(same).or_insert_with(|| Entry {
            name: name(occurrence),
            count: 0,
            first: occurrence.at,
            message: String::new(),
        });
        entry.count += 1;
        entry.message = message;
        let entry = entry.clone();
        self.admit(subject, occurrence.at).then_some(entry)
    }

    fn is_one_of_many(&mut self, similar: &Similar, occurrence: &Occurrence) -> bool {
        let messages = self.similar.entry(similar.clone()).or_default();
        if occurrence.at.duration_since(messages.last).unsigned_abs() > SIMILAR_WINDOW {
            messages.known.clear();
        }
        messages.last = occurrence.at;
        if !messages.known.contains(&occurrence.message) {
            messages.known.push(occurrence.message.clone());
        }
        if messages.known.len() < SIMILAR_LIMIT {
            return false;
        }
        messages.known.remove(0);
        true
    }

    fn admit(&mut self, subject: Subject, at: Timestamp) -> bool {
        let (tokens, filled) = self.buckets.entry(subject).or_insert((BURST, at));
        let elapsed = at.duration_since(*filled).as_secs_f64().max(0.0);
        *tokens = (*tokens + elapsed / REFILL.as_secs_f64()).min(BURST);
        *filled = at;
        if *tokens < 1.0 {
            return false;
        }
        *tokens -= 1.0;
        true
    }

    /// Correlation is a convenience: its memory is bounded by starting over.
    fn shed(&mut self) {
        if self.buckets.len() > REMEMBERED || self.entries.len() > REMEMBERED {
            *self = Correlator::default();
        }
    }
}

fn subject(occurrence: &Occurrence) -> Subject {
    let object = &occurrence.object;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    [
        text(&object.kind),
        text(&object.namespace),
        text(&object.name),
        text(&object.uid),
        occurrence.kind.as_str().to_owned(),
    ]
}

fn name(occurrence: &Occurrence) -> String {
    let subject = occurrence.object.name.as_deref().unwrap_or_default();
    format!("{subject}.{:x}", occurrence.at.as_nanosecond())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ObjectReference;

    use super::super::EventType;
    use super::*;

    fn occurrence(message: &str, second: i64) -> Occurrence {
        Occurrence {
            object: ObjectReference {
                name: Some("web".into()),
                ..ObjectReference::default()
            },
            kind: EventType::Warning,
            reason: "BackOff".into(),
            message: message.into(),
            at: Timestamp::from_second(1_000_000 + second).unwrap(),
        }
    }

    #[test]
    fn the_same_event_again_is_counted() {
        let mut correlator = Correlator::default();
        let first = correlator.enter(&occurrence("a", 0)).unwrap();
        assert_eq!((first.count, first.message.as_str()), (1, "a"));
        let second = correlator.enter(&occurrence("a", 1)).unwrap();
        assert_eq!(second, Entry { count: 2, ..first });
    }

    #[test]
    fn many_similar_events_become_one() {
        let mut correlator = Correlator::default();
        for index in 0..9 {
            let alone = correlator
                .enter(&occurrence(&format!("m{index}"), index))
                .unwrap();
            assert_eq!((alone.count, alone.message), (1, format!("m{index}")));
        }
        let tenth = correlator.enter(&occurrence("m9", 9)).unwrap();
        assert_eq!(
            (tenth.count, tenth.message.as_str()),
            (1, "(combined from similar events): m9")
        );
        let next = correlator.enter(&occurrence("m10", 10)).unwrap();
        assert_eq!(
            (&next.name, next.count, next.first),
            (&tenth.name, 2, tenth.first)
        );
        assert_eq!(next.message, "(combined from similar events): m10");
    }

    #[test]
    fn a_pause_begins_anew() {
        let mut correlator = Correlator::default();
        for index in 0..12 {
            correlator.enter(&occurrence(&format!("m{index}"), index));
        }
        let later = correlator.enter(&occurrence("later", 700)).unwrap();
        assert_eq!(later.message, "later");
    }

    #[test]
    fn a_noisy_object_is_cut_off_and_let_through_again() {
        let mut correlator = Correlator::default();
        for _ in 0..25 {
            assert!(correlator.enter(&occurrence("a", 0)).is_some());
        }
        assert!(correlator.enter(&occurrence("a", 0)).is_none());
        // What it does well is another matter.
        let well = Occurrence {
            kind: EventType::Normal,
            ..occurrence("b", 0)
        };
        assert!(correlator.enter(&well).is_some());
        // What was not told is counted all the same.
        assert_eq!(correlator.enter(&occurrence("a", 301)).unwrap().count, 27);
    }
}
