//! Logical snapshots.

use std::time::Duration;

use kobune_store::{Durability, Expect, Options, SnapshotFileError, restore, verify};

use crate::Place;
use crate::support::{Random, eventually, put};

pub async fn a_saved_snapshot_verifies_restores_and_shows_damage(place: Place) {
    let store = place.open().await;
    for index in 0..50 {
        store
            .commit(
                vec![put(&format!("/k{index}"), &"v".repeat(index * 400), Expect::Any)],
                Durability::Synced,
            )
            .await
            .unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("saved");
    let saved = store.save(&path).await.unwrap();
    assert_eq!((saved.records, saved.revision), (50, store.revision()));
    assert_eq!(verify(&path).unwrap(), saved);

    // Into each kind of backend: a snapshot is portable.
    for target in [Place::memory(), Place::sled()] {
        let mut backend = target.backend();
        assert_eq!(restore(&path, &mut *backend).unwrap(), saved);
        drop(backend);
        let restored = target.open().await;
        assert!(restored.revision() >= store.revision());
        for record in store.snapshot().range("", None) {
            let other = restored.get(&record.key).unwrap();
            assert_eq!(
                (&other.value, other.revision, other.create_revision),
                (&record.value, record.revision, record.create_revision)
            );
        }
        restored.close().await;
        let mut backend = target.backend();
        assert!(matches!(
            restore(&path, &mut *backend),
            Err(SnapshotFileError::NotEmpty)
        ));
    }

    let whole = std::fs::read(&path).unwrap();
    let mut random = Random::new("damage");
    for _ in 0..100 {
        let mut bytes = whole.clone();
        let at = random.below(bytes.len() as u64) as usize;
        if random.below(2) == 0 {
            bytes.truncate(at);
        } else {
            bytes[at] ^= 1 << random.below(8);
        }
        std::fs::write(&path, bytes).unwrap();
        assert!(
            matches!(verify(&path), Err(SnapshotFileError::Damaged { .. })),
            "at {at}"
        );
    }
}

pub async fn regular_snapshots_are_taken_only_after_changes(place: Place) {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = kobune_store::RegularSnapshots {
        folder: folder.path().join("snapshots"),
        every: Duration::from_millis(50),
        keep: 2,
    };
    let options = Options {
        snapshots: Some(snapshots.clone()),
        ..Options::default()
    };
    let store = place.open_with(options).await;
    let files = || {
        std::fs::read_dir(&snapshots.folder)
            .into_iter()
            .flatten()
            .flatten()
            .count()
    };
    store
        .commit(vec![put("/event", "v", Expect::Any)], Durability::Memory)
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(files(), 0, "what is not durable is no change");
    for round in 0..4 {
        store
            .commit(vec![put("/a", "v", Expect::Any)], Durability::Synced)
            .await
            .unwrap();
        let newest = snapshots
            .folder
            .join(format!("{:020}.kobune-snapshot", store.revision()));
        eventually("a regular snapshot", || newest.exists()).await;
        assert_eq!(
            verify(&newest).unwrap().revision,
            store.revision(),
            "round {round}"
        );
    }
    store.close().await;
    assert_eq!(files(), 2);
}
