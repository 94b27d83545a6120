//! How records lie in sled: keys, headers, chunks, and which of them go into one sled batch. Pure.
//!
//! | sled key | value |
//! |---|---|
//! | `m` | the highest reserved revision, u64 |
//! | `j` | the last generation of the journal that is in here whole, u64 |
//! | `k` + key | header; then the value itself if it is small |
//! | `c` + group (u64) + index (u32) | a piece of a large value |
//!
//! Numbers are big endian. A header is: create revision, revision (u64 each), length of the value, CRC-32
//! of the value (u32 each), group of its chunks (u64; 0: the value follows).
//!
//! **Why torn writes cannot be seen.** sled applies one batch all or nothing, but a batch must stay small
//! (its big messages go to files that are never synced). So the chunks of large values are written
//! first, in batches of their own; nothing refers to them until the headers of the whole
//! transaction are written in one batch, which is the mark of its commit. Chunks without a header are
//! dropped at load.

use std::sync::Arc;

use crate::backend::Change;
use crate::logical::Crc;
use crate::record::Record;

/// The largest piece of a value in one sled value.
pub(super) const CHUNK: usize = 8 << 10;
/// About as large may a sled batch be.
pub(super) const BATCH: usize = 256 << 10;
/// In a transaction that would be over `BATCH`, larger values than this are cut into chunks.
const CROWDED_INLINE: usize = 128;
const HEADER: usize = 8 + 8 + 4 + 4 + 8;

/// The sled key of the reservation.
pub(super) const RESERVED_KEY: &[u8] = b"m";
/// The sled key of the journal's generation.
pub(super) const GENERATION_KEY: &[u8] = b"j";
/// What record keys begin with.
pub(super) const RECORDS: &[u8] = b"k";
/// What chunk keys begin with.
pub(super) const CHUNKS: &[u8] = b"c";

/// Where a record's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub create_revision: u64,
    pub revision: u64,
    pub length: u32,
    pub crc: u32,
    /// Of its chunks; 0 when the value follows the header.
    pub group: u64,
}

/// The chunks of one large value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Group {
    pub id: u64,
    pub length: u32,
}

/// One write in sled.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Write {
    Insert(Vec<u8>, Vec<u8>),
    Remove(Vec<u8>),
}

impl Write {
    /// A number under a key of its own.
    pub(super) fn number(key: &[u8], number: u64) -> Self {
        Write::Insert(key.to_vec(), number.to_be_bytes().to_vec())
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Write::Insert(key, value) => key.len() + value.len(),
            Write::Remove(key) => key.len(),
        }
    }
}

/// How one transaction is written.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// To be written before, in any number of batches.
    pub chunks: Vec<Write>,
    /// To be written in one batch.
    pub headers: Vec<Write>,
    /// The large values of the transaction: key, and its new chunks or None.
    pub groups: Vec<(Arc<str>, Option<Group>)>,
}

/// Lays out a transaction. `group_of` tells the chunks a key has now; `next_group` is the first unused
/// group and is advanced.
pub(super) fn lay_out(
    transaction: &[Change],
    group_of: impl Fn(&str) -> Option<Group>,
    next_group: &mut u64,
) -> Layout {
    let total: usize = transaction.iter().map(inline_bytes).sum();
    let inline = if total <= BATCH { CHUNK } else { CROWDED_INLINE };
    let mut layout = Layout::default();
    for change in transaction {
        let (key, new) = match change {
            Change::Delete(key) => {
                layout.headers.push(Write::Remove(record_key(key)));
                (key, None)
            }
            Change::Put(record) => (&record.key, put(record, inline, next_group, &mut layout)),
        };
        // The same key may be written twice in one transaction.
        let earlier = layout.groups.iter().rev().find(|(other, _)| other == key);
        let old = earlier.map_or_else(|| group_of(key), |(_, group)| *group);
        if let Some(old) = old {
            layout.headers.extend(chunk_keys(old).map(Write::Remove));
        }
        if old.is_some() || new.is_some() {
            layout.groups.push((key.clone(), new));
        }
    }
    layout
}

fn inline_bytes(change: &Change) -> usize {
    match change {
        Change::Put(record) if record.value.len() <= CHUNK => HEADER + record.key.len() + record.value.len(),
        Change::Put(record) => HEADER + record.key.len(),
        Change::Delete(key) => key.len(),
    }
}

fn put(record: &Record, inline: usize, next_group: &mut u64, layout: &mut Layout) -> Option<Group> {
    let mut crc = Crc::new();
    crc.add(&record.value);
    // Options::max_value_bytes is far below.
    let length = u32::try_from(record.value.len()).unwrap_or(u32::MAX);
    let chunked = record.value.len() > inline;
    let group = if chunked { *next_group } else { 0 };
    let (create_revision, revision) = (record.create_revision, record.revision);
    let header = Header {
        create_revision,
        revision,
        length,
        crc: crc.value(),
        group,
    };
    let mut value = header.encode(if chunked { 0 } else { record.value.len() });
    if !chunked {
        value.extend_from_slice(&record.value);
        layout.headers.push(Write::Insert(record_key(&record.key), value));
        return None;
    }
    *next_group += 1;
    let group = Group { id: group, length };
    let pieces = record.value.chunks(CHUNK).map(<[u8]>::to_vec);
    layout.chunks.extend(
        chunk_keys(group)
            .zip(pieces)
            .map(|(key, piece)| Write::Insert(key, piece)),
    );
    layout.headers.push(Write::Insert(record_key(&record.key), value));
    Some(group)
}

