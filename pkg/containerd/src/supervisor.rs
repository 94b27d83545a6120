//! A containerd of our own, when the machine has none running.
//!
//! ```text
//! no socket -> write config.toml -> spawn in its own session -> answers -> supervised
//!                    ^                                                        | ends
//!                    +--------------- after a pause that grows ---------------+
//! ```
//!
//! It lives in a session of its own and is adopted by the next kobune: containers and their shims
//! outlive both. **Invariant**: nothing here kills a shim; [`Supervisor::stop`] is for tests and for
//! `uninstall` only.

use std::fs::{self, File, OpenOptions};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kobune_runtime::{Error, Result};
use tokio::io::unix::AsyncFd;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::connection::Connection;

/// How long containerd may take from exec to its first answer.
const START_LIMIT: Duration = Duration::from_secs(60);
/// The pause before it is started again doubles from here up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Where the private containerd keeps its things.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// Its root: images, snapshots, metadata.
    pub(crate) root: PathBuf,
    /// Its state: bundles, sockets.
    pub(crate) state: PathBuf,
}

impl Layout {
    /// The private containerd of the kobune with these folders.
    pub(crate) fn new(data_dir: &Path, run_dir: &Path) -> Self {
        Self {
            root: data_dir.join("containerd"),
            state: run_dir.join("containerd"),
        }
    }

    /// The socket it listens on.
    pub(crate) fn socket(&self) -> PathBuf {
        self.state.join("containerd.sock")
    }

    fn pid_file(&self) -> PathBuf {
        self.state.join("containerd.pid")
    }

    fn config_file(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    /// True when a private containerd has run here before: then its images are here too.
    pub(crate) fn in_use(&self) -> bool {
        self.config_file().exists()
    }
}

/// Keeps a private containerd running.
pub(crate) struct Supervisor {
    layout: Layout,
    process: Mutex<Option<Process>>,
    stop: CancellationToken,
}

/// A process by id and by a descriptor that cannot be taken for another's.
#[derive(Clone)]
struct Process {
    pid: i32,
    fd: Arc<OwnedFd>,
}

impl Supervisor {
    /// Adopts the containerd of an earlier run, or starts one; returns when it answers.
    pub(crate) async fn start(layout: Layout, connection: &Connection) -> Result<Arc<Self>> {
        let supervisor = Arc::new(Self {
            layout,
            process: Mutex::new(None),
            stop: CancellationToken::new(),
        });
        let process = match supervisor.adopt() {
            Some(process) => {
                info!(pid = process.pid, "found our containerd running");
                process
            }
            None => supervisor.spawn()?,
        };
        supervisor.remember(process.clone());
        supervisor.answers(connection, &process).await?;
        tokio::spawn(Arc::clone(&supervisor).supervise(process));
        Ok(supervisor)
    }

    fn remember(&self, process: Process) {
        *self.process.lock().unwrap_or_else(|poison| poison.into_inner()) = Some(process);
    }

    fn adopt(&self) -> Option<Process> {
        let pid: i32 = fs::read_to_string(self.layout.pid_file())
            .ok()?
            .trim()
            .parse()
            .ok()?;
        // A pid is used again by others after a while; its command line tells.
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let config = self.layout.config_file();
        let ours = line
            .split(|byte| *byte == 0)
            .any(|argument| argument == config.as_os_str().as_encoded_bytes());
        ours.then(|| Process::open(pid)).flatten()
    }

    fn spawn(&self) -> Result<Process> {
        let layout = &self.layout;
        let binary = find_binary("containerd")?;
        find_binary("runc")?;
        for folder in [&layout.root, &layout.state] {
            fs::create_dir_all(folder)
                .map_err(|error| Error::other(format!("making {}", folder.display()), error))?;
        }
        fs::write(layout.config_file(), config(layout))
            .map_err(|error| Error::other(format!("writing {}", layout.config_file().display()), error))?;
        let log = open_log(&layout.root.join("containerd.log"))?;
        let errors = log
            .try_clone()
            .map_err(|error| Error::other("duplicating containerd's log", error))?;
        let mut command = Command::new(&binary);
        command.arg("--config").arg(layout.config_file());
        command
            .env("PATH", search_path())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors);
        // SAFETY: setsid is async-signal-safe and touches no memory of the parent.
        unsafe {
            command.pre_exec(|| {
                libc::setsid();
                Ok(())
            });
        }
        let child = command
            .spawn()
            .map_err(|error| Error::other(format!("starting {}", binary.display()), error))?;
        let pid = child.id() as i32;
        fs::write(layout.pid_file(), pid.to_string())
            .map_err(|error| Error::other(format!("writing {}", layout.pid_file().display()), error))?;
        info!(pid, binary = %binary.display(), root = %layout.root.display(), "started containerd");
        Process::open(pid).ok_or_else(|| Error::Unavailable {
            message: "containerd ended at once".into(),
        })
    }

    /// Waits until it answers, or says why it cannot.
    async fn answers(&self, connection: &Connection, process: &Process) -> Result<()> {
        let asked = async {
            // The socket appears when containerd is ready; until then a connect is refused at once.
            let mut retry = tokio::time::interval(Duration::from_millis(5));
            loop {
                retry.tick().await;
                if connection.version().version(()).await.is_ok() {
                    return;
                }
            }
        };
        tokio::select! {
            _ = asked => Ok(()),
            _ = process.ended() => Err(Error::Unavailable { message: self.last_words() }),
            _ = tokio::time::sleep(START_LIMIT) => Err(Error::Unavailable {
                message: format!("containerd did not answer on {} within {START_LIMIT:?}", self.layout.socket().display()),
            }),
        }
    }

