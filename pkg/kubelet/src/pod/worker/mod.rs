//! The task that carries a pod's plan out.
//!
//! ```text
//! mailbox ──> Worker ── plan ──> operations (tasks of its own) ──┐
//!               ^                                                │
//!               └────────────── their outcomes ─────────────────┘
//!               └── status ──> one write to the API at a time
//! ```
//!
//! The worker owns all state of the pod on this node. It never waits for an operation: it looks,
//! decides, begins, and sleeps until news, an outcome, or the time its plan named.

mod begin;
mod clock;
mod logs;
mod news;
mod outcome;
mod volumes;
mod waiting;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kobune_client::EventType;
use kobune_client::k8s_openapi::api::core::v1::PodStatus;
use kobune_runtime::{Container, Sandbox};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use clock::Clock;

use super::backoff::BackOff;
use super::desired::Desired;
use super::history::Histories;
use super::plan::{Busy, Facts, Plan, Retry, active_deadline, plan};
use super::report::Report;
use super::setup::{Prepared, SetUpError};
use super::start::Failure;
use super::stopping::{Stop, StopCause, grace_of};
use crate::context::Context;
use crate::mailbox::Mailbox;
use crate::probe::book::ProbeBook;
use crate::probe::run::Running;
use crate::tokens::TokenStore;
use crate::volume;

/// How long `ErrImagePull` is shown before it becomes `ImagePullBackOff`.
const PULL_ERROR_SHOWN: Duration = Duration::from_secs(3);

/// What came of an operation.
pub(super) enum Outcome {
    SetUp(Result<Prepared, SetUpError>),
    Volumes(Result<volume::Paths, volume::MountErrors>),
    Started(String, Result<Container, Failure>),
    Killed(String, Result<Option<Container>, String>),
    TornDown(Result<(), String>),
    Removed(String),
    Reported(Result<Option<u64>, String>),
    ObjectDeleted(Result<(), String>),
}

/// What a worker begins with.
pub struct Beginning {
    /// Shared things.
    pub context: Arc<Context>,
    /// The pod.
    pub pod: Desired,
    /// Its inbox.
    pub mailbox: Arc<Mailbox>,
    /// Its sandbox, when an earlier run of this program made one.
    pub sandbox: Option<Sandbox>,
    /// Its containers, of an earlier run.
    pub containers: Vec<Container>,
    /// The pod's object is gone already (found on the node only).
    pub orphan: bool,
}

/// One pod's worker.
pub struct Worker {
    pub(super) context: Arc<Context>,
    pub(super) pod: Desired,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) known: Histories,
    pub(super) probes: ProbeBook,
    probing: HashMap<String, Running>,
    pub(super) prepared: Option<Prepared>,
    netns: Option<std::path::PathBuf>,
    /// The sandbox that an earlier run made.
    found_sandbox: Option<u32>,
    tokens: Arc<Mutex<TokenStore>>,
    references: Option<volume::References>,
    pub(super) stop: Option<Stop>,
    pub(super) torn_down: bool,
    /// It had ended, and nothing of it was left, before this worker began: nothing new is known of it.
    pub(super) settled: bool,
    crash: BackOff,
    pulls: BackOff,
    set_ups: BackOff,
    set_up_retry: Option<Timestamp>,
    retries: BTreeMap<String, Retry>,
    pull_errors: BTreeMap<String, Timestamp>,
    busy: Busy,
    refreshing: bool,
    refresh_at: Option<Timestamp>,
    pub(super) operations: JoinSet<Outcome>,
    cancel_start: CancellationToken,
    pub(super) report: Report,
    told_back_off: BTreeMap<String, Timestamp>,
    delete_sent: bool,
    delete_retry: Option<Timestamp>,
    clock: Clock,
    done: bool,
}

impl Worker {
    /// A worker that knows what an earlier run left, and has done nothing yet.
    pub fn new(beginning: Beginning) -> Self {
        let Beginning {
            context,
            pod,
            mailbox,
            sandbox,
            containers,
            orphan,
        } = beginning;
        let now = Timestamp::now();
        let report = Report::new(pod.pod().status.clone().unwrap_or_default());
        let has_folder = context.config.pod_dir(pod.uid()).exists();
        let torn_down = sandbox.is_none() && !has_folder && containers.is_empty();
        let mut worker = Worker {
            netns: sandbox.as_ref().and_then(|s| s.network_namespace.clone()),
            found_sandbox: sandbox.as_ref().map(|s| s.attempt),
            torn_down,
            settled: torn_down && pod.phase_is_terminal(),
            known: Histories::default(),
            probes: ProbeBook::default(),
            probing: HashMap::new(),
            prepared: None,
            tokens: Arc::default(),
            references: None,
            stop: None,
            crash: BackOff::kubelet(),
            pulls: BackOff::kubelet(),
            set_ups: BackOff::new(Duration::from_millis(500), Duration::from_secs(122)),
            set_up_retry: None,
            retries: BTreeMap::new(),
            pull_errors: BTreeMap::new(),
            busy: Busy::default(),
            refreshing: false,
            refresh_at: None,
            operations: JoinSet::new(),
            cancel_start: CancellationToken::new(),
            report,
            told_back_off: BTreeMap::new(),
            delete_sent: false,
            delete_retry: None,
            clock: Clock::new(now),
            done: false,
            context,
            pod,
            mailbox,
        };
        for container in containers {
            worker.observe(container);
        }
        worker.follow_object(now, orphan);
        worker
    }

