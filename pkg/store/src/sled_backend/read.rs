//! Reading all that is in the database.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use sled::Db;

use super::applied::{Open, Pending};
use super::database::{damaged, database};
use super::layout::{self, CHUNKS, Group, Header, RECORDS, RESERVED_KEY, Write};
use crate::backend::{BackendError, Loaded};
use crate::record::Record;

/// Everything in the database. Chunks nobody refers to, of transactions that were cut off, are removed.
pub(super) fn read(
    opened: &Open,
    groups: &mut HashMap<Arc<str>, Group>,
    next_group: &mut u64,
) -> Result<Loaded, BackendError> {
    let db = &opened.db;
    let mut loaded = Loaded {
        records: Vec::new(),
        reserved: number(db, RESERVED_KEY)?.unwrap_or(0),
    };
    for entry in db.scan_prefix(RECORDS) {
        let (key, value) = entry.map_err(database("reading the records"))?;
        let key: Arc<str> = std::str::from_utf8(&key[RECORDS.len()..])
            .map_err(|_| damaged("a key is not UTF-8"))?
            .into();
        let (header, rest) = Header::decode(&value).ok_or_else(|| damaged("a header is cut off"))?;
        let value = if header.group == 0 {
            Bytes::copy_from_slice(rest)
        } else {
            let group = Group {
                id: header.group,
                length: header.length,
            };
            groups.insert(key.clone(), group);
            assemble(db, group)?
        };
        if !header.fits(&value) {
            return Err(damaged(&format!("the value of {key} does not fit its checksum")));
        }
        loaded.records.push(Arc::new(Record::new(
            key,
            value,
            header.create_revision,
            header.revision,
        )));
    }
    drop_orphans(opened, groups, next_group)?;
    Ok(loaded)
}

/// A number that stands under a key of its own.
pub(super) fn number(db: &Db, key: &[u8]) -> Result<Option<u64>, BackendError> {
    let found = db.get(key).map_err(database("reading a number"))?;
    let read = |bytes: sled::IVec| <[u8; 8]>::try_from(&*bytes).map(u64::from_be_bytes);
    found
        .map(read)
        .transpose()
        .map_err(|_| damaged("a number is not one"))
}

fn assemble(db: &Db, group: Group) -> Result<Bytes, BackendError> {
    let mut value = Vec::with_capacity(group.length as usize);
    for key in layout::chunk_keys(group) {
        let piece = db.get(key).map_err(database("reading a large value"))?;
        value.extend_from_slice(&piece.ok_or_else(|| damaged("a piece of a large value is missing"))?);
    }
    Ok(value.into())
}

fn drop_orphans(
    opened: &Open,
    groups: &HashMap<Arc<str>, Group>,
    next_group: &mut u64,
) -> Result<(), BackendError> {
    let known: HashSet<u64> = groups.values().map(|group| group.id).collect();
    let mut orphans = Vec::new();
    for key in opened.db.scan_prefix(CHUNKS).keys() {
        let key = key.map_err(database("reading the chunks"))?;
        let id = layout::group_of_chunk(&key).ok_or_else(|| damaged("a chunk's key is cut off"))?;
        *next_group = (id + 1).max(*next_group);
        if !known.contains(&id) {
            orphans.push(Write::Remove(key.to_vec()));
        }
    }
    let mut removal = Pending::default();
    for orphan in orphans {
        removal.make_room(opened, orphan.bytes())?;
        removal.push(orphan);
    }
    removal.apply(opened)
}