    fn last_words(&self) -> String {
        let path = self.layout.root.join("containerd.log");
        let log = fs::read_to_string(&path).unwrap_or_default();
        let last = log.lines().last().unwrap_or("nothing in its log");
        format!("containerd ended; its log {} ends with: {last}", path.display())
    }

    async fn supervise(self: Arc<Self>, mut process: Process) {
        let mut pause = FIRST_PAUSE;
        loop {
            let started = std::time::Instant::now();
            tokio::select! {
                _ = process.ended() => {}
                _ = self.stop.cancelled() => return,
            }
            if started.elapsed() > Duration::from_secs(60) {
                pause = FIRST_PAUSE;
            }
            warn!(pid = process.pid, restart_in = ?pause, "{}", self.last_words());
            loop {
                tokio::select! {
                    _ = tokio::time::sleep(pause) => {}
                    _ = self.stop.cancelled() => return,
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
                match self.spawn() {
                    Ok(next) => {
                        self.remember(next.clone());
                        process = next;
                        break;
                    }
                    Err(error) => warn!(%error, "containerd could not be started"),
                }
            }
        }
    }

    /// No longer starts containerd again; it runs on, for the next kobune to adopt.
    pub(crate) fn let_go(&self) {
        self.stop.cancel();
    }

    /// Ends containerd itself (its shims and containers run on) and waits until it is gone.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        let process = self
            .process
            .lock()
            .unwrap_or_else(|poison| poison.into_inner())
            .take();
        if let Some(process) = process {
            process.signal(libc::SIGTERM);
            if tokio::time::timeout(Duration::from_secs(10), process.ended())
                .await
                .is_err()
            {
                process.signal(libc::SIGKILL);
                process.ended().await;
            }
        }
        let _ = fs::remove_file(self.layout.pid_file());
    }
}

impl Process {
    fn open(pid: i32) -> Option<Self> {
        // SAFETY: pidfd_open takes a pid and flags and returns a new descriptor or -1.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, libc::PIDFD_NONBLOCK) };
        if fd < 0 {
            return None;
        }
        // SAFETY: the descriptor is new and ours alone.
        let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        Some(Self {
            pid,
            fd: Arc::new(fd),
        })
    }

    fn signal(&self, signal: i32) {
        // SAFETY: pidfd_send_signal with a null siginfo behaves as kill().
        unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.fd.as_raw_fd(),
                signal,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
    }

    /// Returns when the process has ended; reaps it if it is a child of ours.
    async fn ended(&self) {
        if let Ok(fd) = self.fd.try_clone() {
            // SAFETY: the descriptor is a copy that only the AsyncFd has.
            if let Ok(fd) = unsafe { AsyncFd::register_with_interest(fd, tokio::io::Interest::READABLE) } {
                let _ = fd.readable().await;
            }
        }
        let mut status = 0;
        // SAFETY: waitpid writes one int; ECHILD (not our child) is fine.
        unsafe { libc::waitpid(self.pid, &mut status, libc::WNOHANG) };
    }
}

fn open_log(path: &Path) -> Result<File> {
    // One old log is kept; containerd itself does not rotate.
    if fs::metadata(path).is_ok_and(|file| file.len() > 8 << 20) {
        let _ = fs::rename(path, path.with_extension("log.1"));
    }
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(|error| Error::other(format!("opening {}", path.display()), error))
}

/// Our own folder first, then where distributions put things.
fn search_path() -> String {
    let mut path = String::new();
    if let Some(folder) = std::env::current_exe().ok().as_deref().and_then(Path::parent) {
        path.push_str(&folder.display().to_string());
        path.push(':');
    }
    if let Ok(inherited) = std::env::var("PATH") {
        path.push_str(&inherited);
        path.push(':');
    }
    path.push_str("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/kobune/bin");
    path
}

fn find_binary(name: &str) -> Result<PathBuf> {
    search_path()
        .split(':')
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| Error::Unavailable {
            message: format!("no `{name}` was found (install it: apt-get install containerd runc)"),
        })
}

/// Only what is needed: no CRI, no other snapshotters, no restart monitor that wakes every ten seconds.
fn config(layout: &Layout) -> String {
    const DISABLED: &[&str] = &[
        "io.containerd.grpc.v1.cri",
        "io.containerd.cri.v1.images",
        "io.containerd.cri.v1.runtime",
        "io.containerd.internal.v1.opt",
        "io.containerd.internal.v1.restart",
        "io.containerd.internal.v1.tracing",
        "io.containerd.monitor.container.v1.restart",
        "io.containerd.nri.v1.nri",
        "io.containerd.snapshotter.v1.aufs",
        "io.containerd.snapshotter.v1.blockfile",
        "io.containerd.snapshotter.v1.btrfs",
        "io.containerd.snapshotter.v1.devmapper",
        "io.containerd.snapshotter.v1.erofs",
        "io.containerd.snapshotter.v1.zfs",
        "io.containerd.tracing.processor.v1.otlp",
    ];
    format!(
        "# Written by kobune at each start.\n\
         version = 2\n\
         root = {root:?}\n\
         state = {state:?}\n\
         disabled_plugins = {DISABLED:?}\n\n\
         [grpc]\n\
         address = {socket:?}\n\
         max_recv_message_size = 67108864\n\
         max_send_message_size = 67108864\n\n\
         [debug]\n\
         level = \"warn\"\n",
        root = layout.root,
        state = layout.state,
        socket = layout.socket(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_names_its_folders_and_leaves_out_the_cri() {
        let text = config(&Layout::new(Path::new("/data"), Path::new("/run/k")));
        assert!(text.contains("root = \"/data/containerd\""));
        assert!(text.contains("address = \"/run/k/containerd/containerd.sock\""));
        assert!(text.contains("io.containerd.grpc.v1.cri"));
    }
}
