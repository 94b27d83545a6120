//! Large values and large commits.

use kobune_store::{CommitError, Durability, Expect, Op, Options, Value};

use crate::Place;
use crate::support::{Random, delete, put, text};

pub async fn large_values_and_large_commits_come_back_whole(place: Place) {
    let store = place.open().await;
    let mut random = Random::new("large values");
    let mut known = Vec::new();
    for size in [0, 1, 8191, 8192, 8193, 100_000, 1_572_864, 3 << 20] {
        let bytes = random.bytes(size);
        let key = format!("/large/{size}");
        let value = Value {
            bytes: bytes.clone(),
            revision_slot: None,
        };
        let op = Op::Put {
            key: key.as_str().into(),
            value,
            expect: Expect::Absent,
        };
        store.commit(vec![op], Durability::Synced).await.unwrap();
        known.push((key, bytes));
    }
    let many: Vec<Op> = (0..1024)
        .map(|index| put(&format!("/many/{index}"), &"y".repeat(3000), Expect::Any))
        .collect();
    store.commit(many, Durability::Synced).await.unwrap();
    store.close().await;
    let store = place.open().await;
    for (key, bytes) in known {
        assert!(store.get(&key).unwrap().value == bytes, "{key}");
    }
    assert_eq!(
        store
            .snapshot()
            .range("/many/", None)
            .filter(|record| record.value.len() > 3000)
            .count(),
        1024
    );
    if let Place::Sled(folder) = &place {
        let blobs = std::fs::read_dir(folder.path().join("sled/blobs"))
            .unwrap()
            .count();
        assert_eq!(blobs, 0, "sled's blobs are not synced by sled");
    }
}

pub async fn replaced_and_deleted_large_values_leave_nothing(place: Place) {
    let store = place.open().await;
    let large = "z".repeat(200_000);
    for _ in 0..3 {
        store
            .commit(
                vec![put("/a", &large, Expect::Any), put("/b", &large, Expect::Any)],
                Durability::Synced,
            )
            .await
            .unwrap();
    }
    store
        .commit(
            vec![put("/a", "small", Expect::Any), delete("/b")],
            Durability::Synced,
        )
        .await
        .unwrap();
    store.close().await;
    if let Place::Sled(folder) = &place {
        let db = ::sled::Config::new()
            .path(folder.path().join("sled"))
            .segment_size(2 << 20)
            .open()
            .unwrap();
        let chunks = db.scan_prefix(b"c").count();
        assert_eq!(chunks, 0);
    }
    let store = place.open().await;
    assert!(text(&store, "/a").starts_with("small"));
    assert!(store.get("/b").is_none());
}

pub async fn too_large_is_refused(place: Place) {
    let store = place
        .open_with(Options {
            max_value_bytes: 100,
            max_ops: 3,
            ..Options::default()
        })
        .await;
    let failed = store
        .commit(vec![put("/a", &"x".repeat(101), Expect::Any)], Durability::Synced)
        .await;
    assert!(matches!(failed, Err(CommitError::TooLarge { limit: 100, .. })));
    let failed = store
        .commit(
            vec![delete("/a"), delete("/b"), delete("/c"), delete("/d")],
            Durability::Synced,
        )
        .await;
    assert!(matches!(failed, Err(CommitError::TooLarge { actual: 4, .. })));
}
