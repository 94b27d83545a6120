//! Nothing that was acknowledged is lost and nothing is torn: not by SIGKILL, not by a power cut, not by
//! a full disk.
//!
//! The suite starts itself again as a *writer process* (the ignored test `writer_process`), in which 64 writers
//! commit as fast as they can and report each acknowledgement over a pipe. The suite ends it at a
//! random moment, opens what it left, and compares. `KOBUNE_SEED` repeats the moments of a failed run,
//! `KOBUNE_KILLS` and `KOBUNE_CUTS` change how many there are.
//!
//! Power cuts and full disks need root, loop devices and mkfs.ext4; without them those tests fail.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

mod loop_mount;
mod support;
mod writers;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use kobune_store::sled_backend::{SledBackend, SledOptions};
use kobune_store::{CommitError, Durability, Expect, Options, Store};
use loop_mount::LoopMount;
use support::{Random, put};
use writers::{Acknowledged, RECORDS, verify};

/// The suite's other half; started by it only.
#[test]
#[ignore = "started by the other tests as a process of its own"]
fn writer_process() {
    let folder = std::env::var("KOBUNE_CRASH_FOLDER").expect("started by the suite");
    let seed = std::env::var("KOBUNE_CRASH_SEED").expect("started by the suite");
    runtime().block_on(writers::write_on(
        Path::new(&folder),
        seed.parse().expect("a number"),
    ));
}

#[test]
fn acknowledged_writes_survive_sigkill() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::new("acknowledged_writes_survive_sigkill");
    let mut known = Acknowledged::default();
    for round in 0..count("KOBUNE_KILLS", 200) {
        let writer = Writer::start(folder.path(), random.next());
        // Every other one while it opens.
        let latest = if round % 2 == 0 { 200 } else { 30 };
        std::thread::sleep(Duration::from_millis(random.below(latest)));
        writer.kill(&mut known);
        check(folder.path(), &mut known, &format!("kill {round}"));
    }
    println!("{known}");
    assert!(known.total > 2_000, "too few writes to mean anything: {known}");
}

#[test]
fn acknowledged_writes_survive_power_cuts() {
    let disk = LoopMount::new(384 << 20);
    let mut random = Random::new("acknowledged_writes_survive_power_cuts");
    let mut known = Acknowledged::default();
    for round in 0..count("KOBUNE_CUTS", 25) {
        let writer = Writer::start(&disk.path().join("db"), random.next());
        std::thread::sleep(Duration::from_millis(random.below(600)));
        disk.cut_power();
        // What it acknowledges from now on, it acknowledges because it was on disk before.
        writer.kill(&mut known);
        disk.restart();
        check(&disk.path().join("db"), &mut known, &format!("cut {round}"));
    }
    println!("{known}");
    assert!(known.total > 1_000, "too few writes to mean anything: {known}");
}

#[test]
fn a_full_disk_refuses_writes_keeps_reads_and_recovers() {
    let disk = LoopMount::new(512 << 20);
    fill_and_recover(&disk, 16 << 20);
}

#[test]
fn a_database_that_hits_the_end_of_the_disk_recovers() {
    let disk = LoopMount::new(512 << 20);
    // Without the spare space, sled itself runs out, in the middle of whatever it does.
    fill_and_recover(&disk, 0);
}

