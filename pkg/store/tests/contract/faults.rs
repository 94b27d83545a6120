//! Only a backend that fails on demand can show these.

use std::sync::Arc;

use kobune_store::memory_backend::MemoryBackend;
use kobune_store::sled_backend::{SledBackend, SledOptions};
use kobune_store::{
    Backend, BackendError, Batch, Change, CommitError, Durability, Expect, Loaded, OpenError, Options,
    Record, Revision, Store,
};

use crate::support::{put, text};

async fn open(backend: impl Backend + 'static) -> Store {
    Store::open(Box::new(backend), Options::default()).await.unwrap()
}

/// Writes `1` under a key; the revision it has then.
async fn write(store: &Store, key: &str) -> Revision {
    let ops = vec![put(key, "1", Expect::Any)];
    store.commit(ops, Durability::Synced).await.unwrap().revision
}

#[tokio::test]
async fn a_full_disk_refuses_writes_keeps_reads_and_recovers() {
    let backend = MemoryBackend::new();
    let store = open(backend.clone()).await;
    let revision = write(&store, "/a").await;
    backend.set_full(true);
    let failed = store
        .commit(vec![put("/a", "2", Expect::Any)], Durability::Synced)
        .await;
    assert!(matches!(failed, Err(CommitError::Full { .. })));
    assert_eq!(store.get("/a").unwrap().revision, revision);
    store
        .commit(vec![put("/event", "e", Expect::Any)], Durability::Memory)
        .await
        .unwrap();
    backend.set_full(false);
    store
        .commit(
            vec![put("/a", "3", Expect::Revision(revision))],
            Durability::Synced,
        )
        .await
        .unwrap();
    assert!(text(&store, "/a").starts_with('3'));
}

#[tokio::test]
async fn a_memory_write_beside_a_refused_one_goes_through() {
    let backend = MemoryBackend::new();
    let store = open(backend.clone()).await;
    write(&store, "/a").await;
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
    let store = open(backend.clone()).await;
    write(&store, "/a").await;
    backend.break_until_rebuilt();
    write(&store, "/b").await;
    store.close().await;
    let store = open(backend).await;
    assert_eq!(store.snapshot().len(), 2);
}

#[tokio::test]
async fn what_was_refused_does_not_come_back_after_a_restart() {
    let backend = HalfWritten(MemoryBackend::new());
    let store = open(backend.clone()).await;
    write(&store, "/a").await;
    store
        .commit(
            vec![put("/fail", "x", Expect::Any), put("/a", "2", Expect::Any)],
            Durability::Synced,
        )
        .await
        .unwrap_err();
    assert!(text(&store, "/a").starts_with('1'));
    write(&store, "/b").await;
    store.close().await;
    let store = open(backend).await;
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
    let store = open(SledBackend::new(options.clone())).await;
    write(&store, "/a").await;
    if with_snapshot {
        std::fs::create_dir(&snapshots).unwrap();
        store
            .save(&snapshots.join(format!("{:020}.kobune-snapshot", store.revision())))
            .await
            .unwrap();
        // A newer one that is no good is passed over.
        std::fs::write(snapshots.join("99999999999999999999.kobune-snapshot"), "KOBUNE").unwrap();
    }
    write(&store, "/b").await;
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
    let store = open(SledBackend::new(options.clone())).await;
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
    let store = open(SledBackend::new(options)).await;
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
        let store = open(SledBackend::new(options.clone())).await;
        assert_eq!(store.get("/a").is_some(), round > 0);
        write(&store, "/a").await;
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
