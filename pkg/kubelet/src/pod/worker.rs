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

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kobune_client::EventType;
use kobune_client::k8s_openapi::api::core::v1::PodStatus;
use kobune_runtime::{Container, ContainerState, Sandbox};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::backoff::BackOff;
use super::desired::{Desired, Role};
use super::history::{Histories, next_attempt, status_of};
use super::kill::Kill;
use super::plan::{Busy, Facts, KillReason, Plan, Retry, Step, Waiting, active_deadline, crash_key, plan};
use super::report::Report;
use super::setup::{self, Prepared, SetUpError};
use super::start::{Failure, Start};
use super::stopping::{Stop, StopCause, grace_of};
use super::termination;
use crate::context::Context;
use crate::mailbox::{Mail, Mailbox};
use crate::probe::book::ProbeBook;
use crate::probe::run::{Probed, Running, start as start_probes};
use crate::tokens::TokenStore;
use crate::volume;

/// A failed start that is no pull is tried again after this.
const START_RETRY: Duration = Duration::from_secs(10);
/// A stop that failed is tried again after this.
const KILL_RETRY: Duration = Duration::from_secs(1);
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
    tokens: Arc<Mutex<TokenStore>>,
    references: Option<volume::References>,
    pub(super) stop: Option<Stop>,
    pub(super) torn_down: bool,
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
        let mut worker = Worker {
            netns: sandbox.as_ref().and_then(|s| s.network_namespace.clone()),
            torn_down: sandbox.is_none() && !has_folder && containers.is_empty(),
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

    async fn read(&mut self, mail: Mail) {
        let now = Timestamp::now();
        if let Some(pod) = mail.pod.and_then(Desired::new) {
            self.report.seen(pod.pod());
            let (old, new) = (&self.pod.pod().metadata, &pod.pod().metadata);
            if old.labels != new.labels || old.annotations != new.annotations {
                // They may be shown in volumes.
                self.refresh_at = Some(now);
            }
            self.pod = pod;
            self.follow_object(now, mail.gone);
        }
        if mail.objects {
            self.objects_changed(now);
        }
        for (id, kind, success) in mail.probes {
            if self.known.by_id(&id).is_some() {
                self.probes.record(&id, kind, success);
            }
        }
        if let Some(listed) = mail.listed {
            self.take_listed(listed).await;
        }
        for id in mail.containers {
            self.look_at(&id).await;
        }
    }

    fn objects_changed(&mut self, now: Timestamp) {
        self.refresh_at = Some(now);
        self.set_up_retry = None;
        self.retries
            .retain(|_, r| r.waiting.reason != "CreateContainerConfigError");
    }

    async fn take_listed(&mut self, listed: Vec<Container>) {
        let gone: Vec<String> = self
            .known
            .all()
            .map(|c| c.id.clone())
            .filter(|id| !listed.iter().any(|c| c.id == *id))
            .collect();
        for id in gone {
            self.known.remove(&id);
        }
        for container in listed {
            self.observe(container);
        }
    }

    async fn look_at(&mut self, id: &str) {
        match self.context.runtime.container(id).await {
            Ok(container) => self.observe(container),
            Err(error) if error.is_not_found() => self.known.remove(id),
            Err(error) => {
                tracing::warn!(pod = %self.pod.full_name(), %error, "looking at a container failed")
            }
        }
    }

    /// Takes in a container's state: probes begin and end with it, its last words are read.
    fn observe(&mut self, container: Container) {
        if self.known.is_outdated(&container) {
            return;
        }
        let id = container.id.clone();
        match &container.state {
            ContainerState::Running { .. } => self.begin_probes(&container),
            ContainerState::Created => {}
            _ => {
                self.probing.remove(&id);
                self.probes.forget(&id);
                if self.known.noted(&id).is_none() {
                    self.known.note(&id, termination::message(&container));
                }
            }
        }
        if let Some(old) = self.known.observe(container) {
            self.remove_old(old);
        }
    }

    fn begin_probes(&mut self, container: &Container) {
        if self.probing.contains_key(&container.id) || self.stop.is_some() {
            return;
        }
        let Some(prepared) = &self.prepared else { return };
        let Some((role, spec)) = self.pod.container(&container.name) else {
            return;
        };
        if matches!(role, Role::Init | Role::Ephemeral) {
            return;
        }
        let node_ip = self.context.config.node_ip.to_string();
        let probed = Probed {
            context: self.context.clone(),
            pod: self.pod.clone(),
            container: spec.clone(),
            id: container.id.clone(),
            ip: prepared.ips.first().cloned().unwrap_or(node_ip),
            mailbox: self.mailbox.clone(),
        };
        if let Some(running) = start_probes(probed) {
            self.probing.insert(container.id.clone(), running);
        }
    }

    /// A container two attempts back goes, with its log.
    fn remove_old(&mut self, old: Container) {
        let context = self.context.clone();
        self.operations.spawn(async move {
            if let Err(error) = context.runtime.remove_container(&old.id).await {
                tracing::warn!(container = %old.id, %error, "removing an old container failed");
            }
            remove_log(&old, context.config.log_links.as_deref());
            Outcome::Removed(old.id)
        });
    }

    /// Plans and begins what the plan says; answers when to look again.
    fn step(&mut self) -> Option<Timestamp> {
        let now = Timestamp::now();
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

    fn begin(&mut self, step: Step, now: Timestamp) {
        match step {
            Step::SetUp => self.begin_set_up(),
            Step::Start { name, after } => self.begin_start(name, after, now),
            Step::Kill {
                id,
                message,
                grace,
                reason,
                ..
            } => self.begin_kill(&id, message, grace, reason),
            Step::TearDown => self.begin_tear_down(),
            Step::Finish => self.begin_finish(now),
        }
    }

    fn begin_set_up(&mut self) {
        self.busy.setting_up = true;
        self.torn_down = false;
        let (context, pod, tokens) = (self.context.clone(), self.pod.clone(), self.tokens.clone());
        self.operations
            .spawn(async move { Outcome::SetUp(setup::set_up(&context, &pod, &tokens).await) });
    }

    fn begin_start(&mut self, name: String, after: Option<Timestamp>, now: Timestamp) {
        let Some(prepared) = self.prepared.clone() else {
            return;
        };
        if let (Some(after), Some((_, spec))) = (after, self.pod.container(&name)) {
            self.crash.next(&crash_key(spec), after, now);
        }
        self.retries.remove(&name);
        self.busy.starting = Some(name.clone());
        self.cancel_start = CancellationToken::new();
        let unknown = |c: &&Container| c.state == ContainerState::Unknown;
        let start = Start {
            context: self.context.clone(),
            pod: self.pod.clone(),
            attempt: next_attempt(&self.known, &self.report.latest, &name),
            lost: self.known.current(&name).filter(unknown).map(|c| c.id.clone()),
            name: name.clone(),
            prepared,
        };
        let cancel = self.cancel_start.clone();
        self.operations.spawn(async move {
            let started = tokio::select! {
                started = start.run() => started,
                () = cancel.cancelled() => Err(given_up()),
            };
            Outcome::Started(name, started)
        });
    }

    fn begin_kill(&mut self, id: &str, message: String, grace: i64, reason: KillReason) {
        let Some(container) = self.known.by_id(id).cloned() else {
            return;
        };
        let again = self.busy.stopping.insert(id.to_owned(), grace).is_some();
        self.probing.remove(id);
        let ips = self.prepared.as_ref().and_then(|p| p.ips.first());
        let kill = Kill {
            context: self.context.clone(),
            pod: self.pod.clone(),
            ip: ips
                .cloned()
                .unwrap_or_else(|| self.context.config.node_ip.to_string()),
            grace: Duration::from_secs(u64::try_from(grace).unwrap_or(0)),
            message: (!again && container.state != ContainerState::Created).then_some(message),
            hook: !again && reason != KillReason::Unknown,
            container,
        };
        let id = id.to_owned();
        self.operations.spawn(async move {
            let killed = kill.run().await;
            if killed.is_err() {
                // The runtime is away, say: the next try must not come at once.
                tokio::time::sleep(KILL_RETRY).await;
            }
            Outcome::Killed(id, killed.map_err(|e| e.to_string()))
        });
    }

    fn begin_tear_down(&mut self) {
        self.busy.setting_up = true;
        self.prepared = None;
        let (context, uid, netns) = (
            self.context.clone(),
            self.pod.uid().to_owned(),
            self.netns.clone(),
        );
        self.operations.spawn(async move {
            Outcome::TornDown(setup::tear_down(&context, &uid, netns.as_deref()).await)
        });
    }

    /// Nothing is left here. A deleted pod's object goes as soon as its last status is written.
    fn begin_finish(&mut self, now: Timestamp) {
        match self.stop.as_ref().map(|s| &s.cause) {
            Some(StopCause::Vanished) => {
                remove_logs(&self.context, &self.pod);
                self.done = true;
            }
            Some(StopCause::Deleted) if !self.delete_sent && self.delete_retry.is_none_or(|t| t <= now) => {
                if !self.report.is_written() {
                    return;
                }
                self.delete_sent = true;
                self.delete_retry = None;
                let (context, pod) = (self.context.clone(), self.pod.clone());
                self.operations.spawn(async move {
                    Outcome::ObjectDeleted(super::report::delete_object(&context, &pod).await)
                });
            }
            _ => {}
        }
    }

    async fn finish(&mut self, outcome: Outcome) {
        let now = Timestamp::now();
        match outcome {
            Outcome::SetUp(result) => self.set_up_done(result, now).await,
            Outcome::Volumes(result) => self.volumes_done(result, now),
            Outcome::Started(name, result) => self.start_done(name, result, now).await,
            Outcome::Killed(id, result) => self.kill_done(&id, result).await,
            Outcome::TornDown(result) => self.tear_down_done(result, now),
            Outcome::Removed(id) => self.known.remove(&id),
            Outcome::Reported(result) => self.report_done(result, now),
            Outcome::ObjectDeleted(Ok(())) => {
                if self
                    .pod
                    .pod()
                    .metadata
                    .finalizers
                    .as_ref()
                    .is_none_or(Vec::is_empty)
                {
                    remove_logs(&self.context, &self.pod);
                    self.done = true;
                }
            }
            Outcome::ObjectDeleted(Err(message)) => {
                tracing::warn!(pod = %self.pod.full_name(), %message, "deleting the pod's object failed");
                self.delete_sent = false;
                self.delete_retry = now.checked_add(SignedDuration::from_secs(1)).ok();
            }
        }
    }

    async fn set_up_done(&mut self, result: Result<Prepared, SetUpError>, now: Timestamp) {
        self.busy.setting_up = false;
        match result {
            Ok(prepared) => {
                self.set_ups.forget("");
                self.set_up_retry = None;
                self.netns = prepared.sandbox.network_namespace.clone();
                self.prepared = Some(prepared);
                self.refresh_at = self.tokens.lock().await.next_renewal();
                // An adopted pod's containers run already.
                let running: Vec<Container> = self.known.alive().cloned().collect();
                running.iter().for_each(|c| self.begin_probes(c));
            }
            Err(error) => {
                let (reason, texts) = error.events();
                for text in texts {
                    self.context.tell(&self.pod, EventType::Warning, reason, text);
                }
                tracing::warn!(pod = %self.pod.full_name(), %error, "setting a pod up failed");
                let delay = self.set_ups.next("", now, now);
                self.set_up_retry = now.checked_add(delay).ok();
            }
        }
    }

    async fn start_done(&mut self, name: String, result: Result<Container, Failure>, now: Timestamp) {
        self.busy.starting = None;
        match result {
            Ok(container) => {
                self.pull_errors.remove(&name);
                self.observe(container);
            }
            Err(failure) => {
                let image = self
                    .pod
                    .container(&name)
                    .and_then(|(_, c)| c.image.clone())
                    .unwrap_or_default();
                if let Some(container) = failure.container {
                    self.observe(container);
                } else {
                    // It may have been created when the start was given up.
                    self.look_for(&name).await;
                }
                let delay = if failure.pull {
                    self.pull_errors.insert(name.clone(), now);
                    self.pulls.next(&image, now, now)
                } else {
                    START_RETRY
                };
                if let Ok(at) = now.checked_add(delay) {
                    self.retries.insert(
                        name,
                        Retry {
                            at,
                            waiting: failure.waiting,
                        },
                    );
                }
            }
        }
    }

    async fn look_for(&mut self, name: &str) {
        if self.stop.is_none() {
            return;
        }
        let uid = self.pod.uid().to_owned();
        let listed = self.context.runtime.containers().await.unwrap_or_default();
        for container in listed
            .into_iter()
            .filter(|c| c.sandbox_id == uid && c.name == name)
        {
            self.observe(container);
        }
    }

    async fn kill_done(&mut self, id: &str, result: Result<Option<Container>, String>) {
        self.busy.stopping.remove(id);
        match result {
            Ok(Some(container)) => self.observe(container),
            Ok(None) => self.known.remove(id),
            Err(message) => {
                tracing::warn!(pod = %self.pod.full_name(), %message, "stopping a container failed");
                self.context.tell(
                    &self.pod,
                    EventType::Warning,
                    "FailedKillPod",
                    format!("error killing pod: {message}"),
                );
                self.look_at(id).await;
            }
        }
    }

    fn tear_down_done(&mut self, result: Result<(), String>, now: Timestamp) {
        self.busy.setting_up = false;
        match result {
            Ok(()) => {
                self.torn_down = true;
                self.set_up_retry = None;
            }
            Err(message) => {
                tracing::warn!(pod = %self.pod.full_name(), %message, "taking a pod down failed");
                self.context
                    .tell(&self.pod, EventType::Warning, "FailedKillPod", message);
                let delay = self.set_ups.next("down", now, now);
                self.set_up_retry = now.checked_add(delay).ok();
            }
        }
    }

    /// Brings volumes up to date when an object they show changed or a token gets old.
    fn refresh_volumes(&mut self, now: Timestamp) {
        let due = self.refresh_at.is_some_and(|t| t <= now);
        let Some(prepared) = &self.prepared else { return };
        if !due || self.refreshing || self.stop.is_some() {
            return;
        }
        self.refreshing = true;
        self.refresh_at = None;
        let (context, pod, tokens) = (self.context.clone(), self.pod.clone(), self.tokens.clone());
        let ips = prepared.ips.clone();
        self.operations
            .spawn(async move { Outcome::Volumes(setup::mount_volumes(&context, &pod, &tokens, ips).await) });
    }

    fn volumes_done(&mut self, result: Result<volume::Paths, volume::MountErrors>, now: Timestamp) {
        self.refreshing = false;
        for error in result.err().into_iter().flat_map(|errors| errors.0) {
            self.context
                .tell(&self.pod, EventType::Warning, "FailedMount", error.to_string());
        }
        let renewal = self.tokens.try_lock().ok().and_then(|t| t.next_renewal());
        let soonest = now.checked_add(SignedDuration::from_secs(10)).unwrap_or(now);
        self.refresh_at = self.refresh_at.or(renewal.map(|t| t.max(soonest)));
    }

    /// After a while a failed pull is shown as what it is now: waiting for the next one.
    fn soften_pull_errors(&mut self, now: Timestamp) {
        let due: Vec<String> = self
            .pull_errors
            .iter()
            .filter(|(_, t)| {
                now.duration_since(**t) >= SignedDuration::try_from(PULL_ERROR_SHOWN).unwrap_or_default()
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in due {
            self.pull_errors.remove(&name);
            let image = self
                .pod
                .container(&name)
                .and_then(|(_, c)| c.image.clone())
                .unwrap_or_default();
            let Some(retry) = self.retries.get_mut(&name) else {
                continue;
            };
            let message = format!("Back-off pulling image {image:?}");
            retry.waiting = Waiting {
                reason: "ImagePullBackOff".into(),
                message: format!("{message}: {}: {}", retry.waiting.reason, retry.waiting.message),
            };
            self.context
                .tell_container(&self.pod, &name, EventType::Normal, "BackOff", message);
            self.context.tell_container(
                &self.pod,
                &name,
                EventType::Warning,
                "Failed",
                "Error: ImagePullBackOff",
            );
        }
    }

    /// A container that is tried again shows why it waited until the outcome is known.
    fn keep_shown(&self, plan: &mut Plan) {
        let begun = plan.steps.iter().filter_map(|step| match step {
            Step::Start { name, .. } => Some(name),
            _ => None,
        });
        for name in begun.chain(&self.busy.starting) {
            let state = status_of(&self.report.latest, name).and_then(|s| s.state.as_ref());
            let Some(shown) = state.and_then(|s| s.waiting.as_ref()) else {
                continue;
            };
            let reason = shown.reason.clone().unwrap_or_default();
            if matches!(reason.as_str(), "ContainerCreating" | "PodInitializing") {
                continue;
            }
            plan.waiting.entry(name.clone()).or_insert_with(|| Waiting {
                reason,
                message: shown.message.clone().unwrap_or_default(),
            });
        }
    }

    /// One event for each time a container begins to wait.
    fn tell_back_off(&mut self, waiting: &BTreeMap<String, Waiting>) {
        for (name, waiting) in waiting {
            if waiting.reason != "CrashLoopBackOff" {
                continue;
            }
            let ended = match self.known.current(name).map(|c| &c.state) {
                Some(ContainerState::Exited { finished_at, .. }) => *finished_at,
                _ => continue,
            };
            if self.told_back_off.insert(name.clone(), ended) != Some(ended) {
                let message = format!(
                    "Back-off restarting failed container {name} in pod {}",
                    self.pod.full_name()
                );
                self.context
                    .tell_container(&self.pod, name, EventType::Warning, "BackOff", message);
            }
        }
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

fn given_up() -> Failure {
    Failure {
        waiting: Waiting {
            reason: "ContainerCreating".into(),
            message: String::new(),
        },
        pull: false,
        container: None,
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

fn remove_log(container: &Container, links: Option<&std::path::Path>) {
    let _ = std::fs::remove_file(&container.log_path);
    if let Some(links) = links {
        let name = format!(
            "{}_{}_{}-{}.log",
            container.pod_name, container.pod_namespace, container.name, container.id
        );
        let _ = std::fs::remove_file(links.join(name));
    }
}

/// The pod is gone from the API: nobody can ask for its logs any more.
fn remove_logs(context: &Context, pod: &Desired) {
    if let Some(links) = &context.config.log_links {
        let prefix = format!("{}_{}_", pod.name(), pod.namespace());
        for entry in std::fs::read_dir(links).into_iter().flatten().flatten() {
            let target = std::fs::read_link(entry.path()).unwrap_or_default();
            let ours = entry.file_name().to_string_lossy().starts_with(&prefix);
            if ours && target.starts_with(context.log_dir(pod)) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
    let _ = std::fs::remove_dir_all(context.log_dir(pod));
}
