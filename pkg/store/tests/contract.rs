//! What every backend must keep, run against each of them.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

mod support;

use std::sync::Arc;
use std::time::Duration;

use kobune_store::memory_backend::MemoryBackend;
use kobune_store::sled_backend::{SledBackend, SledOptions};
use kobune_store::{
    Backend, BackendError, Batch, Change, CommitError, Durability, EventKind, Expect, Loaded, Op, OpenError,
    Options, Record, Revision, RevisionError, SnapshotFileError, Store, Value, WatchError, restore, verify,
};
use support::{delete, put, text};

/// Where a store is, and stays while it is closed.
enum Place {
    Memory(MemoryBackend),
    Sled(tempfile::TempDir),
}

impl Place {
    fn memory() -> Self {
        Place::Memory(MemoryBackend::new())
    }

    fn sled() -> Self {
        Place::Sled(tempfile::tempdir().unwrap())
    }

    fn backend(&self) -> Box<dyn Backend> {
        match self {
            Place::Memory(backend) => Box::new(backend.clone()),
            Place::Sled(folder) => Box::new(SledBackend::new(SledOptions::new(folder.path()))),
        }
    }

    async fn open(&self) -> Store {
        self.open_with(Options::default()).await
    }

    async fn open_with(&self, options: Options) -> Store {
        Store::open(self.backend(), options).await.unwrap()
    }
}

macro_rules! contract {
    ($($promise:ident),* $(,)?) => {
        mod memory { $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $promise() { super::$promise(super::Place::memory()).await })* }
        mod sled { $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $promise() { super::$promise(super::Place::sled()).await })* }
    };
}

contract!(
    a_synced_write_is_there_after_a_restart,
    a_memory_write_is_seen_and_watched_but_gone_after_a_restart,
    revisions_rise_by_one_per_commit_and_never_repeat,
    a_failed_condition_changes_nothing_and_tells_what_is_there,
    of_many_writers_of_one_key_exactly_one_wins_each_round,
    the_operations_of_a_commit_share_a_revision,
    a_snapshot_stays_as_it_was,
    ranges_are_ordered_and_resume_after_a_key,
    a_past_revision_is_listed_exactly,
    compacted_and_future_revisions_are_told_apart,
    a_watch_gets_every_change_once_and_in_order,
    a_watch_gets_only_its_prefix_and_the_final_state_of_a_deletion,
    many_watches_of_fast_changes_get_each_once_and_in_order,
    a_watch_that_falls_too_far_behind_is_told,
    a_quiet_watch_outlives_the_history,
    bookmarks_follow_what_was_delivered,
    history_is_forgotten_by_bytes,
    waiting_for_a_revision_ends_when_it_comes,
    large_values_and_large_commits_come_back_whole,
    replaced_and_deleted_large_values_leave_nothing,
    too_large_is_refused,
    a_saved_snapshot_verifies_restores_and_shows_damage,
    regular_snapshots_are_taken_only_after_changes,
    watches_end_behind_what_they_have_to_tell,
    a_closed_store_refuses_writes_and_ends_watches,
    a_memo_is_computed_once,
);

async fn a_synced_write_is_there_after_a_restart(place: Place) {
    let store = place.open().await;
    let first = store
        .commit(vec![put("/a", "1", Expect::Absent)], Durability::Synced)
        .await
        .unwrap();
    let second = store
        .commit(vec![put("/a", "2", Expect::Any)], Durability::Synced)
        .await
        .unwrap();
    store
        .commit(vec![put("/b", "x", Expect::Any)], Durability::Synced)
        .await
        .unwrap();
    let gone = store
        .commit(vec![delete("/b")], Durability::Synced)
        .await
        .unwrap();
    store.close().await;
    let store = place.open().await;
    let record = store.get("/a").unwrap();
    assert_eq!(&record.value[..], format!("2@{}", second.revision).as_bytes());
    assert_eq!(
        (record.create_revision, record.revision),
        (first.revision, second.revision)
    );
    assert!(store.get("/b").is_none());
    assert_eq!(
        store.revision(),
        gone.revision,
        "an orderly end skips no revision"
    );
    // What a client saw before the restart is exactly where it goes on.
    store.watch("/", gone.revision).unwrap();
}

