//! What a server has on its machine: to be compared before and after.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use kobune_test_support::{Cluster, run};

/// Everything of a server's pods that can be left behind, a line each.
pub fn inventory(cluster: &Cluster) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    let (data, run_folder) = (cluster.data().join("agent"), cluster.run_folder());
    let instance = run_folder.to_string_lossy().rsplit('-').next().map(str::to_owned);
    let instance = instance.expect("the run folder of a second server has its name");
    for folder in [
        run_folder.join("containerd/ns"),
        run_folder.join("containerd/shm"),
        run_folder.join("containerd/containers"),
        run_folder.join(format!("containerd/runc/kobune-{instance}")),
        run_folder.join("containerd/containerd/state"),
        data.join("containerd/sandboxes"),
        data.join("containerd/exits"),
        data.join("containerd/volumes"),
        data.join("network/pods"),
        data.join("kubelet/pods"),
    ] {
        walk(&folder, &mut lines);
    }
    let mut take = |what: &str, text: String, wanted: &str| {
        let found = text.lines().filter(|line| line.contains(wanted));
        lines.extend(found.map(|line| format!("{what}: {}", line.trim())));
    };
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("Linux has it");
    // The number of a mount changes when it is made anew, its place does not.
    let places: Vec<&str> = mounts.lines().filter_map(|line| line.split(' ').nth(4)).collect();
    for folder in [cluster.folder(), run_folder.as_path()] {
        take("mount", places.join("\n"), &folder.display().to_string());
    }
    // The groups of all pods and of each class are made for the first pod, and stay.
    let groups = said("find", &["/sys/fs/cgroup", "-type", "d", "-path", "*/pod*"]);
    take("cgroup", groups, &format!("kubepods-{instance}"));
    let links = said("ip", &["-o", "link"]);
    let bridge = format!("master kb-{instance}");
    take("link", without_numbers(&links), &bridge);
    take("route", said("ip", &["route"]), &format!("kb-{instance}"));
    take(
        "rules",
        said("nft", &["list", "table", "ip", &format!("kobune-{instance}")]),
        "",
    );
    take(
        "shim",
        said("ps", &["-eo", "args"]),
        &format!("{}/containerd/containerd", run_folder.display()),
    );
    take("init", said("ps", &["-eo", "args"]), "kobune pod-init ");
    let socket = run_folder
        .join("containerd/containerd/containerd.sock")
        .display()
        .to_string();
    let namespace = format!("kobune-{instance}");
    for what in [["containers", "ls"], ["tasks", "ls"], ["leases", "ls"]] {
        let all = [&["-a", &socket, "-n", &namespace][..], &what[..]].concat();
        take("containerd", said("ctr", &all), "");
    }
    let snapshots = said("ctr", &["-a", &socket, "-n", &namespace, "snapshots", "ls"]);
    // Those of images stay.
    take("snapshot", snapshots, "Active");
    lines
}

fn said(program: &str, arguments: &[&str]) -> String {
    run(Command::new(program).args(arguments), None).stdout
}

/// Names and masters of links; their numbers and states are of no interest.
fn without_numbers(links: &str) -> String {
    let short = links.lines().map(|line| {
        let name = line.split(": ").nth(1).unwrap_or_default();
        let master = line
            .split(" master ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next());
        format!("{name} master {}", master.unwrap_or("none"))
    });
    short.collect::<Vec<_>>().join("\n")
}

fn walk(folder: &Path, lines: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        lines.insert(entry.path().display().to_string());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) && !entry.path().ends_with("rootfs") {
            walk(&entry.path(), lines);
        }
    }
}
