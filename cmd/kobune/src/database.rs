//! Where the cluster's state is kept, and what it is restored from when it is beyond repair.
//!
//! ```text
//! {data}/server/db/state      the database
//! {data}/server/db/snapshots  logical snapshots: written when something changed, read when the database cannot be
//! ```

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use kobune_store::sled_backend::{SledBackend, SledOptions};
use kobune_store::{Options, RegularSnapshots, Store};

/// How long after the first change since the last snapshot the next one is written.
const EVERY: Duration = Duration::from_secs(12 * 3600);
/// How many snapshots are kept.
const KEEP: usize = 5;

/// Opens the store in `folder`, from its last snapshot if the database cannot be read.
pub async fn open(folder: &Path) -> Result<Store> {
    let snapshots = folder.join("snapshots");
    let backend = SledBackend::new(SledOptions {
        snapshots: Some(snapshots.clone()),
        ..SledOptions::new(folder.join("state"))
    });
    let options = Options {
        snapshots: Some(RegularSnapshots {
            folder: snapshots,
            every: EVERY,
            keep: KEEP,
        }),
        ..Options::default()
    };
    Store::open(Box::new(backend), options)
        .await
        .with_context(|| format!("opening the store in {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kobune_store::{Durability, Expect, Op, Value};

    fn put(key: &str) -> Vec<Op> {
        vec![Op::Put {
            key: key.into(),
            value: Value {
                bytes: b"{}".to_vec(),
                revision_slot: None,
            },
            expect: Expect::Absent,
        }]
    }

    /// What a bad disk does: the file from which sled begins to read is garbage.
    fn damage(database: &Path) {
        for entry in std::fs::read_dir(database).expect("a database").flatten() {
            if entry.file_name().to_string_lossy().starts_with("snap.") {
                std::fs::write(entry.path(), [b'x'; 100]).expect("the file is ours");
            }
        }
    }

    #[tokio::test]
    async fn a_damaged_database_is_restored_from_the_servers_own_snapshots() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = open(folder.path()).await.expect("a new store");
        store
            .commit(put("/a"), Durability::Synced)
            .await
            .expect("a write");
        let snapshots = folder.path().join("snapshots");
        std::fs::create_dir_all(&snapshots).expect("a folder");
        // As the store itself names its regular snapshots.
        let file = format!("{:020}.kobune-snapshot", store.revision());
        store.save(&snapshots.join(file)).await.expect("a snapshot");
        store.close().await;
        damage(&folder.path().join("state/sled"));

        let store = open(folder.path()).await.expect("a restored store");
        assert!(store.get("/a").is_some(), "what the snapshot held is back");
        store
            .commit(put("/b"), Durability::Synced)
            .await
            .expect("a write");
        store.close().await;
    }
}
