//! The thread that alone writes: it groups what waits, checks it, makes it durable, publishes it.
//!
//! ```text
//!  wait for a request ─▶ take all that wait ─▶ plan ─▶ backend.commit ─▶ publish ─▶ acknowledge ─▶ wake
//!        ▲ (or for something to forget, rest, save)                                             │
//!        └──────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! It never waits for a group to fill: while one batch is on its way to the disk, the next gathers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::{error, info, warn};

use crate::backend::{Backend, BackendError, Batch, Change};
use crate::error::CommitError;
use crate::hub::Hub;
use crate::logical::Saver;
use crate::op::{Committed, Durability, Op};
use crate::plan::{self, Effect};
use crate::record::{Event, Revision};
use crate::snapshot::Snapshot;

/// A group is closed at this many bytes of values, so that no one waits for too long a batch.
const GROUP_BYTES: usize = 1 << 20;
/// And at this many requests.
const GROUP_REQUESTS: usize = 512;
/// Old events are forgotten in lots, not one by one.
const SHED_EVERY: Duration = Duration::from_secs(30);
/// How long after the last of many writes the backend is asked to give back memory.
const REST_AFTER: Duration = Duration::from_secs(2);
/// How many bytes of values make it worth while.
const REST_BYTES: usize = 4 << 20;

/// What the committer is asked.
pub(crate) enum Message {
    /// Commit this.
    Commit(Request),
    /// Finish what came before and end.
    Close(oneshot::Sender<()>),
}

/// A commit that waits to be done.
pub(crate) struct Request {
    pub ops: Vec<Op>,
    pub durability: Durability,
    pub reply: oneshot::Sender<Answer>,
}

/// What comes of a request. Its operations go back with it: memory is best freed by the thread that
/// allocated it, else the allocator puts long-lived values between the pieces of later requests.
pub(crate) type Answer = (Result<Committed, CommitError>, Vec<Op>);

impl Request {
    fn answer(self, outcome: Result<Committed, CommitError>) {
        // Who asked may have stopped waiting; the outcome stands.
        let _ = self.reply.send((outcome, self.ops));
    }
}

/// The committer's own state.
pub(crate) struct Committer {
    pub hub: Arc<Hub>,
    pub backend: Box<dyn Backend>,
    /// The newest revision assigned, be it that its commit failed.
    pub assigned: Revision,
    /// The highest revision that may be assigned as far as the backend knows.
    pub reserved: Revision,
    /// How many revisions are reserved at a time.
    pub block: u64,
    /// Writes regular logical snapshots.
    pub saver: Option<Saver>,
    /// Keys whose state in the backend is unknown since a batch with them failed.
    pub doubtful: BTreeSet<Arc<str>>,
    /// When to forget old events.
    pub shed_at: Option<Instant>,
    /// When to let the backend rest.
    pub rest_at: Option<Instant>,
    /// Bytes written since it last rested.
    pub unrested: usize,
}

/// A group of requests and what they come to.
struct Plan {
    next: Snapshot,
    outcomes: Vec<Result<(Revision, Effect), CommitError>>,
    batch: Batch,
    bytes: usize,
}

impl Committer {
    /// Works until it is told to close or no store is left.
    pub(crate) fn run(mut self, messages: &Receiver<Message>) {
        let closed = loop {
            match self.wait(messages) {
                Err(RecvTimeoutError::Timeout) => self.keep_house(Instant::now()),
                Err(RecvTimeoutError::Disconnected) => break None,
                Ok(Message::Close(reply)) => break Some(reply),
                Ok(Message::Commit(first)) => {
                    let (group, close) = gather(first, messages);
                    self.commit(group);
                    if close.is_some() {
                        break close;
                    }
                }
            }
        };
        self.finish();
        // Lets go of the database, so that who asked may open it again.
        drop(self);
        if let Some(reply) = closed {
            // Who asked may have stopped waiting.
            let _ = reply.send(());
        }
    }

    fn wait(&self, messages: &Receiver<Message>) -> Result<Message, RecvTimeoutError> {
        let saver = self.saver.as_ref().and_then(Saver::due);
        match [self.shed_at, self.rest_at, saver].into_iter().flatten().min() {
            None => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(at) => messages.recv_timeout(at.saturating_duration_since(Instant::now())),
        }
    }

    fn commit(&mut self, mut group: Vec<Request>) {
        let mut plan = self.plan(&group);
        while !plan.batch.is_empty() {
            let Err(failure) = self.write(&plan.batch) else {
                self.reserved = plan.batch.reserved.unwrap_or(self.reserved);
                self.doubtful.clear();
                break;
            };
            // Some of the group may need no disk: they get another try without those that failed.
            group = self.refuse(group, plan, failure);
            plan = self.plan(&group);
        }
        self.publish(group, plan);
    }

    /// What `group` comes to, on top of the published state.
    fn plan(&mut self, group: &[Request]) -> Plan {
        let next = self.hub.tip().clone();
        let mut plan = Plan {
            next,
            outcomes: Vec::with_capacity(group.len()),
            batch: Batch::default(),
            bytes: 0,
        };
        for request in group {
            let revision = self.assigned + 1;
            let outcome = plan::apply(&mut plan.next.records, &request.ops, revision);
            if let Ok(effect) = &outcome
                && !effect.events.is_empty()
            {
                self.assigned = revision;
                plan.next.revision = revision;
            }
            let outcome = outcome.map(|mut effect| {
                if request.durability == Durability::Synced && !effect.changes.is_empty() {
                    plan.bytes += request.ops.iter().map(Op::value_bytes).sum::<usize>();
                    plan.batch.transactions.push(std::mem::take(&mut effect.changes));
                }
                (plan.next.revision, effect)
            });
            plan.outcomes.push(outcome);
        }
        self.settle_doubts(&mut plan);
        // A batch that is written anyway takes the next reservation along early.
        let margin = if plan.batch.is_empty() { 0 } else { self.block / 2 };
        if plan.next.revision + margin > self.reserved && plan.outcomes.iter().any(Result::is_ok) {
            plan.batch.reserved = Some(plan.next.revision + self.block);
        }
        plan
    }