async fn a_memory_write_is_seen_and_watched_but_gone_after_a_restart(place: Place) {
    let store = place.open().await;
    store
        .commit(vec![put("/lease", "held", Expect::Any)], Durability::Synced)
        .await
        .unwrap();
    let mut watch = store.watch("/", store.revision()).unwrap();
    let renewed = store
        .commit(vec![put("/lease", "renewed", Expect::Exists)], Durability::Memory)
        .await
        .unwrap();
    let told = store
        .commit(vec![put("/event", "e", Expect::Absent)], Durability::Memory)
        .await
        .unwrap();
    assert_eq!(told.revision, renewed.revision + 1);
    assert!(text(&store, "/lease").starts_with("renewed"));
    assert_eq!(&*watch.next().await.unwrap().unwrap().record.key, "/lease");
    assert_eq!(&*watch.next().await.unwrap().unwrap().record.key, "/event");
    store.close().await;
    let store = place.open().await;
    assert!(text(&store, "/lease").starts_with("held"));
    assert!(store.get("/event").is_none());
    assert!(store.revision() >= told.revision);
}

async fn revisions_rise_by_one_per_commit_and_never_repeat(place: Place) {
    let store = place.open().await;
    let mut last = store.revision();
    for round in 0..4 {
        // Without close: as after a crash.
        let store = if round % 2 == 0 {
            store.clone()
        } else {
            reopened_after_abandoning(&place, &store).await
        };
        assert!(store.revision() >= last);
        last = store.revision();
        for durability in [Durability::Memory, Durability::Synced, Durability::Memory] {
            let done = store
                .commit(vec![put("/k", "v", Expect::Any)], durability)
                .await
                .unwrap();
            assert_eq!(done.revision, last + 1);
            assert_eq!(store.revision(), done.revision);
            last = done.revision;
        }
        if round == 1 {
            store.close().await;
            break;
        }
    }
    let nothing = place.open().await;
    let done = nothing
        .commit(
            vec![Op::Delete {
                key: "/none".into(),
                expect: Expect::Any,
                last: None,
            }],
            Durability::Synced,
        )
        .await
        .unwrap();
    assert_eq!(
        done.revision, last,
        "a commit that changes nothing takes no revision"
    );
}

async fn reopened_after_abandoning(place: &Place, old: &Store) -> Store {
    // One process holds a sled database at a time; a closed store is the nearest thing here. The crash suite
    // has the real thing.
    old.close().await;
    place.open().await
}

async fn a_failed_condition_changes_nothing_and_tells_what_is_there(place: Place) {
    let store = place.open().await;
    let done = store
        .commit(vec![put("/a", "1", Expect::Absent)], Durability::Synced)
        .await
        .unwrap();
    let before = store.revision();
    for expect in [Expect::Absent, Expect::Revision(done.revision + 7)] {
        let failed = store
            .commit(
                vec![put("/n", "x", Expect::Any), put("/a", "2", expect)],
                Durability::Synced,
            )
            .await;
        match failed {
            Err(CommitError::Conflict {
                key,
                current: Some(current),
            }) => {
                assert_eq!((&*key, current.revision), ("/a", done.revision));
            }
            other => panic!("{other:?}"),
        }
    }
    let failed = store
        .commit(vec![put("/none", "x", Expect::Exists)], Durability::Memory)
        .await;
    assert!(matches!(failed, Err(CommitError::Conflict { current: None, .. })));
    assert_eq!((store.revision(), store.snapshot().len()), (before, 1));
    store
        .commit(
            vec![put("/a", "2", Expect::Revision(done.revision))],
            Durability::Synced,
        )
        .await
        .unwrap();
}

