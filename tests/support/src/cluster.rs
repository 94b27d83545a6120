//! A kobune server that a suite has for itself.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use crate::command::{Output, run};
use crate::deadline::eventually;
use crate::ports::{Slot, free_port};

/// What a suite wants of its server.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// No node: the API, controllers and scheduler only.
    pub without_node: bool,
    /// Images (names in the cache) that are there from the start.
    pub images: Vec<&'static str>,
    /// Further flags.
    pub flags: Vec<String>,
}

/// A running server with folders, ports and ranges of its own. [`Cluster::remove`] (or dropping it)
/// stops it and removes all it made.
pub struct Cluster {
    folder: PathBuf,
    arguments: Vec<String>,
    port: u16,
    server: Mutex<Option<Child>>,
    without_node: bool,
    _slot: Slot,
}

impl Cluster {
    /// Starts a server and waits until it is ready (its node too, if it has one).
    pub fn start(options: &Options) -> Cluster {
        let cluster = Cluster::start_without_waiting(options);
        cluster.wait_until_ready();
        cluster
    }

    /// Starts a server; it may not answer yet.
    pub fn start_without_waiting(options: &Options) -> Cluster {
        let slot = Slot::take();
        let folder = PathBuf::from(format!("/tmp/kobune-test-{}-{}", std::process::id(), slot.number));
        std::fs::create_dir_all(folder.join("data/agent/images")).expect("/tmp is writable");
        for name in &options.images {
            let target = folder.join("data/agent/images").join(format!("{name}.tar"));
            std::os::unix::fs::symlink(crate::image_tar(name), target).expect("a link in a new folder");
        }
        let port = free_port();
        let n = slot.number;
        let low = 30000 + u16::from(n) * 50;
        let mut arguments: Vec<String> = vec![
            "server".into(),
            format!("--data-dir={}", folder.join("data").display()),
            format!("--config={}", folder.join("config.yaml").display()),
            format!("--https-listen-port={port}"),
            format!("--write-kubeconfig={}", folder.join("kubeconfig").display()),
            format!("--private-registry={}", folder.join("registries.yaml").display()),
            format!("--cluster-cidr=10.{}.0.0/16", 100 + n),
            format!("--service-cidr=10.{}.0.0/16", 150 + n),
            format!("--service-node-port-range={low}-{}", low + 49),
            "--node-name=node-1".into(),
        ];
        std::fs::write(folder.join("config.yaml"), "").expect("a new folder is writable");
        if options.without_node {
            arguments.push("--disable-agent".into());
        }
        arguments.extend(options.flags.iter().cloned());
        let cluster = Cluster {
            folder,
            arguments,
            port,
            server: Mutex::new(None),
            without_node: options.without_node,
            _slot: slot,
        };
        cluster.spawn();
        cluster
    }

    /// Starts the server again, after [`Cluster::stop`] or [`Cluster::kill`].
    pub fn launch(&self) {
        self.spawn();
        self.wait_until_ready();
    }

    /// As [`Cluster::launch`]; the server may not answer yet.
    pub fn launch_without_waiting(&self) {
        self.spawn();
    }

    fn spawn(&self) {
        // The file says that the last run was ready.
        let _ = std::fs::remove_file(self.run_folder().join("ready"));
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())
            .expect("the log is writable");
        let errors = log.try_clone().expect("a file can be shared");
        let child = Command::new(crate::kobune())
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .expect("KOBUNE_BIN can be started");
        *self.lock() = Some(child);
    }

    /// Waits until the server is ready, its node too if it has one.
    pub fn wait_until_ready(&self) {
        eventually("the server is ready", 60, || {
            if let Some(status) = self
                .lock()
                .as_mut()
                .and_then(|child| child.try_wait().ok().flatten())
            {
                panic!("the server ended with {status}:\n{}", self.log());
            }
            let ready = self.kubectl(&["get", "--raw=/readyz"]).result()?;
            if self.without_node || self.run_folder().join("ready").exists() {
                Ok(ready)
            } else {
                Err("no node".into())
            }
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.server
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The server's process.
    pub fn pid(&self) -> u32 {
        self.lock().as_ref().expect("the server runs").id()
    }

    /// Where the API listens on the loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder that holds everything of this cluster.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// `--data-dir`
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// The folder for sockets, as the server names it.
    pub fn run_folder(&self) -> PathBuf {
        let text = std::fs::read_to_string(self.data().join("server/run")).unwrap_or_default();
        PathBuf::from(text.trim())
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// All that the server logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Ends the server as a service manager would, and waits for it.
    pub fn stop(&self) {
        self.signal(libc::SIGTERM);
    }

    /// Ends the server as a crash would.
    pub fn kill(&self) {
        self.signal(libc::SIGKILL);
    }

    fn signal(&self, signal: i32) {
        if let Some(mut child) = self.lock().take() {
            // SAFETY: the child is ours and not reaped yet, so its number is its own.
            unsafe { libc::kill(child.id() as i32, signal) };
            child.wait().expect("a child can be waited for");
        }
    }

    /// kubectl on this cluster, to be completed by the caller.
    pub fn kubectl_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command
            .env("KUBECONFIG", self.kubeconfig())
            .env("HOME", &self.folder)
            .args(arguments);
        command
    }

    /// Runs kubectl on this cluster.
    pub fn kubectl(&self, arguments: &[&str]) -> Output {
        run(&mut self.kubectl_command(arguments), None)
    }

    /// Runs `kubectl apply -f -` with this manifest in a namespace.
    pub fn apply(&self, namespace: &str, manifest: &str) -> Output {
        run(
            &mut self.kubectl_command(&["apply", "-n", namespace, "-f", "-"]),
            Some(manifest),
        )
    }

    /// Runs kobune itself with this cluster's folder.
    pub fn kobune(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(crate::kobune());
        command.env("KOBUNE_DATA_DIR", self.data()).args(arguments);
        run(&mut command, None)
    }

    /// Makes a namespace and removes what an earlier run of the same test left in it.
    pub fn namespace(&self, name: &str) -> String {
        self.kubectl(&["create", "namespace", name]).ok();
        name.to_owned()
    }

    /// Stops the server and removes all that it made.
    pub fn remove(&self) {
        self.stop();
        if !self.folder.exists() {
            return;
        }
        let output = self.kobune(&["reset", "--yes"]);
        if output.code != 0 {
            eprintln!(
                "removing {}: {}{}",
                self.folder.display(),
                output.stdout,
                output.stderr
            );
            return;
        }
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            eprintln!("removing {}: {error}", self.folder.display());
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the server's log:\n{}", self.log());
        }
        self.remove();
    }
}
