//! A runtime in memory, for simulation tests of the kubelet only.
//!
//! It does at once what a real one takes time for, keeps a journal of what was asked, and lets a test
//! say what happens: which images a registry has, which programs end and how.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::{
    AttachSpec, Container, ContainerEvent, ContainerEventKind, ContainerSpec, ContainerState, Error,
    ExecSpec, FilesystemUsage, Image, Progress, ProgressSink, PullRequest, Resources, Result, Runtime,
    Sandbox, SandboxSpec, Session, Stats, Version,
};

/// What a command in a container answers: exit code and output.
pub type Script = dyn Fn(&str, &[String]) -> (i32, String) + Send + Sync;

#[derive(Default)]
struct State {
    sandboxes: BTreeMap<String, Sandbox>,
    containers: BTreeMap<String, (ContainerSpec, Container)>,
    images: BTreeMap<String, Image>,
    registry: BTreeSet<String>,
    journal: Vec<String>,
    created: u64,
    down: bool,
    refuses_create: BTreeSet<String>,
    refuses_start: BTreeMap<String, String>,
    ignores_stop: BTreeSet<String>,
}

/// The runtime, as the kubelet sees it and as a test steers it. Cheap to clone: all are the same one.
#[derive(Clone)]
pub struct FakeRuntime {
    state: Arc<Mutex<State>>,
    events: broadcast::Sender<ContainerEvent>,
    script: Arc<Mutex<Arc<Script>>>,
    pulls_held: watch::Sender<bool>,
    hung: watch::Sender<bool>,
}