    /// Writes keys of failed batches again, as they are in truth, before anything else.
    fn settle_doubts(&self, plan: &mut Plan) {
        if plan.batch.is_empty() || self.doubtful.is_empty() {
            return;
        }
        let tip = self.hub.tip();
        let truth = |key: &Arc<str>| match tip.get(key) {
            Some(record) => Change::Put(record.clone()),
            None => Change::Delete(key.clone()),
        };
        plan.batch
            .transactions
            .insert(0, self.doubtful.iter().map(truth).collect());
    }

    /// Writes the batch; a database that is beyond repair is built anew from memory first.
    fn write(&mut self, batch: &Batch) -> Result<(), BackendError> {
        let failure = match self.backend.commit(batch) {
            Err(failure @ (BackendError::Panicked { .. } | BackendError::Damaged { .. })) => failure,
            result => return result,
        };
        error!(error = %failure, "the database failed; building it anew from memory");
        let tip = self.hub.tip().clone();
        let mut records = tip.records.values();
        self.backend.rebuild(&mut records, self.reserved)?;
        info!(
            records = tip.len(),
            revision = tip.revision,
            "the database was built anew"
        );
        self.backend.commit(batch)
    }

    /// Answers the requests that needed the failed batch, and returns the others.
    fn refuse(&mut self, group: Vec<Request>, plan: Plan, failure: BackendError) -> Vec<Request> {
        let full = failure.is_full();
        let source = Arc::new(failure);
        warn!(error = %source, full, "a batch could not be written");
        let failed = || {
            let source = source.clone();
            if full {
                CommitError::Full { source }
            } else {
                CommitError::Backend { source }
            }
        };
        self.doubtful.extend(
            plan.batch
                .transactions
                .iter()
                .flatten()
                .map(|change| match change {
                    Change::Put(record) => record.key.clone(),
                    Change::Delete(key) => key.clone(),
                }),
        );
        let only_reservation = plan.batch.transactions.is_empty();
        let mut others = Vec::new();
        for (request, outcome) in group.into_iter().zip(plan.outcomes) {
            // A conflict may have been with a write that did not come about; it then needs the disk too.
            if request.durability == Durability::Synced || only_reservation && outcome.is_ok() {
                request.answer(Err(failed()));
            } else {
                others.push(request);
            }
        }
        others
    }

    fn publish(&mut self, group: Vec<Request>, mut plan: Plan) {
        let now = Instant::now();
        let events: Vec<Arc<Event>> = plan
            .outcomes
            .iter_mut()
            .flatten()
            .flat_map(|(_, effect)| std::mem::take(&mut effect.events))
            .collect();
        let topics = if events.is_empty() {
            Vec::new()
        } else {
            self.hub.publish(plan.next, events, now)
        };
        for (request, outcome) in group.into_iter().zip(plan.outcomes) {
            let outcome = outcome.map(|(revision, effect)| Committed {
                revision,
                records: effect.records,
            });
            request.answer(outcome);
        }
        self.hub.wake(&topics);
        self.note(plan.bytes, !plan.batch.transactions.is_empty(), now);
    }

    /// Remembers what there is to do when it gets quiet.
    fn note(&mut self, bytes: usize, synced: bool, now: Instant) {
        self.shed_at.get_or_insert(now + SHED_EVERY);
        if synced {
            self.unrested += bytes;
            if self.unrested > REST_BYTES {
                self.rest_at = Some(now + REST_AFTER);
            }
            if let Some(saver) = &mut self.saver {
                saver.changed(now);
            }
        }
    }

    fn keep_house(&mut self, now: Instant) {
        if self.shed_at.is_some_and(|at| at <= now) {
            // Nothing left to forget: nothing to wake up for.
            self.shed_at = self.hub.shed(now).map(|at| at.max(now + SHED_EVERY));
        }
        if self.rest_at.is_some_and(|at| at <= now) {
            self.rest_at = None;
            self.unrested = 0;
            if let Err(failure) = self.backend.rest() {
                warn!(error = %failure, "the database could not give back memory");
            }
        }
        if let Some(saver) = &mut self.saver
            && saver.due().is_some_and(|at| at <= now)
        {
            saver.save(self.hub.tip().clone());
        }
    }

    /// The last act: the next start may go on at exactly this revision.
    fn finish(&mut self) {
        let batch = Batch {
            transactions: Vec::new(),
            reserved: Some(self.assigned),
        };
        if self.reserved != self.assigned
            && let Err(failure) = self.backend.commit(&batch)
        {
            warn!(error = %failure, "the last revision could not be noted; the next start skips some");
        }
        self.hub.close();
        if let Some(saver) = &mut self.saver {
            saver.finish();
        }
    }
}

/// All requests that wait now, up to the limits of a group, and a request to close if one is met.
fn gather(first: Request, messages: &Receiver<Message>) -> (Vec<Request>, Option<oneshot::Sender<()>>) {
    let size = |request: &Request| request.ops.iter().map(Op::value_bytes).sum::<usize>();
    let mut bytes = size(&first);
    let mut group = vec![first];
    while bytes < GROUP_BYTES && group.len() < GROUP_REQUESTS {
        match messages.try_recv() {
            Ok(Message::Commit(request)) => {
                bytes += size(&request);
                group.push(request);
            }
            Ok(Message::Close(reply)) => return (group, Some(reply)),
            Err(_) => break,
        }
    }
    (group, None)
}
