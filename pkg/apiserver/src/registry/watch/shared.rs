//! Events written once for all who want them in the same form.
//!
//! Plain JSON is copied from the stored bytes, which costs less than looking for a copy. Every other form
//! needs the object as a tree: a hundred `kubectl get --watch` would make a hundred tables of one change.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use kobune_store::Record;

use super::frame::Type;
use crate::http::negotiate::Answer;
use crate::registry::row::Row;
use crate::registry::table::Include;

/// What is kept of one form: so many events,
const EVENTS: usize = 64;
/// so many bytes,
const BYTES: usize = 256 * 1024;
/// and for so long. (An object's age in a table is in seconds.)
const FRESH: Duration = Duration::from_secs(1);

/// The forms that watches have events written in now.
#[derive(Default)]
pub struct Forms(Mutex<Vec<Weak<Form>>>);

/// One resource in one encoding and shape, for as long as somebody watches it so.
pub struct Form {
    row: Arc<Row>,
    answer: Answer,
    include: Include,
    recent: Mutex<Recent>,
}

#[derive(Default)]
struct Recent {
    events: VecDeque<Written>,
    bytes: usize,
}

/// One event as it is sent.
struct Written {
    /// Kept, so that no other record can have its address.
    record: Arc<Record>,
    event: Type,
    bytes: Bytes,
    at: Instant,
}

impl Forms {
    /// The form that is shared by all who watch this resource in this way.
    pub fn of(&self, row: &Arc<Row>, answer: Answer, include: Include) -> Arc<Form> {
        let mut forms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = forms
            .iter()
            .filter_map(Weak::upgrade)
            .find(|form| Arc::ptr_eq(&form.row, row) && form.answer == answer && form.include == include);
        if let Some(known) = known {
            return known;
        }
        let form = Arc::new(Form {
            row: row.clone(),
            answer,
            include,
            recent: Mutex::default(),
        });
        forms.retain(|form| form.strong_count() > 0);
        forms.push(Arc::downgrade(&form));
        form
    }
}

impl Form {
    /// Appends an event: as it was written for another watch, or by `write`, for others to come.
    pub fn put(
        self: &Arc<Self>,
        out: &mut BytesMut,
        event: Type,
        record: &Arc<Record>,
        write: impl FnOnce(&mut BytesMut),
    ) {
        if Arc::strong_count(self) == 1 {
            return write(out);
        }
        let now = Instant::now();
        // Held while it is written: who comes meanwhile wants the same.
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = recent.find(event, record, now) {
            return out.extend_from_slice(bytes);
        }
        let start = out.len();
        write(out);
        recent.add(Written {
            record: record.clone(),
            event,
            bytes: Bytes::copy_from_slice(&out[start..]),
            at: now,
        });
    }
}

impl Recent {
    fn find(&self, event: Type, record: &Arc<Record>, now: Instant) -> Option<&Bytes> {
        let mut fresh = self
            .events
            .iter()
            .rev()
            .take_while(|known| known.at + FRESH > now);
        let found = fresh.find(|known| known.event == event && Arc::ptr_eq(&known.record, record));
        found.map(|known| &known.bytes)
    }

    fn add(&mut self, written: Written) {
        let now = written.at;
        self.bytes += written.bytes.len();
        self.events.push_back(written);
        while let Some(oldest) = self.events.front()
            && (self.events.len() > EVENTS || self.bytes > BYTES || oldest.at + FRESH <= now)
        {
            self.bytes -= oldest.bytes.len();
            self.events.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::row::Rows;

    fn form() -> (Forms, Arc<Form>) {
        let (forms, rows) = (Forms::default(), Rows::builtin());
        let row = rows.find("", "v1", "pods").expect("a kind there is");
        let form = forms.of(&row, Answer::JSON, Include::None);
        (forms, form)
    }

    fn record(value: &str) -> Arc<Record> {
        Arc::new(Record::new("/k".into(), Bytes::from(value.to_owned()), 1, 1))
    }

    fn put(form: &Arc<Form>, event: Type, record: &Arc<Record>, text: &str) -> String {
        let mut out = BytesMut::from("before ");
        form.put(&mut out, event, record, |out| {
            out.extend_from_slice(text.as_bytes())
        });
        String::from_utf8(out.to_vec()).expect("text")
    }

    #[test]
    fn an_event_is_written_once_for_all_who_watch_in_one_form() {
        let (forms, form) = form();
        let other = forms.of(&form.row, Answer::JSON, Include::None);
        let (first, second) = (record("1"), record("2"));
        assert_eq!(put(&form, Type::Added, &first, "a"), "before a");
        assert_eq!(put(&other, Type::Added, &first, "not again"), "before a");
        assert_eq!(put(&other, Type::Modified, &first, "b"), "before b");
        assert_eq!(put(&form, Type::Added, &second, "c"), "before c");
    }

    #[test]
    fn different_forms_share_nothing() {
        let (forms, form) = form();
        let other = forms.of(&form.row, Answer::JSON, Include::Object);
        assert!(!Arc::ptr_eq(&form, &other));
    }

    #[test]
    fn who_watches_alone_leaves_nothing_behind() {
        let (_forms, form) = form();
        put(&form, Type::Added, &record("1"), "a");
        assert_eq!(form.recent.lock().expect("unpoisoned").events.len(), 0);
    }

    #[test]
    fn little_is_kept_and_not_for_long() {
        let (forms, form) = form();
        let _other = forms.of(&form.row, Answer::JSON, Include::None);
        for _ in 0..2 * EVENTS {
            put(&form, Type::Added, &record("1"), "a");
        }
        let mut recent = form.recent.lock().expect("unpoisoned");
        assert_eq!((recent.events.len(), recent.bytes), (EVENTS, EVENTS));
        let last = recent.events[EVENTS - 1].record.clone();
        let later = Instant::now() + FRESH;
        assert!(recent.find(Type::Added, &last, Instant::now()).is_some());
        assert!(recent.find(Type::Added, &last, later).is_none());
        recent.add(Written {
            record: last,
            event: Type::Added,
            bytes: Bytes::from(vec![0; 2 * BYTES]),
            at: later,
        });
        assert_eq!((recent.events.len(), recent.bytes), (0, 0));
    }
}