impl Default for FakeRuntime {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeRuntime {
    /// A runtime without images and containers.
    pub fn new() -> Self {
        let script: Arc<Script> = Arc::new(|_, _| (0, String::new()));
        FakeRuntime {
            state: Arc::default(),
            events: broadcast::channel(1024).0,
            script: Arc::new(Mutex::new(script)),
            pulls_held: watch::Sender::new(false),
            hung: watch::Sender::new(false),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reached(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.state();
        if state.down {
            return Err(Error::Unavailable {
                message: "the test switched it off".into(),
            });
        }
        Ok(state)
    }

    /// An image that is here already.
    pub fn add_image(&self, name: &str) {
        let image = image(name);
        self.state().images.insert(name.to_owned(), image);
    }

    /// An image that can be pulled.
    pub fn add_to_registry(&self, name: &str) {
        self.state().registry.insert(name.to_owned());
    }

    /// Who asks for its version waits, or not.
    pub fn set_hung(&self, hung: bool) {
        self.hung.send_replace(hung);
    }

    /// Pulls stop after a part, or go on.
    pub fn hold_pulls(&self, held: bool) {
        self.pulls_held.send_replace(held);
    }

    /// What commands run with exec answer; the script gets the container's name and the command.
    pub fn on_exec(&self, script: impl Fn(&str, &[String]) -> (i32, String) + Send + Sync + 'static) {
        *self.script.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(script);
    }

    /// Containers of this name cannot be created, or can be again.
    pub fn refuse_create(&self, name: &str, refuse: bool) {
        let mut state = self.state();
        match refuse {
            true => state.refuses_create.insert(name.to_owned()),
            false => state.refuses_create.remove(name),
        };
    }

    /// Starts of containers of this name fail with this message (`None`: no longer).
    pub fn refuse_start(&self, name: &str, message: Option<&str>) {
        let mut state = self.state();
        match message {
            Some(message) => state.refuses_start.insert(name.to_owned(), message.to_owned()),
            None => state.refuses_start.remove(name),
        };
    }

    /// Containers of this name use their whole grace period.
    pub fn ignore_stop(&self, name: &str) {
        self.state().ignores_stop.insert(name.to_owned());
    }

    /// Makes every call fail, or work again (and tells so).
    pub fn set_down(&self, down: bool) {
        self.state().down = down;
        if !down {
            self.tell("", "", ContainerEventKind::Resync);
        }
    }

    /// Everything that was asked for, in order: `create a`, `start a`, `stop a 30`, `remove a`, ...
    pub fn journal(&self) -> Vec<String> {
        self.state().journal.clone()
    }

    /// The newest container of that name.
    pub fn newest(&self, name: &str) -> Option<Container> {
        let state = self.state();
        let of_name = state
            .containers
            .values()
            .map(|(_, c)| c)
            .filter(|c| c.name == name);
        of_name.max_by_key(|c| c.attempt).cloned()
    }

    /// What the newest container of that name was made from.
    pub fn spec(&self, name: &str) -> Option<ContainerSpec> {
        let id = self.newest(name)?.id;
        self.state().containers.get(&id).map(|(spec, _)| spec.clone())
    }

    /// How many containers run.
    pub fn running(&self) -> usize {
        let running = |c: &Container| matches!(c.state, ContainerState::Running { .. });
        self.state()
            .containers
            .values()
            .filter(|(_, c)| running(c))
            .count()
    }

    /// The process of the newest container of that name ends.
    pub fn exit(&self, name: &str, exit_code: i32) {
        if let Some(container) = self.newest(name) {
            self.end(&container.id, exit_code, None);
        }
    }

    fn end(&self, id: &str, exit_code: i32, message: Option<String>) {
        let mut state = self.state();
        let Some((_, container)) = state.containers.get_mut(id) else {
            return;
        };
        let started_at = match container.state {
            ContainerState::Running { started_at, .. } => Some(started_at),
            ContainerState::Created => None,
            _ => return,
        };
        container.state = ContainerState::Exited {
            started_at,
            finished_at: Timestamp::now(),
            exit_code,
            oom_killed: false,
            message,
            lost: false,
        };
        let sandbox = container.sandbox_id.clone();
        drop(state);
        self.tell(&sandbox, id, ContainerEventKind::Exited);
    }

    fn tell(&self, sandbox: &str, id: &str, kind: ContainerEventKind) {
        let event = ContainerEvent {
            sandbox_id: sandbox.to_owned(),
            container_id: id.to_owned(),
            kind,
        };
        // Nobody may be listening yet.
        let _ = self.events.send(event);
    }
}

fn image(name: &str) -> Image {
    Image {
        id: format!("sha256:{name}"),
        tags: vec![name.to_owned()],
        digests: vec![format!("{name}@sha256:0")],
        size: 1000,
        ..Image::default()
    }
}

fn not_found(what: impl Into<String>) -> Error {
    Error::NotFound { what: what.into() }
}

#[async_trait::async_trait]
impl Runtime for FakeRuntime {
    async fn version(&self) -> Result<Version> {
        let mut hung = self.hung.subscribe();
        // The sender lives as long as this runtime.
        let _ = hung.wait_for(|hung| !hung).await;
        drop(self.reached()?);
        Ok(Version {
            name: "containerd".into(),
            version: "fake".into(),
        })
    }

    async fn create_sandbox(&self, spec: &SandboxSpec) -> Result<Sandbox> {
        let mut state = self.reached()?;
        let uid = &spec.pod_uid;
        state.journal.push(format!("sandbox {}", spec.pod_name));
        let sandbox = state.sandboxes.entry(uid.clone()).or_insert_with(|| Sandbox {
            id: uid.clone(),
            spec: spec.clone(),
            network_namespace: (!spec.host.network).then(|| format!("/nowhere/{uid}").into()),
            ready: true,
            attempt: 0,
        });
        Ok(sandbox.clone())
    }

    async fn remove_sandbox(&self, id: &str) -> Result<()> {
        let mut state = self.reached()?;
        if let Some(sandbox) = state.sandboxes.remove(id) {
            state
                .journal
                .push(format!("remove sandbox {}", sandbox.spec.pod_name));
        }
        state.containers.retain(|_, (_, c)| c.sandbox_id != id);
        Ok(())
    }

    async fn sandboxes(&self) -> Result<Vec<Sandbox>> {
        Ok(self.reached()?.sandboxes.values().cloned().collect())
    }

    async fn create_container(&self, sandbox: &Sandbox, spec: &ContainerSpec) -> Result<String> {
        let mut state = self.reached()?;
        if state.refuses_create.contains(&spec.name) {
            return Err(Error::other("creating the container", "the test refuses it"));
        }
        state.created += 1;
        let id = format!("{:064x}", state.created);
        state.journal.push(format!("create {}", spec.name));
        let container = Container {
            id: id.clone(),
            sandbox_id: sandbox.id.clone(),
            pod_name: sandbox.spec.pod_name.clone(),
            pod_namespace: sandbox.spec.pod_namespace.clone(),
            name: spec.name.clone(),
            attempt: spec.attempt,
            image: spec.image.clone(),
            image_id: spec.image.clone(),
            created_at: Timestamp::now(),
            state: ContainerState::Created,
            log_path: spec.log_path.clone(),
            annotations: spec.annotations.clone(),
            user: None,
        };
        state.containers.insert(id.clone(), (spec.clone(), container));
        Ok(id)
    }

    async fn start_container(&self, id: &str) -> Result<()> {
        let mut state = self.reached()?;
        let (_, container) = state
            .containers
            .get_mut(id)
            .ok_or_else(|| not_found("container"))?;
        let (name, sandbox) = (container.name.clone(), container.sandbox_id.clone());
        container.state = ContainerState::Running {
            started_at: Timestamp::now(),
            pid: 1,
        };
        let refused = state.refuses_start.get(&name).cloned();
        state.journal.push(format!("start {name}"));
        drop(state);
        if let Some(message) = refused {
            self.end(id, 128, Some(message.clone()));
            return Err(Error::Start { message });
        }
        self.tell(&sandbox, id, ContainerEventKind::Started);
        Ok(())
    }

    async fn stop_container(&self, id: &str, grace: Duration) -> Result<()> {
        let slow = {
            let mut state = self.reached()?;
            let Some((_, container)) = state.containers.get(id) else {
                return Ok(());
            };
            let name = container.name.clone();
            state.journal.push(format!("stop {name} {}", grace.as_secs()));
            state.ignores_stop.contains(&name)
        };
        if slow {
            tokio::time::sleep(grace).await;
        }
        self.end(id, if slow { 137 } else { 143 }, None);
        Ok(())
    }

    async fn remove_container(&self, id: &str) -> Result<()> {
        let mut state = self.reached()?;
        if let Some((spec, _)) = state.containers.remove(id) {
            state
                .journal
                .push(format!("remove {} {}", spec.name, spec.attempt));
        }
        Ok(())
    }

    async fn containers(&self) -> Result<Vec<Container>> {
        Ok(self
            .reached()?
            .containers
            .values()
            .map(|(_, c)| c.clone())
            .collect())
    }

    async fn container(&self, id: &str) -> Result<Container> {
        let state = self.reached()?;
        state
            .containers
            .get(id)
            .map(|(_, c)| c.clone())
            .ok_or_else(|| not_found(format!("container {id}")))
    }

    fn events(&self) -> broadcast::Receiver<ContainerEvent> {
        self.events.subscribe()
    }

    async fn update_resources(&self, id: &str, resources: &Resources) -> Result<()> {
        let mut state = self.reached()?;
        let (spec, _) = state
            .containers
            .get_mut(id)
            .ok_or_else(|| not_found("container"))?;
        spec.resources = resources.clone();
        Ok(())
    }

    async fn reopen_log(&self, _: &str) -> Result<()> {
        self.reached().map(drop)
    }

    async fn exec(&self, id: &str, spec: &ExecSpec) -> Result<Session> {
        let name = {
            let state = self.reached()?;
            let (_, container) = state.containers.get(id).ok_or_else(|| not_found("container"))?;
            container.name.clone()
        };
        let script = self.script.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (code, output) = script(&name, &spec.command);
        self.state()
            .journal
            .push(format!("exec {name} {}", spec.command.join(" ")));
        Ok(session(code, output))
    }

    async fn attach(&self, id: &str, _: &AttachSpec) -> Result<Session> {
        self.reached()?
            .containers
            .get(id)
            .ok_or_else(|| not_found("container"))?;
        Ok(session(0, String::new()))
    }

    async fn stats(&self, id: &str) -> Result<Stats> {
        self.reached()?
            .containers
            .get(id)
            .ok_or_else(|| not_found("container"))?;
        Ok(Stats::default())
    }

    async fn pull_image(&self, request: &PullRequest, progress: ProgressSink) -> Result<Image> {
        // Whoever brings a password shows it.
        progress(Progress::Resolved {
            digest: "sha256:manifest".into(),
            missing: Vec::new(),
            credential: (!request.auth.is_empty()).then_some(0),
        });
        let mut held = self.pulls_held.subscribe();
        if *held.borrow() {
            progress(Progress::Downloaded {
                digest: "sha256:layer".into(),
                bytes: 1 << 20,
                total: 4 << 20,
            });
            // The sender lives as long as this runtime.
            let _ = held.wait_for(|held| !held).await;
        }
        let mut state = self.reached()?;
        let name = &request.reference;
        state.journal.push(format!("pull {name}"));
        if !state.registry.contains(name) {
            let message = "not found".into();
            return Err(Error::Pull {
                reference: name.clone(),
                message,
            });
        }
        let image = image(name);
        state.images.insert(name.clone(), image.clone());
        Ok(image)
    }

    async fn image(&self, reference: &str) -> Result<Option<Image>> {
        Ok(self.reached()?.images.get(reference).cloned())
    }

    async fn images(&self) -> Result<Vec<Image>> {
        Ok(self.reached()?.images.values().cloned().collect())
    }

    async fn remove_image(&self, reference: &str) -> Result<()> {
        self.reached()?
            .images
            .retain(|name, image| name != reference && image.id != reference);
        Ok(())
    }

    async fn import_images(&self, _: &mut (dyn tokio::io::AsyncRead + Send + Unpin)) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    async fn export_images(
        &self,
        _: &[String],
        _: &mut (dyn tokio::io::AsyncWrite + Send + Unpin),
    ) -> Result<()> {
        Ok(())
    }

    async fn image_usage(&self) -> Result<FilesystemUsage> {
        Ok(FilesystemUsage {
            path: "/".into(),
            used: 0,
            capacity: 1 << 40,
            available: 1 << 40,
        })
    }
}

fn session(code: i32, output: String) -> Session {
    let (to, exit) = oneshot::channel();
    // The receiver is in our hands: sending cannot fail.
    let _ = to.send(Ok(code));
    Session {
        stdin: None,
        stdout: Some(Box::new(std::io::Cursor::new(output.into_bytes()))),
        stderr: None,
        resize: mpsc::channel(1).0,
        exit,
    }
}