impl Header {
    fn encode(&self, room: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + room);
        bytes.extend_from_slice(&self.create_revision.to_be_bytes());
        bytes.extend_from_slice(&self.revision.to_be_bytes());
        bytes.extend_from_slice(&self.length.to_be_bytes());
        bytes.extend_from_slice(&self.crc.to_be_bytes());
        bytes.extend_from_slice(&self.group.to_be_bytes());
        bytes
    }

    /// The header and what follows it.
    pub(super) fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (create_revision, bytes) = bytes.split_first_chunk()?;
        let (revision, bytes) = bytes.split_first_chunk()?;
        let (length, bytes) = bytes.split_first_chunk()?;
        let (crc, bytes) = bytes.split_first_chunk()?;
        let (group, bytes) = bytes.split_first_chunk()?;
        let header = Header {
            create_revision: u64::from_be_bytes(*create_revision),
            revision: u64::from_be_bytes(*revision),
            length: u32::from_be_bytes(*length),
            crc: u32::from_be_bytes(*crc),
            group: u64::from_be_bytes(*group),
        };
        Some((header, bytes))
    }

    /// Whether `value` is the one the header was written for.
    pub(super) fn fits(&self, value: &[u8]) -> bool {
        let mut crc = Crc::new();
        crc.add(value);
        value.len() == self.length as usize && crc.value() == self.crc
    }
}

/// The sled key of a record.
pub(super) fn record_key(key: &str) -> Vec<u8> {
    [RECORDS, key.as_bytes()].concat()
}

/// The sled keys of a large value's chunks, in order.
pub(super) fn chunk_keys(group: Group) -> impl Iterator<Item = Vec<u8>> {
    let count = (group.length as usize).div_ceil(CHUNK) as u32;
    (0..count).map(move |index| [CHUNKS, &group.id.to_be_bytes()[..], &index.to_be_bytes()[..]].concat())
}

/// The group a chunk's sled key belongs to.
pub(super) fn group_of_chunk(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*key.strip_prefix(CHUNKS)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn change(key: &str, bytes: usize) -> Change {
        Change::Put(Arc::new(Record::new(
            key.into(),
            Bytes::from(vec![b'x'; bytes]),
            3,
            9,
        )))
    }

    #[test]
    fn a_small_value_stands_beside_its_header() {
        let layout = lay_out(&[change("/a", CHUNK)], |_| None, &mut 1);
        assert!(layout.chunks.is_empty() && layout.groups.is_empty());
        let [Write::Insert(key, value)] = &layout.headers[..] else {
            panic!("{:?}", layout.headers)
        };
        assert_eq!(key, b"k/a");
        let (header, rest) = Header::decode(value).unwrap();
        assert_eq!((header.create_revision, header.revision, header.group), (3, 9, 0));
        assert!(header.fits(rest) && !header.fits(&rest[1..]));
    }

    #[test]
    fn a_large_value_is_written_before_its_header_and_its_old_chunks_go_with_it() {
        let old = Group {
            id: 4,
            length: CHUNK as u32 + 1,
        };
        let mut next = 7;
        let layout = lay_out(&[change("/a", 3 * CHUNK + 5)], |_| Some(old), &mut next);
        assert_eq!((layout.chunks.len(), next), (4, 8));
        assert!(layout.chunks.iter().all(|write| write.bytes() <= CHUNK + 13));
        assert_eq!(
            layout.groups,
            [(
                "/a".into(),
                Some(Group {
                    id: 7,
                    length: 3 * CHUNK as u32 + 5
                })
            )]
        );
        let removed: Vec<_> = layout
            .headers
            .iter()
            .filter(|write| matches!(write, Write::Remove(_)))
            .collect();
        assert_eq!(removed.len(), 2);
    }

    #[test]
    fn the_headers_of_a_large_transaction_still_fit_one_batch() {
        let transaction: Vec<_> = (0..1024)
            .map(|index| change(&format!("/registry/core/configmaps/n/{index}"), 4096))
            .collect();
        let layout = lay_out(&transaction, |_| None, &mut 1);
        assert!(layout.headers.iter().map(Write::bytes).sum::<usize>() <= BATCH);
    }

    #[test]
    fn a_value_replaced_within_its_transaction_leaves_no_chunks() {
        let transaction = [change("/a", 2 * CHUNK), Change::Delete("/a".into())];
        let layout = lay_out(&transaction, |_| None, &mut 1);
        assert_eq!(
            layout
                .headers
                .iter()
                .filter(|write| matches!(write, Write::Remove(_)))
                .count(),
            3
        );
        assert_eq!(layout.groups.last(), Some(&("/a".into(), None)));
    }

    #[test]
    fn a_chunk_knows_its_group() {
        let key = chunk_keys(Group { id: 77, length: 1 }).next().unwrap();
        assert_eq!(group_of_chunk(&key), Some(77));
        assert_eq!(group_of_chunk(b"k/a"), None);
    }
}
