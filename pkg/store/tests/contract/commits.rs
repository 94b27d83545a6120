//! Commits: what is there afterwards, and what is refused.

use kobune_store::{CommitError, Durability, Expect, Op, Store};

use crate::Place;
use crate::support::{delete, put, text};

pub async fn a_synced_write_is_there_after_a_restart(place: Place) {
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

pub async fn a_memory_write_is_seen_and_watched_but_gone_after_a_restart(place: Place) {
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

pub async fn revisions_rise_by_one_per_commit_and_never_repeat(place: Place) {
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

pub async fn reopened_after_abandoning(place: &Place, old: &Store) -> Store {
    // One process holds a sled database at a time; a closed store is the nearest thing here. The crash suite
    // has the real thing.
    old.close().await;
    place.open().await
}

pub async fn a_failed_condition_changes_nothing_and_tells_what_is_there(place: Place) {
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

pub async fn of_many_writers_of_one_key_exactly_one_wins_each_round(place: Place) {
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

pub async fn the_operations_of_a_commit_share_a_revision(place: Place) {
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
