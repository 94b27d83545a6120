//! What the writers of the crash suite write, and how it must look whenever they are stopped.
//!
//! Writer `w` commits step after step, each one commit of `/w/{w}/a` and `/w/{w}/b` (both of that step) and
//! sometimes `/w/{w}/c`, created when the step is a multiple of 5 and deleted 3 steps later. Every 20th step
//! also writes one of 60 keys that are then left alone for long: those the journal has forgotten. Every value
//! says its writer and step and goes on with bytes that follow from them. Hence, after any crash: `a`
//! and `b` are of one step, which is the acknowledged one or the next; `c` is there iff it should be, and each
//! of the keys left alone is of the step that wrote it last.

use std::collections::HashMap;
use std::fmt;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kobune_store::sled_backend::{SledBackend, SledOptions};
use kobune_store::{Durability, Expect, Op, Options, Record, Store, Value};

/// How many write at a time.
pub const WRITERS: usize = 64;
/// The last writer's commits are `Memory` ones: of them only the revisions must hold.
const FORGETFUL: usize = WRITERS - 1;
/// How often a key is written that is then left alone, and how many of them a writer has.
const ALONE_EVERY: u64 = 20;
const ALONE: u64 = 60;
/// The most records there are.
pub const RECORDS: usize = WRITERS * (3 + ALONE as usize);

/// What was acknowledged.
#[derive(Default)]
pub struct Acknowledged {
    /// The last step of each writer.
    steps: HashMap<usize, u64>,
    /// The highest revision.
    pub revision: u64,
    /// How many commits.
    pub total: u64,
}

impl Acknowledged {
    /// Reads a line of a writer process.
    pub fn report(&mut self, line: &str) {
        // libtest writes to the same pipe, sometimes without ending its line.
        let Some((_, report)) = line.rsplit_once("ack ") else {
            return;
        };
        let mut numbers = report.split(' ').map_while(|number| number.parse().ok());
        let (Some(writer), Some(step), Some(revision), Some(_)) =
            (numbers.next(), numbers.next(), numbers.next(), numbers.next())
        else {
            return;
        };
        self.steps.insert(writer as usize, step);
        self.revision = self.revision.max(revision);
        self.total += 1;
    }

    /// Adds what a later process acknowledged.
    pub fn add(&mut self, later: Acknowledged) {
        self.steps.extend(later.steps);
        self.revision = self.revision.max(later.revision);
        self.total += later.total;
    }
}

impl fmt::Display for Acknowledged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} acknowledged commits, all there", self.total)
    }
}

/// Writes until it is killed.
pub async fn write_on(folder: &Path, seed: u64) {
    let backend = SledBackend::new(SledOptions::new(folder));
    let store = match Store::open(Box::new(backend), Options::default()).await {
        Ok(store) => store,
        // Cut off while opening. Whether it opens when it can is for the suite to see.
        Err(_) => return std::future::pending().await,
    };
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write_steps(store.clone(), writer, seed)))
        .collect();
    for writer in writers {
        // A disk without power refuses; the suite ends us in a moment.
        let _ = writer.await;
    }
    std::future::pending::<()>().await;
}

