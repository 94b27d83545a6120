//! A private containerd in a temporary folder, with the images of tests/images/build, taken away
//! again whatever happens.
#![allow(dead_code, missing_docs)]

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kobune_containerd::{Config, Containerd};
use kobune_runtime::*;
use tokio::io::AsyncReadExt;

pub struct Fixture {
    pub runtime: Arc<Containerd>,
    pub config: Config,
    pub folder: Arc<tempfile::TempDir>,
    group: String,
}

/// Runs a test against real containerd and runc and cleans up, also when it fails.
pub fn run<F: Future<Output = ()> + Send + 'static>(test: impl FnOnce(Fixture) -> F + Send + 'static) {
    run_on(None, test);
}

/// The same with all data on a disk of so many MiB.
pub fn run_on_disk<F: Future<Output = ()> + Send + 'static>(
    size: u32,
    test: impl FnOnce(Fixture) -> F + Send + 'static,
) {
    run_on(Some(size), test);
}

fn run_on<F: Future<Output = ()> + Send + 'static>(
    disk: Option<u32>,
    test: impl FnOnce(Fixture) -> F + Send + 'static,
) {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: containers need root");
        return;
    }
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let group = format!(
        "/kobune-test-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let outcome = tokio.block_on(async {
        let folder = Arc::new(tempfile::Builder::new().prefix("kobune-ctrd-").tempdir().unwrap());
        let mut config = Config::new(folder.path().join("data"), folder.path().join("run"));
        let disk = disk.map(|size| Disk::mount(folder.path().join("data"), size));
        config.private = true;
        config.registries = Some(folder.path().join("registries.yaml"));
        config.init_program = Some(env!("CARGO_BIN_EXE_pod-init").into());
        let runtime = Containerd::connect_or_start(config.clone()).await.unwrap();
        let fixture = Fixture {
            runtime,
            config: config.clone(),
            folder: Arc::clone(&folder),
            group: group.clone(),
        };
        let outcome = tokio::spawn(test(fixture)).await;
        // Another connection: the test may have broken or dropped its own.
        let runtime = Containerd::connect_or_start(config).await.unwrap();
        for sandbox in runtime.sandboxes().await.unwrap() {
            let _ = runtime.remove_sandbox(&sandbox.id).await;
        }
        runtime.uninstall().await;
        drop(disk);
        outcome
    });
    tokio.shutdown_timeout(Duration::from_secs(5));
    remove_groups(&group);
    if let Err(error) = outcome {
        std::panic::resume_unwind(error.into_panic());
    }
}

fn remove_groups(group: &str) {
    fn remove(folder: &Path) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                remove(&entry.path());
            }
        }
        let _ = std::fs::remove_dir(folder);
    }
    remove(&PathBuf::from(format!("/sys/fs/cgroup{group}")));
    for controller in std::fs::read_dir("/sys/fs/cgroup")
        .into_iter()
        .flatten()
        .flatten()
    {
        remove(&PathBuf::from(format!("{}{group}", controller.path().display())));
    }
}

/// The tar of an image, built first if need be.
pub fn tar(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join(format!("tests/.cache/images/{name}.tar"));
    if !path.exists() {
        let built = Command::new(root.join("tests/images/build"))
            .arg("--only")
            .arg(name)
            .status()
            .unwrap();
        assert!(built.success());
    }
    path
}

/// A small disk; unmounted when dropped.
struct Disk(PathBuf);

