//! The runtime trait over containerd's native API: containers, tasks, snapshots, content, leases and
//! events in a namespace of our own. No CRI, no CNI, no pause image.
//!
//! Entry points: [`Containerd::connect_or_start`]; `container/lifecycle.rs` for what happens to a
//! container; `sandbox.rs` for what a pod is on a node; `image/pull.rs` for how an image gets here;
//! `logs/mod.rs` for how output becomes log files.
//!
//! **Invariant**: nothing that runs depends on this process. Namespaces are pinned, shims have
//! sessions of their own, FIFOs stay open; after a restart everything is found again.

mod cgroup;
mod connection;
mod container;
mod events;
mod foreign;
mod image;
mod logs;
mod namespaces;
mod pod_init;
mod runtime;
mod sandbox;
mod spec;
mod supervisor;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use jiff::Timestamp;
use kobune_runtime::{ContainerEvent, Error, Result};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

pub use image::registry::Proxies;
pub use pod_init::pod_init;

use cgroup::Hierarchy;
use connection::{Connection, Idempotent, failed};
use container::record::{Entries, Folders};
use image::records::Images;
use logs::Pump;
use sandbox::Sandboxes;
use spec::host::Host;
use supervisor::{Layout, Supervisor};

/// Where distributions' containerd listens.
const SYSTEM_SOCKET: &str = "/run/containerd/containerd.sock";
/// Events a slow listener may be behind.
const EVENTS: usize = 4096;

/// How to reach (or make) a containerd, and where to keep what.
#[derive(Debug, Clone)]
pub struct Config {
    /// The containerd to use. `None`: the distribution's, if it runs; else a private one, started
    /// and supervised. Once a private one has been used with a data folder, it is used again.
    pub socket: Option<PathBuf>,
    /// Never look for the distribution's containerd (when `socket` is `None`).
    pub private: bool,
    /// What outlives a reboot: sandbox records, exits, the private containerd's images.
    pub data_dir: PathBuf,
    /// What does not: FIFOs, pinned namespaces, sockets. On a tmpfs, one for each kobune of a host.
    pub run_dir: PathBuf,
    /// containerd's namespace; two kobunes on one containerd need two.
    pub namespace: String,
    /// `registries.yaml` in k3s' format; need not exist.
    pub registries: Option<PathBuf>,
    /// What stands between this machine and the registries.
    pub proxies: Proxies,
    /// containerd's snapshotter.
    pub snapshotter: String,
    /// The program that `shareProcessNamespace` runs as `<program> pod-init`, which must call
    /// [`pod_init`]. `None`: this program.
    pub init_program: Option<PathBuf>,
}

impl Config {
    /// The defaults for these two folders.
    pub fn new(data_dir: impl Into<PathBuf>, run_dir: impl Into<PathBuf>) -> Self {
        Self {
            socket: None,
            private: false,
            data_dir: data_dir.into(),
            run_dir: run_dir.into(),
            namespace: "kobune".into(),
            registries: None,
            proxies: Proxies::default(),
            snapshotter: "overlayfs".into(),
            init_program: None,
        }
    }
}

/// A container runtime over one containerd.
pub struct Containerd {
    /// For what has to be brought to an end, also when nobody waits for it any more.
    this: Weak<Self>,
    connection: Connection,
    host: Host,
    cgroups: Hierarchy,
    sandboxes: Arc<Sandboxes>,
    entries: Entries,
    folders: Folders,
    pump: Pump,
    images: Images,
    events: broadcast::Sender<ContainerEvent>,
    /// runc's own state, apart from others' on this host.
    runc_root: PathBuf,
    run_dir: PathBuf,
    init_program: PathBuf,
    started_at: Timestamp,
    stop: CancellationToken,
    supervisor: Option<Arc<Supervisor>>,
}

impl Containerd {
    /// Connects to containerd, starting a private one if there is none, and takes over what runs.
    /// Returns when everything of an earlier run is known.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if there is no containerd and none can be started.
    pub async fn connect_or_start(config: Config) -> Result<Arc<Self>> {
        make_folders(&config)?;
        let (connection, supervisor) = connect(&config).await?;
        let this = Self::assemble(config, connection, supervisor).await?;
        let (loaded, ready) = tokio::sync::oneshot::channel();
        tokio::spawn(Self::follow_events(
            Arc::downgrade(&this),
            this.stop.clone(),
            loaded,
        ));
        ready.await.unwrap_or_else(|_| {
            Err(Error::Unavailable {
                message: "connecting was interrupted".into(),
            })
        })?;
        if let Err(error) = this.remove_orphaned_shims().await {
            tracing::warn!(%error, "looking for shims without a container");
        }
        // Whoever kept the containers' output for us may go.
        logs::keeper::end(&this.run_dir);
        Ok(this)
    }