async fn write_steps(store: Store, writer: usize, seed: u64) {
    let mut step = store.get(&key(writer, "a")).map_or(0, |record| step_of(&record));
    let durability = if writer == FORGETFUL {
        Durability::Memory
    } else {
        Durability::Synced
    };
    loop {
        step += 1;
        let Ok(done) = store.commit(ops(writer, step, seed), durability).await else {
            return;
        };
        // One short write is whole or not there; the last number tells that it is whole.
        let line = format!("ack {writer} {step} {} 0\n", done.revision);
        if std::io::stdout().lock().write_all(line.as_bytes()).is_err() {
            return;
        }
        if writer == FORGETFUL {
            // It would leave nothing of the machine to the others.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn ops(writer: usize, step: u64, seed: u64) -> Vec<Op> {
    let large = match (seed ^ step.wrapping_mul(0x9e37_79b9_7f4a_7c15)) % 97 {
        0 if writer < 4 => 1_600_000,
        chance if chance < 5 => 40_000,
        chance => chance as usize * 10,
    };
    let mut ops = vec![put(writer, "a", step, 100), put(writer, "b", step, large)];
    if step.is_multiple_of(ALONE_EVERY) {
        ops.push(put(writer, &alone(step / ALONE_EVERY), step, 1_000));
    }
    match step % 5 {
        0 => ops.push(put(writer, "c", step, 9_000)),
        3 => ops.push(Op::Delete {
            key: key(writer, "c").into(),
            expect: Expect::Any,
            last: None,
        }),
        _ => {}
    }
    ops
}

fn key(writer: usize, name: &str) -> String {
    format!("/w/{writer}/{name}")
}

/// The name of the key that is written at the `turn`th time and then left alone.
fn alone(turn: u64) -> String {
    format!("alone/{}", turn % ALONE)
}

fn put(writer: usize, name: &str, step: u64, size: usize) -> Op {
    let head = format!("{writer} {step} {size} ");
    let revision_slot = Some(head.len());
    let mut bytes = head.into_bytes();
    bytes.push(b' ');
    bytes.extend(content(writer, step, size));
    Op::Put {
        key: key(writer, name).into(),
        value: Value { bytes, revision_slot },
        expect: Expect::Any,
    }
}

/// Bytes that follow from who writes them.
fn content(writer: usize, step: u64, size: usize) -> impl Iterator<Item = u8> {
    let mut state = step.wrapping_mul(WRITERS as u64).wrapping_add(writer as u64);
    (0..size).map(move |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
}

/// The step a record says it is of.
fn step_of(record: &Record) -> u64 {
    numbers(record).1
}

/// Writer, step, size, revision; and the content.
fn numbers(record: &Record) -> (usize, u64, usize, u64, &[u8]) {
    let mut parts = record.value.splitn(5, |byte| *byte == b' ');
    let mut number = || -> u64 {
        let part = parts.next().unwrap_or_default();
        let number = std::str::from_utf8(part)
            .ok()
            .and_then(|digits| digits.parse().ok());
        number.unwrap_or_else(|| panic!("{record:?} is torn"))
    };
    let head = (number() as usize, number(), number() as usize, number());
    (head.0, head.1, head.2, head.3, parts.next().unwrap_or_default())
}

/// Compares a reopened store with what was acknowledged, and takes over the steps that are there.
pub fn verify(store: &Store, known: &mut Acknowledged, when: &str) {
    assert!(store.revision() >= known.revision, "{when}: revisions went back");
    for writer in 0..WRITERS {
        let [a, b, c] = ["a", "b", "c"].map(|name| store.get(&key(writer, name)));
        for record in [&a, &b, &c].into_iter().flatten() {
            whole(record, writer, when);
        }
        if writer == FORGETFUL {
            assert!(a.is_none(), "{when}: a Memory write was on disk");
            known.steps.remove(&writer);
            continue;
        }
        let step = |record: &Option<Arc<Record>>| record.as_ref().map_or(0, |record| step_of(record));
        let acknowledged = known.steps.get(&writer).copied().unwrap_or(0);
        let found = step(&a);
        assert!(
            found == acknowledged || found == acknowledged + 1,
            "{when}: writer {writer} is at step {found}, acknowledged was {acknowledged}"
        );
        assert_eq!(found, step(&b), "{when}: writer {writer}'s commit was torn");
        let expected = if found < 5 || found % 5 >= 3 {
            0
        } else {
            found - found % 5
        };
        assert_eq!(
            step(&c),
            expected,
            "{when}: writer {writer}'s commit {found} was torn"
        );
        let turns = found / ALONE_EVERY;
        for turn in (turns.saturating_sub(ALONE - 1)..=turns).filter(|turn| *turn > 0) {
            let record = store.get(&key(writer, &alone(turn)));
            record.iter().for_each(|record| whole(record, writer, when));
            assert_eq!(
                step(&record),
                turn * ALONE_EVERY,
                "{when}: writer {writer}, at step {found}, lost what was left alone"
            );
        }
        known.steps.insert(writer, found);
    }
}

fn whole(record: &Record, writer: usize, when: &str) {
    let (by, step, size, revision, bytes) = numbers(record);
    assert_eq!(
        (by, revision),
        (writer, record.revision),
        "{when}: {record:?} is torn"
    );
    assert!(
        content(writer, step, size).eq(bytes.iter().copied()),
        "{when}: {record:?} is torn"
    );
}