    /// Runs until nothing of the pod is left, here and in the API.
    pub async fn run(mut self, cancel: CancellationToken) {
        loop {
            let mail = self.mailbox.take();
            self.read(mail).await;
            let wake_at = self.step();
            if self.done {
                break;
            }
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                Some(outcome) = self.operations.join_next(), if !self.operations.is_empty() => {
                    self.take_outcome(outcome).await;
                    while let Some(outcome) = self.operations.try_join_next() {
                        self.take_outcome(outcome).await;
                    }
                }
                () = self.mailbox.wait() => {}
                () = until(wake_at) => {}
            }
        }
        self.context
            .objects
            .forget(self.pod.namespace(), self.pod.uid(), &self.mailbox);
    }

    async fn take_outcome(&mut self, outcome: Result<Outcome, tokio::task::JoinError>) {
        match outcome {
            Ok(outcome) => self.finish(outcome).await,
            // A panic in one operation must not take the pod's worker with it.
            Err(error) => {
                tracing::error!(pod = %self.pod.full_name(), %error, "an operation ended unexpectedly");
                self.busy = Busy::default();
                self.report.writing = false;
            }
        }
    }

    /// The object says what is wanted: references, deletion.
    fn follow_object(&mut self, now: Timestamp, gone: bool) {
        self.set_references();
        let cause = if gone {
            StopCause::Vanished
        } else if self.pod.is_deleted() {
            StopCause::Deleted
        } else if self.pod.phase_is_terminal() {
            StopCause::Completed
        } else {
            return;
        };
        let grace = grace_of(
            self.pod.pod().metadata.deletion_grace_period_seconds,
            self.pod.termination_grace(),
        );
        match &mut self.stop {
            None => self.begin_stop(Stop {
                cause,
                since: now,
                grace,
            }),
            Some(stop) => {
                // A shorter period given later counts; the pod's end is never put off.
                stop.grace = stop.grace.min(grace);
                if matches!(cause, StopCause::Deleted | StopCause::Vanished) {
                    stop.cause = match (&stop.cause, cause) {
                        (StopCause::Failed { .. }, StopCause::Deleted) => StopCause::Deleted,
                        (_, cause) => cause,
                    };
                }
            }
        }
    }

    /// The spec changes rarely, the status often.
    fn set_references(&mut self) {
        let references = volume::references(&self.pod);
        if self.references.as_ref() != Some(&references) {
            let (namespace, uid) = (self.pod.namespace(), self.pod.uid());
            self.context
                .objects
                .set_references(namespace, uid, &references, &self.mailbox);
            self.references = Some(references);
        }
    }

    fn begin_stop(&mut self, stop: Stop) {
        self.stop = Some(stop);
        self.set_up_retry = None;
        // A pull or a hook under way is of no use any more.
        self.cancel_start.cancel();
        self.probing.clear();
    }

    /// Plans and begins what the plan says; answers when to look again.
    fn step(&mut self) -> Option<Timestamp> {
        let now = self.now();
        self.soften_pull_errors(now);
        self.check_deadline(now);
        let mut plan = self.plan(now);
        if plan.completed && self.stop.is_none() {
            self.begin_stop(Stop {
                cause: StopCause::Completed,
                since: now,
                grace: self.pod.termination_grace(),
            });
            let waiting = std::mem::take(&mut plan.waiting);
            plan = self.plan(now);
            plan.waiting = waiting;
        }
        self.tell_back_off(&plan.waiting);
        self.keep_shown(&mut plan);
        // Before the steps: a pod's object goes after its last status was written.
        let report_at = self.report(&plan.waiting, now);
        for step in std::mem::take(&mut plan.steps) {
            self.begin(step, now);
        }
        self.refresh_volumes(now);
        let pull_errors = self
            .pull_errors
            .values()
            .filter_map(|t| t.checked_add(PULL_ERROR_SHOWN).ok())
            .min();
        let refresh_at = self
            .refresh_at
            .filter(|_| self.prepared.is_some() && !self.refreshing);
        [
            plan.wake_at,
            report_at,
            pull_errors,
            refresh_at,
            self.delete_retry,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn plan(&self, now: Timestamp) -> Plan {
        plan(&Facts {
            pod: &self.pod,
            status: &self.report.latest,
            set_up: self.prepared.is_some(),
            sandbox: self.prepared.as_ref().map(|p| p.sandbox.attempt),
            set_up_retry: self.set_up_retry,
            known: &self.known,
            probes: &self.probes,
            crash: &self.crash,
            retries: &self.retries,
            busy: &self.busy,
            stop: self.stop.as_ref(),
            torn_down: self.torn_down,
            now,
        })
    }

    fn check_deadline(&mut self, now: Timestamp) {
        if self.stop.is_some() || active_deadline(&self.pod, &self.report.latest).is_none_or(|d| now < d) {
            return;
        }
        let message = "Pod was active on the node longer than the specified deadline";
        self.context
            .tell(&self.pod, EventType::Normal, "DeadlineExceeded", message);
        let cause = StopCause::Failed {
            reason: "DeadlineExceeded".into(),
            message: message.into(),
        };
        self.begin_stop(Stop {
            cause,
            since: now,
            grace: self.pod.termination_grace(),
        });
    }

    /// Every container has stopped and the pod ends.
    pub(super) fn ended(&self) -> bool {
        self.stop.is_some()
            && self.known.alive().next().is_none()
            && self.busy.starting.is_none()
            && self.busy.stopping.is_empty()
    }

    /// The status made last.
    pub fn status(&self) -> &PodStatus {
        &self.report.latest
    }
}

async fn until(at: Option<Timestamp>) {
    match at {
        None => std::future::pending().await,
        Some(at) => {
            let left = Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default();
            tokio::time::sleep(left).await;
        }
    }
}
