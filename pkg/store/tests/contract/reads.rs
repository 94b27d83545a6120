//! Snapshots, ranges and past revisions.

use kobune_store::{Durability, Expect, Options, RevisionError};

use crate::Place;
use crate::support::{Random, delete, put};

pub async fn a_snapshot_stays_as_it_was(place: Place) {
    let store = place.open().await;
    store
        .commit(vec![put("/a", "1", Expect::Any)], Durability::Synced)
        .await
        .unwrap();
    let snapshot = store.snapshot();
    store
        .commit(
            vec![put("/a", "2", Expect::Any), put("/b", "1", Expect::Any)],
            Durability::Synced,
        )
        .await
        .unwrap();
    assert!(snapshot.get("/a").unwrap().value.starts_with(b"1"));
    assert_eq!((snapshot.len(), store.snapshot().len()), (1, 2));
}

pub async fn ranges_are_ordered_and_resume_after_a_key(place: Place) {
    let store = place.open().await;
    let keys = ["/p/a", "/p/a/x", "/p/b", "/p/c", "/pa", "/q/a"];
    for key in keys.iter().rev() {
        store
            .commit(vec![put(key, "v", Expect::Any)], Durability::Memory)
            .await
            .unwrap();
    }
    let snapshot = store.snapshot();
    let list = |prefix: &str, after: Option<&str>| -> Vec<String> {
        snapshot
            .range(prefix, after)
            .map(|record| record.key.to_string())
            .collect()
    };
    assert_eq!(list("/p/", None), keys[..4]);
    assert_eq!(list("/p/", Some("/p/a")), keys[1..4]);
    assert_eq!(list("/p/", Some("/p/bb")), keys[3..4]);
    assert_eq!(list("/p/", Some("/p/c")), [""; 0]);
    assert_eq!(list("/p/", Some("/a")), keys[..4]);
    assert_eq!(list("", None), keys);
    assert_eq!(
        (snapshot.count("/p/"), snapshot.count("/p"), snapshot.count("/z")),
        (4, 5, 0)
    );
}

pub async fn a_past_revision_is_listed_exactly(place: Place) {
    let store = place.open().await;
    let view = |snapshot: &kobune_store::Snapshot| -> Vec<(String, u64)> {
        snapshot
            .range("", None)
            .map(|record| (record.key.to_string(), record.revision))
            .collect()
    };
    let mut known = vec![(store.revision(), view(&store.snapshot()))];
    let mut random = Random::new("a_past_revision_is_listed_exactly");
    for _ in 0..300 {
        let key = format!("/k{}", random.below(20));
        let op = if random.below(3) == 0 {
            delete(&key)
        } else {
            put(&key, "v", Expect::Any)
        };
        let done = store.commit(vec![op], Durability::Memory).await.unwrap();
        known.push((done.revision, view(&store.snapshot())));
    }
    for _ in 0..200 {
        let (revision, expected) = &known[random.below(known.len() as u64) as usize];
        let snapshot = store.snapshot_at(*revision).unwrap();
        assert_eq!((snapshot.revision, &view(&snapshot)), (*revision, expected));
    }
}

pub async fn compacted_and_future_revisions_are_told_apart(place: Place) {
    let store = place
        .open_with(Options {
            history_events: 20,
            ..Options::default()
        })
        .await;
    let start = store.revision();
    for _ in 0..50 {
        store
            .commit(vec![put("/a", "v", Expect::Any)], Durability::Memory)
            .await
            .unwrap();
    }
    let oldest = start + 30;
    let compacted = Some(RevisionError::Compacted { oldest });
    assert_eq!(store.snapshot_at(oldest - 1).err(), compacted);
    assert_eq!(store.watch("/", oldest - 1).err(), compacted);
    assert_eq!(
        store.snapshot_at(oldest).unwrap().get("/a").unwrap().revision,
        oldest
    );
    assert_eq!(
        store
            .watch("/", oldest)
            .unwrap()
            .next()
            .await
            .unwrap()
            .unwrap()
            .revision,
        oldest + 1
    );
    let future = Some(RevisionError::Future { current: start + 50 });
    assert_eq!(store.snapshot_at(start + 51).err(), future);
    assert_eq!(store.watch("/", start + 51).err(), future);
}

pub async fn a_memo_is_computed_once(place: Place) {
    let store = place.open().await;
    store
        .commit(vec![put("/a", "v", Expect::Any)], Durability::Synced)
        .await
        .unwrap();
    let record = store.get("/a").unwrap();
    assert_eq!(*record.memo(|bytes| bytes.len()), record.value.len());
    assert_eq!(
        *store.get("/a").unwrap().memo::<usize>(|_| unreachable!()),
        record.value.len()
    );
}
