//! What every backend must keep, run against each of them.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

mod commits;
mod faults;
mod large;
mod reads;
mod saved;
#[path = "../support/mod.rs"]
mod support;
mod watches;

use kobune_store::memory_backend::MemoryBackend;
use kobune_store::sled_backend::{SledBackend, SledOptions};
use kobune_store::{Backend, Options, Store};

use commits::*;
use large::*;
use reads::*;
use saved::*;
use watches::*;

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
