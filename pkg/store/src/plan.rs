//! What a commit does to the records: conditions, revisions, events. Pure.

use std::sync::Arc;

use bytes::Bytes;

use crate::backend::Change;
use crate::error::CommitError;
use crate::op::{Op, Value};
use crate::record::{Event, EventKind, Record, Revision};
use crate::snapshot::Records;

/// The effect of one commit.
#[derive(Debug, Default)]
pub(crate) struct Effect {
    /// Per operation, what its caller gets.
    pub records: Vec<Option<Arc<Record>>>,
    /// What watchers get; empty when nothing changed (then no revision is used up).
    pub events: Vec<Arc<Event>>,
    /// What a durable commit writes.
    pub changes: Vec<Change>,
}

/// Does `ops` to `records` as commit `revision`, or, if any condition fails, nothing at all.
///
/// Conditions of later operations see the effect of earlier ones.
pub(crate) fn apply(records: &mut Records, ops: &[Op], revision: Revision) -> Result<Effect, CommitError> {
    check(records, ops, revision)?;
    let mut effect = Effect {
        records: Vec::with_capacity(ops.len()),
        ..Effect::default()
    };
    for op in ops {
        match op {
            Op::Put { key, value, .. } => put(records, key, value, revision, &mut effect),
            Op::Delete { key, last, .. } => delete(records, key, last.as_ref(), revision, &mut effect),
        }
    }
    Ok(effect)
}

fn check(records: &Records, ops: &[Op], revision: Revision) -> Result<(), CommitError> {
    for (index, op) in ops.iter().enumerate() {
        let earlier = ops[..index]
            .iter()
            .rev()
            .find(|earlier| earlier.key() == op.key());
        let current = match earlier {
            None => records.get(&**op.key()).cloned(),
            Some(Op::Delete { .. }) => None,
            Some(Op::Put { key, .. }) => Some(Arc::new(Record::new(
                key.clone(),
                Bytes::new(),
                revision,
                revision,
            ))),
        };
        if !op.expect().holds(current.as_deref()) {
            return Err(CommitError::Conflict {
                key: op.key().clone(),
                current,
            });
        }
    }
    Ok(())
}

fn put(records: &mut Records, key: &Arc<str>, value: &Value, revision: Revision, effect: &mut Effect) {
    let previous = records.get(&**key).cloned();
    // One copy of the key serves the map, the record and all its successors. Not the caller's: that lies
    // among the short-lived pieces of its request and would keep their memory from being given back.
    let key = previous
        .as_ref()
        .map_or_else(|| Arc::from(&**key), |record| record.key.clone());
    let create_revision = previous
        .as_ref()
        .map_or(revision, |record| record.create_revision);
    let record = Arc::new(Record::new(
        key.clone(),
        spliced(value, revision),
        create_revision,
        revision,
    ));
    records.insert(key, record.clone());
    effect.changes.push(Change::Put(record.clone()));
    effect.events.push(Arc::new(Event {
        revision,
        kind: EventKind::Put,
        record: record.clone(),
        previous,
    }));
    effect.records.push(Some(record));
}

fn delete(records: &mut Records, key: &str, last: Option<&Value>, revision: Revision, effect: &mut Effect) {
    effect.records.push(None);
    let Some(previous) = records.remove(key) else {
        return;
    };
    let value = last.map_or_else(|| previous.value.clone(), |last| spliced(last, revision));
    let record = Record::new(previous.key.clone(), value, previous.create_revision, revision);
    effect.changes.push(Change::Delete(previous.key.clone()));
    effect.events.push(Arc::new(Event {
        revision,
        kind: EventKind::Delete,
        record: Arc::new(record),
        previous: Some(previous),
    }));
}

/// The value's bytes with the revision's digits at their slot, without spare capacity.
fn spliced(value: &Value, revision: Revision) -> Bytes {
    let Some(slot) = value.revision_slot else {
        return Bytes::copy_from_slice(&value.bytes);
    };
    let (before, after) = value.bytes.split_at(slot.min(value.bytes.len()));
    let mut digits = [0; 20];
    let digits = decimal(revision, &mut digits);
    let mut bytes = Vec::with_capacity(value.bytes.len() + digits.len());
    bytes.extend_from_slice(before);
    bytes.extend_from_slice(digits);
    bytes.extend_from_slice(after);
    bytes.into()
}

fn decimal(mut number: u64, buffer: &mut [u8; 20]) -> &[u8] {
    let mut start = buffer.len();
    loop {
        start -= 1;
        buffer[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &buffer[start..];
        }
    }
}