    /// Connects to the containerd that a running kobune with these folders uses, for images only:
    /// containers, their output and their events stay with that kobune. Starts nothing.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if that containerd does not answer.
    pub async fn connect(config: Config) -> Result<Arc<Self>> {
        let socket = match &config.socket {
            Some(socket) => socket.clone(),
            None => Layout::new(&config.data_dir, &config.run_dir).socket(),
        };
        let connection = Connection::new(&socket, &config.namespace)?;
        answers(&connection).await?;
        Self::assemble(config, connection, None).await
    }

    async fn assemble(
        config: Config,
        connection: Connection,
        supervisor: Option<Arc<Supervisor>>,
    ) -> Result<Arc<Self>> {
        make_folders(&config)?;
        make_namespace(&connection).await?;
        let cgroups = Hierarchy::look();
        let init = config
            .init_program
            .clone()
            .unwrap_or_else(|| "/proc/self/exe".into());
        let sandboxes = Sandboxes::open(&config.run_dir, &config.data_dir, init.clone(), cgroups.clone())?;
        let images = Images::open(connection.clone(), &config).await?;
        let folders = Folders::open(&config.run_dir, &config.data_dir)?;
        let pump = Pump::start()
            .map_err(|error| Error::other("starting the reader of containers' output", error))?;
        Ok(Arc::new_cyclic(|this| Self {
            this: this.clone(),
            connection,
            host: Host::look(),
            cgroups,
            sandboxes: Arc::new(sandboxes),
            entries: Entries::default(),
            folders,
            pump,
            images,
            events: broadcast::channel(EVENTS).0,
            runc_root: config.run_dir.join("runc"),
            run_dir: config.run_dir.clone(),
            init_program: init.clone(),
            started_at: Timestamp::now(),
            stop: CancellationToken::new(),
            supervisor,
        }))
    }

    /// Stops following events and reading output; containers and containerd run on, and their
    /// output waits in the FIFOs for the next kobune.
    pub fn disconnect(&self) {
        self.stop.cancel();
        logs::keeper::start(&self.init_program, &self.run_dir, &self.pump.stop());
        if let Some(supervisor) = &self.supervisor {
            supervisor.let_go();
        }
    }

    /// Ends a private containerd (not its containers) and takes this kobune's own mounts away, when
    /// no sandbox uses them. For `uninstall` and for tests.
    pub async fn uninstall(&self) {
        self.disconnect();
        if let Some(supervisor) = &self.supervisor {
            supervisor.stop().await;
        }
        self.sandboxes.close();
    }

    /// Takes this kobune's images, and all else it has in a containerd that is not its own, out of that.
    /// The containers must be gone. For `reset`.
    ///
    /// # Errors
    /// What containerd refused.
    pub async fn empty(&self) -> Result<()> {
        foreign::remove_namespace(&self.connection).await
    }

    /// The socket of the containerd in use.
    pub fn socket(&self) -> &Path {
        self.connection.socket()
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        self.disconnect();
    }
}

fn make_folders(config: &Config) -> Result<()> {
    for folder in [&config.data_dir, &config.run_dir] {
        std::fs::create_dir_all(folder)
            .map_err(|error| Error::other(format!("making {}", folder.display()), error))?;
    }
    Ok(())
}

async fn connect(config: &Config) -> Result<(Connection, Option<Arc<Supervisor>>)> {
    if let Some(socket) = &config.socket {
        let connection = Connection::new(socket, &config.namespace)?;
        answers(&connection).await?;
        return Ok((connection, None));
    }
    let layout = Layout::new(&config.data_dir, &config.run_dir);
    if !config.private && !layout.in_use() && Path::new(SYSTEM_SOCKET).exists() {
        let connection = Connection::new(Path::new(SYSTEM_SOCKET), &config.namespace)?;
        match answers(&connection).await {
            Ok(()) => return Ok((connection, None)),
            Err(error) => {
                tracing::info!(%error, "the distribution's containerd does not answer: starting our own")
            }
        }
    }
    let connection = Connection::new(&layout.socket(), &config.namespace)?;
    let supervisor = Supervisor::start(layout, &connection).await?;
    Ok((connection, Some(supervisor)))
}

async fn answers(connection: &Connection) -> Result<()> {
    let asked = connection.version().version(()).await;
    asked.map(drop).map_err(|status| Error::Unavailable {
        message: format!(
            "containerd on {}: {}",
            connection.socket().display(),
            status.message()
        ),
    })
}

async fn make_namespace(connection: &Connection) -> Result<()> {
    use containerd_client::services::v1::{CreateNamespaceRequest, Namespace};
    let namespace = Namespace {
        name: connection.namespace().to_owned(),
        ..Default::default()
    };
    let request = CreateNamespaceRequest {
        namespace: Some(namespace),
    };
    connection
        .namespaces()
        .create(request)
        .await
        .or_exists()
        .map_err(failed("making containerd's namespace"))
}
