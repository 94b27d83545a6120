//! Other people's answers, remembered for a short while.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::wire;

/// Answers kept at most, and bytes of one.
const ENTRIES: usize = 1024;
const BYTES: usize = 4096;
/// However long an answer says it lives, as CoreDNS does in k3s.
const SECONDS_AT_MOST: u32 = 30;

#[derive(Debug)]
struct Entry {
    reply: Box<[u8]>,
    since: Instant,
    until: Instant,
}

/// Replies by what was asked.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    entries: Mutex<HashMap<Box<[u8]>, Entry>>,
}

/// What makes two queries the same: the question in small letters, what the flags ask for, and what
/// comes after the question (EDNS, with DNSSEC or without).
fn key(query: &[u8]) -> Option<Box<[u8]>> {
    let question = wire::question(query)?;
    let mut key = query[question.clone()].to_ascii_lowercase();
    let [first, second] = [query[2] & 0x01, query[3] & 0x30];
    key.extend([first, second]);
    key.extend(&query[question.end..]);
    Some(key.into())
}

impl Cache {
    /// A reply to this query as it is now: its identity and spelling, with shorter lives.
    pub(crate) fn get(&self, query: &[u8], now: Instant) -> Option<Vec<u8>> {
        let key = key(query)?;
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get(&key).filter(|entry| now < entry.until)?;
        let mut reply = entry.reply.to_vec();
        let seconds = now.duration_since(entry.since).as_secs();
        drop(entries);
        wire::age(&mut reply, u32::try_from(seconds).unwrap_or(u32::MAX));
        reply[..2].copy_from_slice(&query[..2]);
        let question = wire::question(query)?;
        reply.get_mut(question.clone())?.copy_from_slice(&query[question]);
        Some(reply)
    }

    /// Remembers a reply, if it may be.
    pub(crate) fn put(&self, query: &[u8], reply: &[u8], now: Instant) {
        let Some(seconds) = wire::lifetime(reply).filter(|seconds| *seconds > 0) else {
            return;
        };
        let Some(key) = key(query).filter(|_| reply.len() <= BYTES) else {
            return;
        };
        let until = now + Duration::from_secs(u64::from(seconds.min(SECONDS_AT_MOST)));
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= ENTRIES {
            entries.retain(|_, entry| now < entry.until);
        }
        if entries.len() >= ENTRIES {
            entries.clear();
        }
        entries.insert(
            key,
            Entry {
                reply: reply.into(),
                since: now,
                until,
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{Message, MessageType, OpCode, Query};
    use hickory_proto::rr::{Name, RData, Record, RecordType};

    use super::*;

    fn message(id: u16, name: &str, ttl: Option<u32>) -> Vec<u8> {
        let name = Name::from_ascii(name).unwrap();
        let kind = if ttl.is_some() {
            MessageType::Response
        } else {
            MessageType::Query
        };
        let mut message = Message::new(id, kind, OpCode::Query);
        message.add_query(Query::query(name.clone(), RecordType::A));
        if let Some(ttl) = ttl {
            message.add_answer(Record::from_rdata(
                name,
                ttl,
                RData::from(std::net::IpAddr::from([1, 2, 3, 4])),
            ));
        }
        message.to_vec().unwrap()
    }

    #[test]
    fn a_remembered_reply_fits_the_new_query() {
        let cache = Cache::default();
        let now = Instant::now();
        cache.put(
            &message(1, "example.org.", None),
            &message(1, "example.org.", Some(300)),
            now,
        );
        let later = now + Duration::from_secs(10);
        let reply = cache.get(&message(2, "eXample.org.", None), later).unwrap();
        let reply = Message::from_vec(&reply).unwrap();
        assert_eq!((reply.metadata.id, reply.answers[0].ttl), (2, 290));
        assert_eq!(reply.queries[0].name().to_ascii(), "eXample.org.");
        assert!(cache.get(&message(2, "example.net.", None), later).is_none());
        assert!(
            cache
                .get(&message(2, "example.org.", None), now + Duration::from_secs(31))
                .is_none()
        );
    }

    #[test]
    fn the_cache_does_not_grow_for_ever() {
        let cache = Cache::default();
        let now = Instant::now();
        for n in 0..3000 {
            let name = format!("n{n}.example.org.");
            cache.put(&message(1, &name, None), &message(1, &name, Some(300)), now);
        }
        assert!(cache.entries.lock().unwrap().len() <= ENTRIES);
        cache.put(&message(1, "short.", None), &message(1, "short.", Some(0)), now);
        assert!(cache.get(&message(1, "short.", None), now).is_none());
    }
}
