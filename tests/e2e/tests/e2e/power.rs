//! A machine that loses its power and starts again, for one server's part of it.

use std::path::Path;
use std::process::Command;

use kobune_test_support::{Cluster, eventually, run};

use crate::shared::pod;

/// Every process of the server ends at once; what is in memory only goes with them.
fn cut(cluster: &Cluster) {
    let run_folder = cluster.run_folder();
    let instance = run_folder.to_string_lossy().rsplit('-').next().map(str::to_owned);
    let instance = instance.expect("the run folder of a second server has its name");
    let group = format!("kubepods-{instance}/");
    let folders = [run_folder.as_path(), &cluster.data().join("agent/containerd")].map(text);
    cluster.kill();
    // Again until nobody is left: a shim may have been starting something.
    eventually("all processes are gone", 10, || {
        match kill_all(&group, &folders) {
            0 => Ok(()),
            killed => Err(format!("{killed} were there")),
        }
    });
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("Linux has it");
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    let mut ours: Vec<&str> = places
        .filter(|place| {
            [run_folder.as_path(), cluster.folder()]
                .map(text)
                .iter()
                .any(|f| place.starts_with(f))
        })
        .collect();
    ours.sort_unstable();
    for place in ours.into_iter().rev() {
        said("umount", &["-l", place]);
    }
    std::fs::remove_dir_all(&run_folder).expect("nothing is mounted there any more");
    let bridge = format!("kb-{instance}");
    for line in said("ip", &["-o", "link"])
        .lines()
        .filter(|line| line.contains(&bridge))
    {
        let name = line.split(": ").nth(1).and_then(|name| name.split('@').next());
        said("ip", &["link", "del", name.unwrap_or_default()]);
    }
    said("nft", &["delete", "table", "ip", &format!("kobune-{instance}")]);
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn said(program: &str, arguments: &[&str]) -> String {
    run(Command::new(program).args(arguments), None).stdout
}

/// Kills what is in the control group or was started with one of the folders; answers how many.
fn kill_all(group: &str, folders: &[String]) -> usize {
    let entries = std::fs::read_dir("/proc").expect("/proc is there");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let file = |pid: i32, name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let is_ours = |pid: &i32| {
        let groups = String::from_utf8_lossy(&file(*pid, "cgroup")).into_owned();
        let command = String::from_utf8_lossy(&file(*pid, "cmdline")).replace('\0', " ");
        // One that has ended, and that nobody waits for, has no command any more.
        !command.is_empty()
            && (groups.contains(group) || folders.iter().any(|f| command.contains(f.as_str())))
    };
    let ours: Vec<i32> = pids.filter(is_ours).collect();
    for pid in &ours {
        // SAFETY: a signal to a process of our own server.
        unsafe { libc::kill(*pid, libc::SIGKILL) };
    }
    ours.len()
}

/// It counts its starts: in memory, and on the disk.
const COUNTS: &str = "apiVersion: v1
kind: Pod
metadata: {name: counts}
spec:
  terminationGracePeriodSeconds: 1
  initContainers:
  - {name: first, image: busybox, imagePullPolicy: Never, command: [sh, -c, 'echo x >> /memory/x; echo x >> /disk/x'],
     volumeMounts: [{name: memory, mountPath: /memory}, {name: disk, mountPath: /disk}]}
  containers:
  - {name: main, image: busybox, imagePullPolicy: Never, command: [sleep, '1000'], volumeMounts: [{name: memory, mountPath: /memory}, {name: disk, mountPath: /disk}]}
  volumes: [{name: memory, emptyDir: {medium: Memory}}, {name: disk, emptyDir: {}}]
";

#[test]
fn pods_come_back_when_the_machine_starts_again() {
    let cluster = Cluster::start(&kobune_test_support::Options {
        images: vec!["busybox"],
        ..Default::default()
    });
    cluster.apply("default", COUNTS).ok();
    cluster
        .apply("default", &pod("once", "sleep 1000", "  restartPolicy: Never"))
        .ok();
    let waited = [
        "wait",
        "--for=condition=Ready",
        "pod/counts",
        "pod/once",
        "--timeout=60s",
    ];
    cluster.kubectl(&waited).ok();
    cut(&cluster);
    cluster.launch();

    let field = |pod: &str, path: &str| {
        let path = format!("jsonpath={{{path}}}");
        cluster.kubectl(&["get", "pod", pod, "-o", &path]).result()
    };
    let state = ".status.containerStatuses[0]";
    eventually("the pod runs again", 60, || {
        let found = field("counts", &format!("{state}.restartCount}} {{{state}.ready"))?;
        if found == "1 true" { Ok(()) } else { Err(found) }
    });
    let ended = format!("{state}.lastState.terminated");
    let ended =
        field("counts", &format!("{ended}.reason}} {{{ended}.exitCode")).expect("it has a last state");
    assert_eq!(ended, "Unknown 255");
    let files = ["exec", "counts", "--", "cat", "/memory/x", "/disk/x"];
    assert_eq!(
        cluster.kubectl(&files).ok(),
        "x\nx\nx\n",
        "the init container ran again"
    );
    let events = cluster.kubectl(&["get", "events"]).ok();
    assert!(events.contains("Pod sandbox changed"), "{events}");
    // What must not run again has failed.
    eventually("the other one failed", 30, || {
        let found = field(
            "once",
            &format!(".status.phase}} {{{state}.state.terminated.exitCode"),
        )?;
        if found == "Failed 255" { Ok(()) } else { Err(found) }
    });
}
