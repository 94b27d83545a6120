//! Watches, and waiting for a revision.

use std::sync::Arc;
use std::time::Duration;

use kobune_store::{
    CommitError, Durability, EventKind, Expect, Op, Options, RevisionError, Value, WatchError,
};

use crate::Place;
use crate::support::put;

pub async fn a_watch_gets_every_change_once_and_in_order(place: Place) {
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

pub async fn a_watch_gets_only_its_prefix_and_the_final_state_of_a_deletion(place: Place) {
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

pub async fn many_watches_of_fast_changes_get_each_once_and_in_order(place: Place) {
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

pub async fn a_watch_that_falls_too_far_behind_is_told(place: Place) {
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

pub async fn a_quiet_watch_outlives_the_history(place: Place) {
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

pub async fn bookmarks_follow_what_was_delivered(place: Place) {
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

pub async fn history_is_forgotten_by_bytes(place: Place) {
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

pub async fn waiting_for_a_revision_ends_when_it_comes(place: Place) {
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

pub async fn watches_end_behind_what_they_have_to_tell(place: Place) {
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

pub async fn a_closed_store_refuses_writes_and_ends_watches(place: Place) {
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
