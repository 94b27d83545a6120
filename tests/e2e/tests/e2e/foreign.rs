//! A containerd that is not kobune's own, with another's things in it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use kobune_test_support::{Cluster, Options, eventually, image_tar, run};

use crate::shared::pod;

/// A containerd as a distribution's package would run it.
struct Foreign {
    folder: PathBuf,
    process: Child,
}

impl Foreign {
    fn start() -> Foreign {
        let folder = PathBuf::from(format!("/tmp/kobune-foreign-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("/tmp is writable");
        let config = folder.join("config.toml");
        let place = |name: &str| folder.join(name).display().to_string();
        let text = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = {:?}\n",
            place("root"),
            place("state"),
            place("sock")
        );
        std::fs::write(&config, text).expect("a new folder is writable");
        let process = Command::new("containerd")
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("containerd is installed");
        let foreign = Foreign { folder, process };
        eventually("the foreign containerd answers", 30, || {
            foreign.ctr("version").result()
        });
        foreign
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("sock")
    }

    fn ctr(&self, line: &str) -> kobune_test_support::Output {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(self.socket()).args(line.split(' '));
        run(&mut command, None)
    }

    /// A namespace's images, blobs and snapshots.
    fn inventory(&self, namespace: &str) -> String {
        ["images ls -q", "content ls -q", "snapshots ls"]
            .map(|what| self.ctr(&format!("-n {namespace} {what}")).ok())
            .concat()
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        // It is a child of this process and not waited for yet.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn a_reset_takes_our_own_out_of_a_foreign_containerd_and_leaves_others_theirs() {
    let foreign = Foreign::start();
    let tar = image_tar("busybox").display().to_string();
    foreign.ctr(&format!("-n others images import {tar}")).ok();
    // ctr's import leaves an index that nobody refers to; containerd takes that at its next collection,
    // whoever asks for one.
    foreign.ctr("-n others leases create --id settle").ok();
    foreign.ctr("-n others leases delete --sync settle").ok();
    let theirs = foreign.inventory("others");
    let cluster = Cluster::start(&Options {
        images: vec!["busybox"],
        flags: vec![format!(
            "--container-runtime-endpoint=unix://{}",
            foreign.socket().display()
        )],
        ..Options::default()
    });
    cluster.apply("default", &pod("stays", "sleep 1000", "")).ok();
    cluster
        .kubectl(&["wait", "--for=condition=Ready", "pod/stays", "--timeout=60s"])
        .ok();
    assert!(cluster.kobune(&["image", "list"]).ok().contains("busybox"));
    let namespaces = foreign.ctr("namespaces ls -q").ok();
    assert_eq!(namespaces.lines().count(), 2, "{namespaces}");
    cluster.stop();
    cluster.kobune(&["reset", "--yes"]).ok();
    assert_eq!(foreign.ctr("namespaces ls -q").ok(), "others\n");
    assert_eq!(foreign.inventory("others"), theirs);
    assert!(!cluster.data().exists());
    let shims = run(Command::new("ps").args(["-eo", "args"]), None).ok();
    assert!(!mentions(&shims, &foreign.folder, "containerd-shim"), "{shims}");
}

/// Whether a process of this program has the folder among its arguments.
fn mentions(processes: &str, folder: &Path, program: &str) -> bool {
    let folder = folder.display().to_string();
    let mut lines = processes.lines();
    lines.any(|line| line.contains(program) && line.contains(&folder))
}
