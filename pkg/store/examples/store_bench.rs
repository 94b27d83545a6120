//! What the store does alone: commits a second for 1 and 64 writers, watch fan-out, memory.
//!
//! `cargo run --release -p kobune-store --example store_bench [-- FOLDER [memory]]`; the folder decides
//! which disk is measured, `memory` leaves out the rest.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kobune_store::sled_backend::{SledBackend, SledOptions};
use kobune_store::{Durability, Expect, Op, Options, Store, Value};

const SIZE: usize = 1024;

fn main() {
    let folder = std::env::args()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = folder.join(format!("store-bench-{}", std::process::id()));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.expect("the operating system gives threads");
    if let Some(reopen) = std::env::var_os("STORE_BENCH_REOPEN") {
        return runtime.block_on(reopened(Path::new(&reopen)));
    }
    let only_memory = std::env::args().nth(2).is_some_and(|part| part == "memory");
    runtime.block_on(async {
        // First, in a fresh process: what was freed before does not count.
        memory(&folder).await;
        if only_memory {
            return;
        }
        for (writers, commits, durability) in [
            (1, 5_000, Durability::Synced),
            (32, 40_000, Durability::Synced),
            (64, 60_000, Durability::Synced),
            (1, 50_000, Durability::Memory),
            (64, 200_000, Durability::Memory),
        ] {
            commits_per_second(&folder, writers, commits, durability).await;
        }
        for (watchers, updates) in [(200, 5_000), (2_000, 1_000)] {
            fan_out(&folder, watchers, updates).await;
        }
    });
}

async fn open(folder: &Path) -> Store {
    let backend = SledBackend::new(SledOptions::new(folder));
    Store::open(Box::new(backend), Options::default())
        .await
        .expect("the folder can be written")
}

async fn clean(store: Store, folder: &Path) {
    store.close().await;
    if let Err(error) = std::fs::remove_dir_all(folder) {
        println!("{} stays: {error}", folder.display());
    }
}

fn put(key: &str) -> Op {
    let value = Value {
        bytes: vec![b'x'; SIZE],
        revision_slot: Some(100),
    };
    Op::Put {
        key: key.into(),
        value,
        expect: Expect::Any,
    }
}

async fn commits_per_second(folder: &Path, writers: usize, commits: usize, durability: Durability) {
    let store = open(folder).await;
    let start = Instant::now();
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut waits = Vec::with_capacity(commits / writers);
                for index in 0..commits / writers {
                    let key = format!("/registry/core/configmaps/bench/w{writer}-{}", index % 1000);
                    let begun = Instant::now();
                    store
                        .commit(vec![put(&key)], durability)
                        .await
                        .expect("the disk has space");
                    waits.push(begun.elapsed());
                }
                waits
            })
        })
        .collect();
    let mut waits = Vec::with_capacity(commits);
    for task in tasks {
        waits.extend(task.await.expect("a writer ends"));
    }
    let rate = waits.len() as f64 / start.elapsed().as_secs_f64();
    waits.sort();
    let at = |part: f64| waits[((waits.len() - 1) as f64 * part) as usize];
    println!(
        "{writers:3} writers, {durability:?}: {rate:8.0} commits/s, p50 {:?}, p99 {:?}, database {} KiB",
        at(0.5),
        at(0.99),
        disk_bytes(folder) >> 10
    );
    clean(store, folder).await;
}

fn disk_bytes(folder: &Path) -> u64 {
    std::fs::metadata(folder.join("sled/db")).map_or(0, |file| file.len())
}

async fn fan_out(folder: &Path, watchers: usize, updates: usize) {
    let store = open(folder).await;
    let start = Instant::now();
    let tasks: Vec<_> = (0..watchers)
        .map(|_| {
            let mut watch = store
                .watch("/registry/core/configmaps/", store.revision())
                .expect("it is the newest");
            tokio::spawn(async move {
                let mut got = 0;
                while got < updates {
                    watch
                        .next()
                        .await
                        .expect("the store is open")
                        .expect("it does not lag");
                    got += 1;
                    while watch.try_next().is_some() {
                        got += 1;
                    }
                }
            })
        })
        .collect();
    for index in 0..updates {
        let key = format!("/registry/core/configmaps/bench/{}", index % 10);
        store
            .commit(vec![put(&key)], Durability::Synced)
            .await
            .expect("the disk has space");
    }
    let written = start.elapsed();
    for task in tasks {
        task.await.expect("a watcher ends");
    }
    let rate = (watchers * updates) as f64 / start.elapsed().as_secs_f64();
    println!("{watchers} watchers x {updates} updates: {rate:8.0} events/s (updates alone {written:?})");
    clean(store, folder).await;
}

async fn memory(folder: &Path) {
    let store = open(folder).await;
    println!("memory: {} KiB empty", resident());
    for index in 0..10_000 {
        let key = format!("/registry/core/configmaps/bench/cm-{index}");
        store
            .commit(vec![put(&key)], Durability::Synced)
            .await
            .expect("the disk has space");
    }
    println!("memory: {} KiB right after creating 10,000 x 1 KiB", resident());
    tokio::time::sleep(Duration::from_secs(5)).await;
    println!("memory: {} KiB 5 s later", resident());
    for _ in 0..5 {
        for index in 0..10_000 {
            let key = format!("/registry/core/configmaps/bench/cm-{index}");
            store
                .commit(vec![put(&key)], Durability::Synced)
                .await
                .expect("the disk has space");
        }
    }
    println!("memory: {} KiB right after updating each 5 times", resident());
    tokio::time::sleep(Duration::from_secs(5)).await;
    println!(
        "memory: {} KiB 5 s later, history {} revisions",
        resident(),
        history(&store)
    );
    store.close().await;
    drop(store);
    let again = std::env::current_exe().map(std::process::Command::new);
    let ran = again.and_then(|mut process| process.env("STORE_BENCH_REOPEN", folder).status());
    ran.expect("this program starts again");
    clean(open(folder).await, folder).await;
}

/// In a fresh process.
async fn reopened(folder: &Path) {
    let begun = Instant::now();
    let store = open(folder).await;
    println!(
        "memory: {} KiB after a restart that took {:?}",
        resident(),
        begun.elapsed()
    );
    store.close().await;
}

/// How many revisions back the history goes.
fn history(store: &Store) -> u64 {
    match store.snapshot_at(0) {
        Err(kobune_store::RevisionError::Compacted { oldest }) => store.revision() - oldest,
        _ => store.revision(),
    }
}

/// Resident set, KiB.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok())
        .map_or(0, |pages| pages * 4)
}