async fn of_many_writers_of_one_key_exactly_one_wins_each_round(place: Place) {
    let store = place.open().await;
    store
        .commit(vec![put("/a", "0", Expect::Any)], Durability::Synced)
        .await
        .unwrap();
    for _ in 0..20 {
        let seen = store.get("/a").unwrap().revision;
        let attempts = (0..16).map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                store
                    .commit(
                        vec![put("/a", &writer.to_string(), Expect::Revision(seen))],
                        Durability::Synced,
                    )
                    .await
            })
        });
        let mut won = 0;
        for attempt in attempts.collect::<Vec<_>>() {
            match attempt.await.unwrap() {
                Ok(_) => won += 1,
                Err(CommitError::Conflict { current, .. }) => assert!(current.unwrap().revision > seen),
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(won, 1);
    }
}

async fn the_operations_of_a_commit_share_a_revision(place: Place) {
    let store = place.open().await;
    let mut watch = store.watch("/", store.revision()).unwrap();
    let done = store
        .commit(
            vec![
                put("/a", "1", Expect::Any),
                put("/b", "1", Expect::Any),
                delete("/a"),
            ],
            Durability::Synced,
        )
        .await
        .unwrap();
    assert_eq!(
        done.records.iter().map(Option::is_some).collect::<Vec<_>>(),
        [true, true, false]
    );
    for key in ["/a", "/b", "/a"] {
        let event = watch.next().await.unwrap().unwrap();
        assert_eq!((event.revision, &*event.record.key), (done.revision, key));
    }
    assert!(watch.try_next().is_none());
}