fn fill_and_recover(disk: &LoopMount, spare_bytes: u64) {
    let options = SledOptions {
        spare_bytes,
        ..SledOptions::new(disk.path().join("db"))
    };
    runtime().block_on(async {
        let store = Store::open(Box::new(SledBackend::new(options.clone())), Options::default())
            .await
            .unwrap();
        let mut random = Random::new("fill_and_recover");
        for round in 0..6 {
            store
                .commit(
                    vec![put("/kept", &round.to_string(), Expect::Any)],
                    Durability::Synced,
                )
                .await
                .unwrap();
            let filler = disk.path().join("filler");
            // The disk is filled in turn by somebody else, to some degree, and by the store.
            let left = if round % 3 == 0 {
                0
            } else {
                spare_bytes + random.below(24 << 20)
            };
            loop_mount::fill(&filler, left);
            let stored = fill_store(&store, &mut random).await;
            assert!(
                store
                    .get("/kept")
                    .unwrap()
                    .value
                    .starts_with(round.to_string().as_bytes())
            );
            assert_eq!(store.snapshot().count("/fill/"), stored);
            store
                .commit(vec![put("/event", "e", Expect::Any)], Durability::Memory)
                .await
                .unwrap();
            std::fs::remove_file(&filler).unwrap();
            let done = store
                .commit(vec![put("/kept", "again", Expect::Exists)], Durability::Synced)
                .await;
            assert!(done.is_ok(), "round {round}, after the space came back: {done:?}");
            let keys: Vec<_> = store
                .snapshot()
                .range("/fill/", None)
                .map(|record| record.key.clone())
                .collect();
            for keys in keys.chunks(100) {
                let deletes = keys.iter().map(|key| support::delete(key)).collect();
                store.commit(deletes, Durability::Synced).await.unwrap();
            }
            store
                .commit(
                    vec![put("/last", &round.to_string(), Expect::Any)],
                    Durability::Synced,
                )
                .await
                .unwrap();
        }
        let before: Vec<_> = store
            .snapshot()
            .range("", None)
            .map(|record| (record.key.clone(), record.value.clone()))
            .collect();
        store.close().await;
        let store = Store::open(Box::new(SledBackend::new(options)), Options::default())
            .await
            .unwrap();
        let durable = |records: Vec<(std::sync::Arc<str>, bytes::Bytes)>| -> Vec<_> {
            records
                .into_iter()
                .filter(|(key, _)| &**key != "/event")
                .collect()
        };
        let after = store
            .snapshot()
            .range("", None)
            .map(|record| (record.key.clone(), record.value.clone()))
            .collect();
        assert_eq!(
            durable(before),
            durable(after),
            "what was refused must not come back"
        );
        store.close().await;
    });
}

/// Writes until it is refused for lack of space; returns how many records went in.
async fn fill_store(store: &Store, random: &mut Random) -> usize {
    for index in 0.. {
        let bytes = "f".repeat(1 + random.below(256 << 10) as usize);
        match store
            .commit(
                vec![put(&format!("/fill/{index}"), &bytes, Expect::Absent)],
                Durability::Synced,
            )
            .await
        {
            Ok(_) => {}
            Err(CommitError::Full { .. }) => {
                // It says so every time, and promptly.
                let again = store
                    .commit(vec![put("/fill/x", &bytes, Expect::Absent)], Durability::Synced)
                    .await;
                let Err(error @ CommitError::Full { .. }) = again else {
                    // A smaller need may still fit; then it is there.
                    return index + usize::from(again.is_ok());
                };
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                println!(
                    "refused after {index} values: {error}: {}",
                    cause.unwrap_or_default()
                );
                return index;
            }
            Err(other) => panic!("not told as a lack of space: {other:?}"),
        }
    }
    unreachable!("a disk is finite")
}

/// A running writer process.
struct Writer {
    child: Child,
    reports: JoinHandle<Acknowledged>,
}

impl Writer {
    fn start(folder: &Path, seed: u64) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "writer_process",
                "--exact",
                "--ignored",
                "--nocapture",
                "--test-threads=1",
            ])
            .env("KOBUNE_CRASH_FOLDER", folder)
            .env("KOBUNE_CRASH_SEED", seed.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let pipe = BufReader::new(child.stdout.take().unwrap());
        let reports = std::thread::spawn(move || {
            let mut known = Acknowledged::default();
            // A line that is cut off was not acknowledged.
            pipe.lines()
                .map_while(Result::ok)
                .for_each(|line| known.report(&line));
            known
        });
        Self { child, reports }
    }

    /// SIGKILL; adds what it had acknowledged to `known`.
    fn kill(mut self, known: &mut Acknowledged) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        known.add(self.reports.join().unwrap());
    }
}

/// Opens what a writer process left and compares it with what it had acknowledged.
fn check(folder: &Path, known: &mut Acknowledged, when: &str) {
    runtime().block_on(async {
        let backend = SledBackend::new(SledOptions::new(folder));
        let store = match Store::open(Box::new(backend), Options::default()).await {
            Ok(store) => store,
            Err(error) => panic!("{when}: it does not open: {error:?}"),
        };
        verify(&store, known, when);
        let next = store
            .commit(vec![put("/next", when, Expect::Any)], Durability::Synced)
            .await
            .unwrap();
        assert!(
            next.revision > known.revision,
            "{when}: revision {} was handed out before",
            known.revision
        );
        known.revision = next.revision;
        store.close().await;
        assert!(
            store.snapshot().len() <= RECORDS + 1,
            "{when}: there is more than was written"
        );
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

fn count(variable: &str, usual: u32) -> u32 {
    std::env::var(variable).map_or(usual, |count| count.parse().expect("a number"))
}