impl Disk {
    fn mount(path: PathBuf, size: u32) -> Self {
        std::fs::create_dir_all(&path).unwrap();
        let options = format!("size={size}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(&path)
            .status();
        assert!(mounted.unwrap().success());
        Self(path)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

impl Fixture {
    /// Makes the disk of [`run_on_disk`] another size.
    pub fn resize(&self, size: u32) {
        let options = format!("remount,size={size}m");
        let done = Command::new("mount")
            .args(["-o", &options])
            .arg(self.folder.path().join("data"))
            .status();
        assert!(done.unwrap().success());
    }

    pub async fn import(&self, name: &str) -> Vec<String> {
        let mut file = tokio::fs::File::open(tar(name)).await.unwrap();
        self.runtime.import_images(&mut file).await.unwrap()
    }

    pub fn sandbox_spec(&self, uid: &str) -> SandboxSpec {
        SandboxSpec {
            pod_uid: uid.into(),
            pod_name: format!("pod-{uid}"),
            pod_namespace: "default".into(),
            hostname: format!("host-{uid}"),
            cgroup_parent: format!("{}/{uid}", self.group),
            ..Default::default()
        }
    }

    pub async fn sandbox(&self, uid: &str) -> Sandbox {
        self.runtime
            .create_sandbox(&self.sandbox_spec(uid))
            .await
            .unwrap()
    }

    /// A busybox container that runs a script.
    pub fn script(&self, sandbox: &Sandbox, script: &str) -> ContainerSpec {
        ContainerSpec {
            name: "main".into(),
            image: "busybox".into(),
            command: vec!["sh".into(), "-c".into(), script.into()],
            cgroup_parent: sandbox.spec.cgroup_parent.clone(),
            log_path: self.log(sandbox),
            ..Default::default()
        }
    }

    pub fn log(&self, sandbox: &Sandbox) -> PathBuf {
        self.folder.path().join(format!("logs/{}/main/0.log", sandbox.id))
    }

    /// Makes and starts a container.
    pub async fn start(&self, sandbox: &Sandbox, spec: &ContainerSpec) -> String {
        let id = self.runtime.create_container(sandbox, spec).await.unwrap();
        self.runtime.start_container(&id).await.unwrap();
        id
    }

    /// Waits for the end of a container: its exit code and whether it was for memory.
    pub async fn ended(&self, id: &str) -> (i32, bool) {
        let mut events = self.runtime.events();
        let ended = async {
            loop {
                if let ContainerState::Exited {
                    exit_code,
                    oom_killed,
                    ..
                } = self.runtime.container(id).await.unwrap().state
                {
                    return (exit_code, oom_killed);
                }
                events.recv().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(30), ended)
            .await
            .expect("the container ends")
    }

    /// Runs a script to its end and answers the contents of its log, without the times.
    pub async fn output(&self, sandbox: &Sandbox, spec: &ContainerSpec) -> (i32, String) {
        let id = self.start(sandbox, spec).await;
        let (code, _) = self.ended(&id).await;
        let text = self.read_log(sandbox);
        self.runtime.remove_container(&id).await.unwrap();
        std::fs::remove_file(self.log(sandbox)).unwrap();
        (code, text)
    }

    pub fn read_log(&self, sandbox: &Sandbox) -> String {
        let text = std::fs::read_to_string(self.log(sandbox)).unwrap_or_default();
        text.lines()
            .map(|line| format!("{}\n", line.split_once(' ').unwrap().1))
            .collect()
    }

    pub async fn exec(&self, id: &str, command: &[&str]) -> (i32, String, String) {
        let spec = ExecSpec {
            command: command.iter().map(|word| (*word).into()).collect(),
            ..Default::default()
        };
        finish(self.runtime.exec(id, &spec).await.unwrap()).await
    }

    /// Another kobune on the same folders, as after a restart.
    pub async fn restart(&mut self) {
        self.runtime.disconnect();
        self.runtime = Containerd::connect_or_start(self.config.clone()).await.unwrap();
    }

    /// Waits until the log holds a text.
    pub async fn logged(&self, sandbox: &Sandbox, wanted: &str) {
        let there = async {
            while !self.read_log(sandbox).contains(wanted) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), there)
            .await
            .unwrap_or_else(|_| {
                panic!("{wanted:?} does not appear in: {}", self.read_log(sandbox));
            });
    }
}

/// Reads a session to its end: exit code, stdout, stderr.
pub async fn finish(session: Session) -> (i32, String, String) {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let Session {
        stdout: out,
        stderr: err,
        exit,
        stdin,
        resize,
    } = session;
    let read = async {
        if let Some(mut out) = out {
            out.read_to_end(&mut stdout).await.unwrap();
        }
    };
    let read_errors = async {
        if let Some(mut err) = err {
            err.read_to_end(&mut stderr).await.unwrap();
        }
    };
    tokio::join!(read, read_errors);
    let code = tokio::time::timeout(Duration::from_secs(20), exit)
        .await
        .expect("an exit code")
        .unwrap()
        .unwrap();
    drop((stdin, resize));
    (
        code,
        String::from_utf8_lossy(&stdout).into_owned(),
        String::from_utf8_lossy(&stderr).into_owned(),
    )
}