async fn a_snapshot_stays_as_it_was(place: Place) {
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

async fn ranges_are_ordered_and_resume_after_a_key(place: Place) {
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

async fn a_past_revision_is_listed_exactly(place: Place) {
    let store = place.open().await;
    let view = |snapshot: &kobune_store::Snapshot| -> Vec<(String, u64)> {
        snapshot
            .range("", None)
            .map(|record| (record.key.to_string(), record.revision))
            .collect()
    };
    let mut known = vec![(store.revision(), view(&store.snapshot()))];
    let mut random = support::Random::new("a_past_revision_is_listed_exactly");
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

async fn compacted_and_future_revisions_are_told_apart(place: Place) {
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

async fn a_watch_gets_every_change_once_and_in_order(place: Place) {
    let store = place.open().await;
    let start = store.revision();
    let early = store.watch("/w/", start).unwrap();
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for index in 0..50 {
                    let op = put(&format!("/w/{writer}"), &index.to_string(), Expect::Any);
                    store.commit(vec![op], Durability::Synced).await.unwrap();
                }
            })
        })
        .collect();
    // Watches that begin at any time, from the start or from a state they have listed, miss nothing.
    let mut watches = vec![early];
    for _ in 0..10 {
        tokio::task::yield_now().await;
        watches.push(store.watch("/w/", start).unwrap());
        watches.push(store.watch("/w/", store.snapshot().revision).unwrap());
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let end = store.revision();
    assert_eq!(end, start + 400);
    for mut watch in watches {
        let mut expected = watch.seen() + 1;
        while expected <= end {
            let event = watch.next().await.unwrap().unwrap();
            assert_eq!(event.revision, expected);
            assert_eq!(
                event.previous.is_none(),
                event.record.create_revision == event.revision
            );
            expected += 1;
        }
        assert!(watch.try_next().is_none());
    }
}

async fn a_watch_gets_only_its_prefix_and_the_final_state_of_a_deletion(place: Place) {
    let store = place.open().await;
    let start = store.revision();
    let mut watch = store.watch("/a/", start).unwrap();
    let mut one = store.watch("/a/1", start).unwrap();
    for key in ["/a", "/a/1", "/ab", "/b/1", "/a/2"] {
        store
            .commit(vec![put(key, "v", Expect::Any)], Durability::Synced)
            .await
            .unwrap();
    }
    let last = Value {
        bytes: b"last@".to_vec(),
        revision_slot: Some(5),
    };
    let op = Op::Delete {
        key: "/a/1".into(),
        expect: Expect::Exists,
        last: Some(last),
    };
    let done = store.commit(vec![op], Durability::Synced).await.unwrap();
    let mut got = Vec::new();
    for _ in 0..3 {
        got.push(watch.next().await.unwrap().unwrap());
    }
    let keys: Vec<_> = got.iter().map(|event| &*event.record.key).collect();
    assert_eq!(keys, ["/a/1", "/a/2", "/a/1"]);
    assert_eq!((got[2].kind, got[2].revision), (EventKind::Delete, done.revision));
    assert_eq!(
        &got[2].record.value[..],
        format!("last@{}", done.revision).as_bytes()
    );
    assert_eq!(got[2].record.revision, done.revision);
    assert!(Arc::ptr_eq(got[2].previous.as_ref().unwrap(), &got[0].record));
    assert!(watch.try_next().is_none());
    assert_eq!(one.next().await.unwrap().unwrap().kind, EventKind::Put);
    assert_eq!(one.next().await.unwrap().unwrap().kind, EventKind::Delete);
}

async fn many_watches_of_fast_changes_get_each_once_and_in_order(place: Place) {
    let store = place.open().await;
    let start = store.revision();
    let watchers: Vec<_> = (0..50)
        .map(|_| {
            let mut watch = store.watch("/w/", start).unwrap();
            tokio::spawn(async move {
                for expected in start + 1..=start + 200 {
                    assert_eq!(watch.next().await.unwrap().unwrap().revision, expected);
                }
            })
        })
        .collect();
    for index in 0..200 {
        let op = put(&format!("/w/{}", index % 7), "v", Expect::Any);
        store.commit(vec![op], Durability::Memory).await.unwrap();
        if index % 20 == 0 {
            // Silence in between: the next change is told at once, the others after it in lots.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    // Nothing follows the last change: it alone must have them all told.
    for watcher in watchers {
        let ended = tokio::time::timeout(Duration::from_secs(30), watcher).await;
        ended.expect("no change is left untold").unwrap();
    }
}

async fn a_watch_that_falls_too_far_behind_is_told(place: Place) {
    let store = place
        .open_with(Options {
            history_events: 20,
            ..Options::default()
        })
        .await;
    let mut watch = store.watch("/", store.revision()).unwrap();
    for _ in 0..30 {
        store
            .commit(vec![put("/a", "v", Expect::Any)], Durability::Memory)
            .await
            .unwrap();
    }
    assert!(watch.try_next().is_none());
    assert_eq!(watch.next().await.unwrap().unwrap_err(), WatchError::Lagged);
    assert!(watch.next().await.is_none());
}

async fn a_quiet_watch_outlives_the_history(place: Place) {
    let store = place
        .open_with(Options {
            history_events: 20,
            ..Options::default()
        })
        .await;
    let mut watch = store.watch("/quiet/", store.revision()).unwrap();
    for _ in 0..100 {
        store
            .commit(vec![put("/noise", "v", Expect::Any)], Durability::Memory)
            .await
            .unwrap();
    }
    assert_eq!(watch.seen(), store.revision());
    store
        .commit(vec![put("/quiet/a", "v", Expect::Any)], Durability::Memory)
        .await
        .unwrap();
    assert_eq!(&*watch.next().await.unwrap().unwrap().record.key, "/quiet/a");
}

async fn bookmarks_follow_what_was_delivered(place: Place) {
    let store = place.open().await;
    let start = store.revision();
    let mut watch = store.watch("/a", start).unwrap();
    assert_eq!(watch.seen(), start);
    let first = store
        .commit(vec![put("/a1", "v", Expect::Any)], Durability::Synced)
        .await
        .unwrap()
        .revision;
    store
        .commit(vec![put("/b", "v", Expect::Any)], Durability::Synced)
        .await
        .unwrap();
    let third = store
        .commit(vec![put("/a2", "v", Expect::Any)], Durability::Synced)
        .await
        .unwrap()
        .revision;
    assert_eq!(watch.seen(), first - 1);
    watch.next().await.unwrap().unwrap();
    assert_eq!(watch.seen(), third - 1, "what did not match counts as seen");
    watch.next().await.unwrap().unwrap();
    assert_eq!(watch.seen(), third);
}

async fn history_is_forgotten_by_bytes(place: Place) {
    let store = place
        .open_with(Options {
            history_bytes: 1 << 20,
            ..Options::default()
        })
        .await;
    let start = store.revision();
    let large = "x".repeat(64 << 10);
    for _ in 0..64 {
        store
            .commit(vec![put("/a", &large, Expect::Any)], Durability::Memory)
            .await
            .unwrap();
    }
    let Err(RevisionError::Compacted { oldest }) = store.snapshot_at(start) else {
        panic!("nothing was forgotten")
    };
    assert!((start + 40..start + 64).contains(&oldest), "{oldest}");
}

async fn waiting_for_a_revision_ends_when_it_comes(place: Place) {
    let store = place.open().await;
    let next = store.revision() + 1;
    let late = store.wait_for(next, Duration::from_millis(20)).await;
    assert_eq!(late, Err(RevisionError::Future { current: next - 1 }));
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.wait_for(next, Duration::from_secs(60)).await }
    });
    store
        .commit(vec![put("/a", "v", Expect::Any)], Durability::Synced)
        .await
        .unwrap();
    waiting.await.unwrap().unwrap();
}