/// The records as they were before `events`, which are given oldest first.
pub(crate) fn undo(records: &mut Records, events: &[Arc<Event>]) {
    for event in events.iter().rev() {
        match &event.previous {
            Some(previous) => records.insert(previous.key.clone(), previous.clone()),
            None => records.remove(&*event.record.key),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Expect;
    use proptest::prelude::*;

    fn put_op(key: &str, bytes: &str, slot: Option<usize>, expect: Expect) -> Op {
        let value = Value {
            bytes: bytes.into(),
            revision_slot: slot,
        };
        Op::Put {
            key: key.into(),
            value,
            expect,
        }
    }

    #[test]
    fn the_revision_is_written_at_its_slot() {
        let mut records = Records::new();
        let effect = apply(
            &mut records,
            &[put_op("/a", r#"{"v":""}"#, Some(6), Expect::Absent)],
            1204,
        )
        .unwrap();
        let record = effect.records[0].clone().unwrap();
        assert_eq!(&record.value[..], br#"{"v":"1204"}"#);
        assert_eq!(records.get("/a").unwrap().revision, 1204);
    }

    #[test]
    fn a_slot_past_the_end_appends() {
        let value = Value {
            bytes: b"ab".to_vec(),
            revision_slot: Some(9),
        };
        assert_eq!(&spliced(&value, 0)[..], b"ab0");
        assert_eq!(&spliced(&value, u64::MAX)[..], b"ab18446744073709551615");
    }

    #[test]
    fn one_failed_condition_undoes_the_whole_commit() {
        let mut records = Records::new();
        let ops = [
            put_op("/a", "1", None, Expect::Any),
            put_op("/b", "1", None, Expect::Exists),
        ];
        let error = apply(&mut records, &ops, 1).unwrap_err();
        assert!(matches!(error, CommitError::Conflict { key, current: None } if &*key == "/b"));
        assert!(records.is_empty());
    }

    #[test]
    fn later_operations_see_earlier_ones() {
        let mut records = Records::new();
        let ops = [
            put_op("/a", "1", None, Expect::Absent),
            Op::Delete {
                key: "/a".into(),
                expect: Expect::Exists,
                last: None,
            },
            put_op("/a", "2", None, Expect::Absent),
        ];
        apply(&mut records, &ops, 7).unwrap();
        assert_eq!(&records.get("/a").unwrap().value[..], b"2");
    }

    #[test]
    fn a_replaced_record_keeps_its_create_revision_and_a_recreated_one_does_not() {
        let mut records = Records::new();
        apply(&mut records, &[put_op("/a", "1", None, Expect::Any)], 1).unwrap();
        apply(&mut records, &[put_op("/a", "2", None, Expect::Revision(1))], 2).unwrap();
        assert_eq!(records.get("/a").unwrap().create_revision, 1);
        apply(
            &mut records,
            &[Op::Delete {
                key: "/a".into(),
                expect: Expect::Any,
                last: None,
            }],
            3,
        )
        .unwrap();
        apply(&mut records, &[put_op("/a", "3", None, Expect::Absent)], 4).unwrap();
        assert_eq!(records.get("/a").unwrap().create_revision, 4);
    }

    #[test]
    fn deleting_what_is_absent_tells_nobody() {
        let effect = apply(
            &mut Records::new(),
            &[Op::Delete {
                key: "/a".into(),
                expect: Expect::Any,
                last: None,
            }],
            1,
        )
        .unwrap();
        assert!(effect.events.is_empty() && effect.changes.is_empty());
    }

    proptest! {
        /// Undoing any history gives exactly the records there were.
        #[test]
        fn undo_is_the_inverse_of_apply(steps in prop::collection::vec((0u8..6, any::<bool>()), 0..60), at in 0usize..60) {
            let mut records = Records::new();
            let mut states = vec![records.clone()];
            let mut events = Vec::new();
            for (index, (key, is_put)) in steps.iter().enumerate() {
                let key = format!("/k{key}");
                let op = if *is_put {
                    put_op(&key, "v", Some(1), Expect::Any)
                } else {
                    Op::Delete { key: key.as_str().into(), expect: Expect::Any, last: None }
                };
                events.push(apply(&mut records, &[op], index as u64 + 1).unwrap().events);
                states.push(records.clone());
            }
            let at = at.min(steps.len());
            let later: Vec<_> = events[at..].iter().flatten().cloned().collect();
            undo(&mut records, &later);
            let view = |records: &Records| -> Vec<_> {
                records.values().map(|record| (record.key.clone(), record.revision)).collect()
            };
            prop_assert_eq!(view(&records), view(&states[at]));
        }
    }
}
