//! How a batch lies in the journal. Pure.
//!
//! | field | bytes |
//! |---|---|
//! | length of what follows the checksum | u32 |
//! | CRC-32 of what follows | u32 |
//! | generation | u64 |
//! | reserved revision; 0: none | u64 |
//! | per change: length of the key, length of the value (`u32::MAX`: a delete), create revision, revision, key, value | u32, u32, u64, u64, … |
//!
//! Little endian. A frame is whole, with its checksum right, or it is not there: so is the batch.

use std::sync::Arc;

use bytes::Bytes;

use crate::backend::{Batch, Change};
use crate::record::{Record, Revision};

/// Length and checksum.
pub(super) const START: usize = 4 + 4;
const HEAD: usize = START + 8 + 8;
const CHANGE: usize = 4 + 4 + 8 + 8;
const DELETE: u32 = u32::MAX;

/// One batch as it was written.
#[derive(Debug)]
pub(super) struct Frame {
    /// The generation it belongs to.
    pub generation: u64,
    /// What [`Batch::reserved`] was.
    pub reserved: Option<Revision>,
    /// The changes of all its transactions, in order.
    pub changes: Vec<Change>,
}

/// How many bytes the frame of a batch has.
pub(super) fn length(batch: &Batch) -> usize {
    let of = |change: &Change| match change {
        Change::Put(record) => CHANGE + record.key.len() + record.value.len(),
        Change::Delete(key) => CHANGE + key.len(),
    };
    HEAD + batch.transactions.iter().flatten().map(of).sum::<usize>()
}

/// Writes the frame of a batch that is shorter than 4 GiB into `out`, in the place of what was there.
pub(super) fn encode(batch: &Batch, generation: u64, out: &mut Vec<u8>) {
    out.clear();
    out.reserve(length(batch));
    out.extend_from_slice(&[0; START]);
    out.extend_from_slice(&generation.to_le_bytes());
    out.extend_from_slice(&batch.reserved.unwrap_or(0).to_le_bytes());
    for change in batch.transactions.iter().flatten() {
        match change {
            Change::Put(record) => {
                out.extend_from_slice(&(record.key.len() as u32).to_le_bytes());
                out.extend_from_slice(&(record.value.len() as u32).to_le_bytes());
                out.extend_from_slice(&record.create_revision.to_le_bytes());
                out.extend_from_slice(&record.revision.to_le_bytes());
                out.extend_from_slice(record.key.as_bytes());
                out.extend_from_slice(&record.value);
            }
            Change::Delete(key) => {
                out.extend_from_slice(&(key.len() as u32).to_le_bytes());
                out.extend_from_slice(&DELETE.to_le_bytes());
                out.extend_from_slice(&[0; 16]);
                out.extend_from_slice(key.as_bytes());
            }
        }
    }
    let length = (out.len() - START) as u32;
    let crc = crc32fast::hash(&out[START..]);
    out[..4].copy_from_slice(&length.to_le_bytes());
    out[4..START].copy_from_slice(&crc.to_le_bytes());
}

/// The frame at the beginning of `bytes`, and what comes after it; `None` when there is no whole one.
pub(super) fn decode(bytes: &[u8]) -> Option<(Frame, &[u8])> {
    let (length, rest) = u32_of(bytes)?;
    let (crc, rest) = u32_of(rest)?;
    let (body, after) = rest.split_at_checked(length as usize)?;
    if length == 0 || crc32fast::hash(body) != crc {
        return None;
    }
    let (generation, body) = u64_of(body)?;
    let (reserved, mut body) = u64_of(body)?;
    let mut changes = Vec::new();
    while !body.is_empty() {
        let (change, rest) = change(body)?;
        changes.push(change);
        body = rest;
    }
    let reserved = (reserved > 0).then_some(reserved);
    let frame = Frame {
        generation,
        reserved,
        changes,
    };
    Some((frame, after))
}

fn change(bytes: &[u8]) -> Option<(Change, &[u8])> {
    let (key_length, rest) = u32_of(bytes)?;
    let (value_length, rest) = u32_of(rest)?;
    let (create_revision, rest) = u64_of(rest)?;
    let (revision, rest) = u64_of(rest)?;
    let (key, rest) = rest.split_at_checked(key_length as usize)?;
    let key: Arc<str> = std::str::from_utf8(key).ok()?.into();
    if value_length == DELETE {
        return Some((Change::Delete(key), rest));
    }
    let (value, rest) = rest.split_at_checked(value_length as usize)?;
    let value = Bytes::copy_from_slice(value);
    let record = Record::new(key, value, create_revision, revision);
    Some((Change::Put(Arc::new(record)), rest))
}

fn u32_of(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u32::from_le_bytes(*number), rest))
}

fn u64_of(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_le_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Batch {
        let record = |key: &str, value: &'static [u8]| {
            Change::Put(Arc::new(Record::new(key.into(), Bytes::from_static(value), 3, 9)))
        };
        Batch {
            transactions: vec![
                vec![record("/a", b"one"), Change::Delete("/b".into())],
                vec![record("/c", b"")],
            ],
            reserved: Some(1000),
        }
    }

    #[test]
    fn a_frame_gives_back_its_batch_and_what_follows() {
        let mut bytes = Vec::new();
        encode(&batch(), 7, &mut bytes);
        assert_eq!(bytes.len(), length(&batch()));
        bytes.extend_from_slice(b"next");
        let (frame, rest) = decode(&bytes).unwrap();
        assert_eq!(
            (frame.generation, frame.reserved, rest),
            (7, Some(1000), &b"next"[..])
        );
        let told: Vec<_> = frame
            .changes
            .iter()
            .map(|change| match change {
                Change::Put(record) => format!(
                    "{} {:?} {} {}",
                    record.key, record.value, record.create_revision, record.revision
                ),
                Change::Delete(key) => format!("- {key}"),
            })
            .collect();
        assert_eq!(told, ["/a b\"one\" 3 9", "- /b", "/c b\"\" 3 9"]);
    }

    #[test]
    fn a_torn_or_changed_frame_is_none() {
        let mut whole = Vec::new();
        encode(&batch(), 7, &mut whole);
        for end in 0..whole.len() {
            assert!(decode(&whole[..end]).is_none(), "cut off at {end}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x10;
            assert!(decode(&changed).is_none(), "changed at {at}");
        }
        assert!(decode(&[0; 64]).is_none(), "a file's untouched end");
    }
}