async fn large_values_and_large_commits_come_back_whole(place: Place) {
    let store = place.open().await;
    let mut random = support::Random::new("large values");
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

async fn replaced_and_deleted_large_values_leave_nothing(place: Place) {
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

async fn too_large_is_refused(place: Place) {
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

async fn a_saved_snapshot_verifies_restores_and_shows_damage(place: Place) {
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
    let mut random = support::Random::new("damage");
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

async fn regular_snapshots_are_taken_only_after_changes(place: Place) {
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
        support::eventually("a regular snapshot", || newest.exists()).await;
        assert_eq!(
            verify(&newest).unwrap().revision,
            store.revision(),
            "round {round}"
        );
    }
    store.close().await;
    assert_eq!(files(), 2);
}

async fn watches_end_behind_what_they_have_to_tell(place: Place) {
    let store = place.open().await;
    let mut behind = store.watch("/", store.revision()).unwrap();
    let mut waiting = store.watch("/none/", store.revision()).unwrap();
    let waiting = tokio::spawn(async move { waiting.next().await.is_none() });
    let op = vec![put("/a", "v", Expect::Any)];
    store.commit(op.clone(), Durability::Synced).await.unwrap();
    store.end_watches();
    assert!(waiting.await.unwrap());
    assert_eq!(&*behind.next().await.unwrap().unwrap().record.key, "/a");
    assert!(behind.next().await.is_none());
    assert!(store.watch("/", store.revision()).unwrap().next().await.is_none());
    store.commit(op, Durability::Synced).await.unwrap();
}

async fn a_closed_store_refuses_writes_and_ends_watches(place: Place) {
    let store = place.open().await;
    store
        .commit(vec![put("/a", "v", Expect::Any)], Durability::Synced)
        .await
        .unwrap();
    let mut watch = store.watch("/", store.revision()).unwrap();
    let waiting = tokio::spawn(async move { watch.next().await.is_none() });
    store.close().await;
    assert!(waiting.await.unwrap());
    let failed = store
        .commit(vec![put("/a", "v", Expect::Any)], Durability::Synced)
        .await;
    assert!(matches!(failed, Err(CommitError::Closed)));
    assert!(store.get("/a").is_some());
    store.close().await;
}

async fn a_memo_is_computed_once(place: Place) {
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

/// Only a backend that fails on demand can show these.
mod faults {
    use super::*;

    #[tokio::test]
    async fn a_full_disk_refuses_writes_keeps_reads_and_recovers() {
        let backend = MemoryBackend::new();
        let store = Store::open(Box::new(backend.clone()), Options::default())
            .await
            .unwrap();
        let done = store
            .commit(vec![put("/a", "1", Expect::Any)], Durability::Synced)
            .await
            .unwrap();
        backend.set_full(true);
        let failed = store
            .commit(vec![put("/a", "2", Expect::Any)], Durability::Synced)
            .await;
        assert!(matches!(failed, Err(CommitError::Full { .. })));
        assert_eq!(store.get("/a").unwrap().revision, done.revision);
        store
            .commit(vec![put("/event", "e", Expect::Any)], Durability::Memory)
            .await
            .unwrap();
        backend.set_full(false);
        store
            .commit(
                vec![put("/a", "3", Expect::Revision(done.revision))],
                Durability::Synced,
            )
            .await
            .unwrap();
        assert!(text(&store, "/a").starts_with('3'));
    }

    #[tokio::test]
    async fn a_memory_write_beside_a_refused_one_goes_through() {
        let backend = MemoryBackend::new();
        let store = Store::open(Box::new(backend.clone()), Options::default())
            .await
            .unwrap();
        store
            .commit(vec![put("/a", "1", Expect::Any)], Durability::Synced)
            .await
            .unwrap();
        backend.set_full(true);
        let both = (0..200).map(|index| {
            let store = store.clone();
            let durability = if index % 2 == 0 {
                Durability::Synced
            } else {
                Durability::Memory
            };
            tokio::spawn(async move {
                let done = store
                    .commit(vec![put(&format!("/{index}"), "v", Expect::Any)], durability)
                    .await;
                assert_eq!(done.is_ok(), durability == Durability::Memory, "{done:?}");
            })
        });
        for one in both.collect::<Vec<_>>() {
            one.await.unwrap();
        }
        assert_eq!(store.snapshot().len(), 101);
    }

    #[tokio::test]
    async fn a_database_that_breaks_while_running_is_rebuilt_and_loses_nothing() {
        let backend = MemoryBackend::new();
        let store = Store::open(Box::new(backend.clone()), Options::default())
            .await
            .unwrap();
        store
            .commit(vec![put("/a", "1", Expect::Any)], Durability::Synced)
            .await
            .unwrap();
        backend.break_until_rebuilt();
        store
            .commit(vec![put("/b", "1", Expect::Any)], Durability::Synced)
            .await
            .unwrap();
        store.close().await;
        let store = Store::open(Box::new(backend), Options::default()).await.unwrap();
        assert_eq!(store.snapshot().len(), 2);
    }

    #[tokio::test]
    async fn what_was_refused_does_not_come_back_after_a_restart() {
        let backend = HalfWritten(MemoryBackend::new());
        let store = Store::open(Box::new(backend.clone()), Options::default())
            .await
            .unwrap();
        store
            .commit(vec![put("/a", "1", Expect::Any)], Durability::Synced)
            .await
            .unwrap();
        store
            .commit(
                vec![put("/fail", "x", Expect::Any), put("/a", "2", Expect::Any)],
                Durability::Synced,
            )
            .await
            .unwrap_err();
        assert!(text(&store, "/a").starts_with('1'));
        store
            .commit(vec![put("/b", "1", Expect::Any)], Durability::Synced)
            .await
            .unwrap();
        store.close().await;
        let store = Store::open(Box::new(backend), Options::default()).await.unwrap();
        assert!(store.get("/fail").is_none() && store.get("/b").is_some());
        assert!(text(&store, "/a").starts_with('1'));
    }

    /// Writes what it says it could not write, when that includes `/fail` (but for its removal).
    #[derive(Clone)]
    struct HalfWritten(MemoryBackend);

    impl Backend for HalfWritten {
        fn load(&mut self) -> Result<Loaded, BackendError> {
            self.0.load()
        }

        fn commit(&mut self, batch: &Batch) -> Result<(), BackendError> {
            self.0.commit(batch)?;
            let fails = |change: &Change| matches!(change, Change::Put(record) if &*record.key == "/fail");
            if batch.transactions.iter().flatten().any(fails) {
                let source = std::io::Error::other("as the test asked");
                return Err(BackendError::Io {
                    doing: "writing",
                    path: "memory".into(),
                    source,
                });
            }
            Ok(())
        }

        fn rebuild(
            &mut self,
            records: &mut dyn Iterator<Item = &Arc<Record>>,
            reserved: Revision,
        ) -> Result<(), BackendError> {
            self.0.rebuild(records, reserved)
        }
    }

    /// A database in sled with one snapshot and a later write; its files are then damaged.
    async fn damaged(with_snapshot: bool) -> (tempfile::TempDir, SledOptions) {
        let folder = tempfile::tempdir().unwrap();
        let snapshots = folder.path().join("snapshots");
        let options = SledOptions {
            snapshots: Some(snapshots.clone()),
            ..SledOptions::new(folder.path().join("db"))
        };
        let store = Store::open(Box::new(SledBackend::new(options.clone())), Options::default())
            .await
            .unwrap();
        store
            .commit(vec![put("/a", "1", Expect::Any)], Durability::Synced)
            .await
            .unwrap();
        if with_snapshot {
            std::fs::create_dir(&snapshots).unwrap();
            store
                .save(&snapshots.join(format!("{:020}.kobune-snapshot", store.revision())))
                .await
                .unwrap();
            // A newer one that is no good is passed over.
            std::fs::write(snapshots.join("99999999999999999999.kobune-snapshot"), "KOBUNE").unwrap();
        }
        store
            .commit(vec![put("/b", "1", Expect::Any)], Durability::Synced)
            .await
            .unwrap();
        store.close().await;
        for entry in std::fs::read_dir(options.folder.join("sled")).unwrap().flatten() {
            if entry.file_name().to_string_lossy().starts_with("snap.") {
                std::fs::write(entry.path(), [b'x'; 100]).unwrap();
            }
        }
        (folder, options)
    }

    #[tokio::test]
    async fn a_database_beyond_repair_is_restored_from_the_last_whole_snapshot() {
        let (_folder, options) = damaged(true).await;
        let store = Store::open(Box::new(SledBackend::new(options.clone())), Options::default())
            .await
            .unwrap();
        assert!(text(&store, "/a").starts_with('1'));
        store
            .commit(vec![put("/c", "1", Expect::Absent)], Durability::Synced)
            .await
            .unwrap();
        store.close().await;
        assert!(
            options.folder.join("sled.damaged").exists(),
            "the evidence is kept"
        );
        let store = Store::open(Box::new(SledBackend::new(options)), Options::default())
            .await
            .unwrap();
        assert!(store.get("/c").is_some());
        store.close().await;
    }

    #[tokio::test]
    async fn a_database_beyond_repair_without_snapshot_is_left_alone_and_told() {
        let (_folder, options) = damaged(false).await;
        let opened = Store::open(Box::new(SledBackend::new(options.clone())), Options::default()).await;
        assert!(matches!(opened, Err(OpenError::Load(_))));
        assert!(options.folder.join("sled/db").exists());
    }

    #[tokio::test]
    async fn a_database_killed_while_it_opened_opens_again_with_everything() {
        let folder = tempfile::tempdir().unwrap();
        let options = SledOptions::new(folder.path().join("db"));
        for round in 0..3 {
            let store = Store::open(Box::new(SledBackend::new(options.clone())), Options::default())
                .await
                .unwrap();
            assert_eq!(store.get("/a").is_some(), round > 0);
            store
                .commit(vec![put("/a", "1", Expect::Any)], Durability::Synced)
                .await
                .unwrap();
            store.close().await;
            // What sled leaves when it is killed while it notes where its pages are.
            for cut_off in [
                "snap.00000000000000FF.generating",
                "snap.7000000000000000.generating",
            ] {
                std::fs::write(options.folder.join("sled").join(cut_off), vec![b'x'; round * 50]).unwrap();
            }
        }
    }
}
