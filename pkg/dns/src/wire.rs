//! The little that must be known of a message we only pass on: its question, and where its lifetimes
//! are. Pure; every look is checked, whatever the bytes are.

use std::ops::Range;

/// Bytes of a message's header.
pub(crate) const HEADER: usize = 12;
const OPT: u16 = 41;
const SOA: u16 = 6;
const NO_ERROR: u8 = 0;
const NO_SUCH_NAME: u8 = 3;

/// A record's place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub kind: u16,
    pub ttl_at: usize,
    pub data: Range<usize>,
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Where the name that starts at `at` ends.
fn after_name(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *bytes.get(at)? {
            0 => return Some(at + 1),
            length if length & 0xc0 == 0xc0 => return Some(at + 2),
            length => at += 1 + usize::from(length & 0x3f),
        }
    }
}

/// The bytes of the only question: name, type, class.
pub(crate) fn question(bytes: &[u8]) -> Option<Range<usize>> {
    if half(bytes, 4)? != 1 {
        return None;
    }
    let end = after_name(bytes, HEADER)? + 4;
    (end <= bytes.len()).then_some(HEADER..end)
}

/// Do two messages ask the same? Names have no case.
pub(crate) fn same_question(a: &[u8], b: &[u8]) -> bool {
    let (Some(of_a), Some(of_b)) = (question(a), question(b)) else {
        return false;
    };
    a[of_a].eq_ignore_ascii_case(&b[of_b])
}

/// The places of all records; `None` if the message is torn.
pub(crate) fn records(bytes: &[u8]) -> Option<Vec<Place>> {
    let count: usize = [6, 8, 10]
        .iter()
        .map(|at| half(bytes, *at).map(usize::from))
        .sum::<Option<_>>()?;
    let mut at = question(bytes)?.end;
    let mut places = Vec::new();
    for _ in 0..count {
        let name_end = after_name(bytes, at)?;
        let start = name_end + 10;
        let end = start + usize::from(half(bytes, name_end + 8)?);
        if end > bytes.len() {
            return None;
        }
        places.push(Place {
            kind: half(bytes, name_end)?,
            ttl_at: name_end + 4,
            data: start..end,
        });
        at = end;
    }
    Some(places)
}

pub(crate) fn is_truncated(bytes: &[u8]) -> bool {
    bytes.get(2).is_some_and(|flags| flags & 2 != 0)
}

pub(crate) fn is_response(bytes: &[u8]) -> bool {
    bytes.get(2).is_some_and(|flags| flags & 0x80 != 0)
}

pub(crate) fn response_code(bytes: &[u8]) -> u8 {
    bytes.get(3).map_or(2, |flags| flags & 0x0f)
}

/// For how many seconds the message may be remembered: the shortest lifetime of its records; of a
/// negative answer what its SOA says; nothing for failures.
pub(crate) fn lifetime(bytes: &[u8]) -> Option<u32> {
    if is_truncated(bytes) || !matches!(response_code(bytes), NO_ERROR | NO_SUCH_NAME) {
        return None;
    }
    let places = records(bytes)?;
    let of = |place: &Place| {
        let ttl = word(bytes, place.ttl_at)?;
        match place.kind {
            SOA => Some(ttl.min(word(bytes, place.data.end.checked_sub(4)?)?)),
            _ => Some(ttl),
        }
    };
    places
        .iter()
        .filter(|place| place.kind != OPT)
        .filter_map(of)
        .min()
}

/// Takes `seconds` off all lifetimes.
pub(crate) fn age(bytes: &mut [u8], seconds: u32) {
    for place in records(bytes).unwrap_or_default() {
        if place.kind != OPT
            && let Some(ttl) = word(bytes, place.ttl_at)
        {
            bytes[place.ttl_at..place.ttl_at + 4].copy_from_slice(&ttl.saturating_sub(seconds).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{Message, MessageType, OpCode, Query};
    use hickory_proto::rr::{Name, RData, Record, RecordType};
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn message(ttls: &[u32]) -> Vec<u8> {
        let name = Name::from_ascii("example.org.").unwrap();
        let mut message = Message::new(7, MessageType::Response, OpCode::Query);
        message.add_query(Query::query(name.clone(), RecordType::A));
        for ttl in ttls {
            message.add_answer(Record::from_rdata(
                name.clone(),
                *ttl,
                RData::from(std::net::IpAddr::from([1, 2, 3, 4])),
            ));
        }
        message.to_vec().unwrap()
    }

    #[test]
    fn lifetimes_are_found_and_shortened() {
        let mut bytes = message(&[300, 60]);
        assert_eq!(lifetime(&bytes), Some(60));
        age(&mut bytes, 100);
        let ttls: Vec<_> = Message::from_vec(&bytes)
            .unwrap()
            .answers
            .iter()
            .map(|record| record.ttl)
            .collect();
        assert_eq!(ttls, [200, 0]);
        assert_eq!(lifetime(&message(&[])), None);
    }

    #[test]
    fn questions_are_the_same_in_any_case() {
        let mut other = message(&[1]);
        other[HEADER + 1] = b'E';
        assert!(same_question(&message(&[]), &other));
        other[HEADER + 1] = b'x';
        assert!(!same_question(&message(&[]), &other));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), torn in 0usize..80) {
            age(&mut bytes, 5);
            lifetime(&bytes);
            let mut good = message(&[5, 6]);
            good.truncate(torn);
            age(&mut good, 5);
            question(&good);
        }
    }
}
