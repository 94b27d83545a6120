//! The pods' cgroups, for version 1 (a folder in each controller) and version 2 (one folder).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use kobune_runtime::Resources;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

/// Where cgroups are mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cgroups {
    /// Version 1.
    V1 {
        /// The mount of each controller that pods have limits in.
        controllers: Vec<(String, PathBuf)>,
        /// The other hierarchies (cpuset, systemd's, the unified one): runc makes groups there too.
        others: Vec<PathBuf>,
    },
    /// Version 2.
    V2(PathBuf),
}

const V1_CONTROLLERS: [&str; 7] = ["cpu", "cpuacct", "memory", "pids", "blkio", "devices", "freezer"];
/// Where pods of each quality of service are.
const CLASSES: [&str; 3] = ["", "/burstable", "/besteffort"];
const V2_CONTROLLERS: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

impl Cgroups {
    /// Looks at this machine's mounts.
    pub fn detect() -> io::Result<Self> {
        Ok(parse(&fs::read_to_string("/proc/self/mountinfo")?))
    }

    /// True for version 2.
    pub fn is_v2(&self) -> bool {
        matches!(self, Cgroups::V2(_))
    }

    /// Makes a cgroup (relative path as `/kubepods/burstable/pod<uid>`) and sets its limits.
    pub fn create(&self, path: &str, resources: &Resources) -> io::Result<()> {
        let relative = path.trim_start_matches('/');
        match self {
            Cgroups::V1 { controllers, .. } => {
                for (controllers, mount) in controllers {
                    let dir = mount.join(relative);
                    fs::create_dir_all(&dir)?;
                    set_v1(controllers, &dir, resources)?;
                }
                Ok(())
            }
            Cgroups::V2(mount) => {
                make_v2(mount, relative)?;
                set_v2(&mount.join(relative), resources)
            }
        }
    }

    /// Removes a cgroup and what is below it; processes in it are an error.
    pub fn remove(&self, path: &str) -> io::Result<()> {
        let relative = path.trim_start_matches('/');
        self.mounts()
            .into_iter()
            .try_for_each(|m| remove_tree(&m.join(relative)))
    }

    fn mounts(&self) -> Vec<&PathBuf> {
        match self {
            Cgroups::V1 { controllers, others } => controllers.iter().map(|(_, m)| m).chain(others).collect(),
            Cgroups::V2(mount) => vec![mount],
        }
    }

    /// Removes a pod's cgroup, of whatever class it was. What is still in it is killed, as upstream does: a
    /// container that was made in the very moment in which its pod was to go, and never started.
    pub fn remove_pod(&self, root: &str, uid: &str) -> io::Result<()> {
        CLASSES.iter().try_for_each(|class| {
            let path = format!("{root}{class}/pod{uid}");
            self.remove(&path).or_else(|_| {
                self.kill(&path);
                self.remove(&path)
            })
        })
    }

    fn kill(&self, path: &str) {
        let relative = path.trim_start_matches('/');
        let pids: BTreeSet<i32> = self
            .mounts()
            .iter()
            .flat_map(|mount| processes(&mount.join(relative)))
            .collect();
        for pid in pids {
            tracing::info!(pid, cgroup = path, "a process that its pod left behind is killed");
            // One that has just ended is as good.
            let _ = nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }

    /// Pods' uids that have a cgroup below `root`, with its path.
    pub fn pods(&self, root: &str) -> BTreeSet<(String, String)> {
        let mut found = BTreeSet::new();
        for (mount, class) in self
            .mounts()
            .iter()
            .flat_map(|mount| CLASSES.map(|class| (mount, class)))
        {
            let parent = format!("{root}{class}");
            let entries = fs::read_dir(mount.join(parent.trim_start_matches('/')));
            for entry in entries.into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if let Some(uid) = name.strip_prefix("pod") {
                    found.insert((uid.to_owned(), format!("{parent}/{name}")));
                }
            }
        }
        found
    }
}

fn parse(mountinfo: &str) -> Cgroups {
    let mut v1: Vec<(String, PathBuf)> = Vec::new();
    let mut others = Vec::new();
    let mut v2 = None;
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        let Some(mount) = left.split(' ').nth(4).map(PathBuf::from) else {
            continue;
        };
        let mut right = right.split(' ');
        match right.next() {
            Some("cgroup2") => v2 = v2.or(Some(mount)),
            Some("cgroup") => {
                let options = right.nth(1).unwrap_or_default();
                let ours: Vec<&str> = options
                    .split(',')
                    .filter(|o| V1_CONTROLLERS.contains(o))
                    .collect();
                let known = v1.iter().any(|(c, _)| *c == ours.join(","));
                if ours.is_empty() {
                    others.push(mount);
                } else if !known {
                    v1.push((ours.join(","), mount));
                }
            }
            _ => {}
        }
    }
    match v2 {
        Some(mount) if v1.is_empty() => Cgroups::V2(mount),
        v2 => {
            others.extend(v2);
            Cgroups::V1 {
                controllers: v1,
                others,
            }
        }
    }
}

fn set(dir: &Path, file: &str, value: impl ToString) -> io::Result<()> {
    let path = dir.join(file);
    fs::write(&path, value.to_string())
        .map_err(|e| io::Error::new(e.kind(), format!("writing {}: {e}", path.display())))
}

fn set_v1(controllers: &str, dir: &Path, r: &Resources) -> io::Result<()> {
    let has = |c: &str| controllers.split(',').any(|x| x == c);
    if has("cpu") {
        if let Some(shares) = r.cpu_shares {
            set(dir, "cpu.shares", shares)?;
        }
        if dir.join("cpu.cfs_quota_us").exists() {
            if let Some(period) = r.cpu_period {
                set(dir, "cpu.cfs_period_us", period)?;
            }
            if let Some(quota) = r.cpu_quota {
                set(dir, "cpu.cfs_quota_us", quota)?;
            }
        }
    }
    if let Some(limit) = r.memory_limit.filter(|_| has("memory")) {
        set(dir, "memory.limit_in_bytes", limit)?;
    }
    if let Some(limit) = r.pids_limit.filter(|l| *l > 0 && has("pids")) {
        set(dir, "pids.max", limit)?;
    }
    Ok(())
}

/// Version 2 hands controllers down one level at a time.
fn make_v2(mount: &Path, relative: &str) -> io::Result<()> {
    let mut dir = mount.to_owned();
    for part in Path::new(relative).components() {
        let available = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
        let enabled = fs::read_to_string(dir.join("cgroup.subtree_control")).unwrap_or_default();
        for controller in V2_CONTROLLERS {
            let has = |list: &str| list.split_whitespace().any(|c| c == controller);
            if has(&available) && !has(&enabled) {
                // One that cannot be handed down is missing in the pods; limits of it then fail.
                let _ = set(&dir, "cgroup.subtree_control", format!("+{controller}"));
            }
        }
        dir.push(part);
        fs::create_dir_all(&dir)?;
    }
    Ok(())
}

fn set_v2(dir: &Path, r: &Resources) -> io::Result<()> {
    if let Some(shares) = r.cpu_shares {
        set(dir, "cpu.weight", weight(shares))?;
    }
    if let (Some(quota), Some(period)) = (r.cpu_quota, r.cpu_period) {
        let quota = if quota < 0 {
            "max".to_owned()
        } else {
            quota.to_string()
        };
        set(dir, "cpu.max", format!("{quota} {period}"))?;
    }
    if let Some(limit) = r.memory_limit {
        set(dir, "memory.max", limit)?;
    }
    if let Some(limit) = r.pids_limit.filter(|l| *l > 0) {
        set(dir, "pids.max", limit)?;
    }
    Ok(())
}

/// `cpu.shares` (2 to 262144) as `cpu.weight` (1 to 10000).
fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

/// The processes in a cgroup and in those below it.
fn processes(dir: &Path) -> Vec<i32> {
    let own = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    let below = fs::read_dir(dir).into_iter().flatten().flatten();
    let below = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    own.lines()
        .filter_map(|line| line.parse().ok())
        // 0 is a process of another pid namespace, and a signal to it one to ourselves.
        .filter(|pid| *pid > 0)
        .chain(below.flat_map(|entry| processes(&entry.path())))
        .collect()
}

fn remove_tree(dir: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_recognized() {
        let v2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(parse(v2), Cgroups::V2("/sys/fs/cgroup".into()));
        let hybrid = "1 2 0:1 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
            1 2 0:2 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
            1 2 0:3 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
            1 2 0:4 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        assert_eq!(
            parse(hybrid),
            Cgroups::V1 {
                controllers: vec![
                    ("cpu,cpuacct".into(), "/sys/fs/cgroup/cpu,cpuacct".into()),
                    ("memory".into(), "/sys/fs/cgroup/memory".into())
                ],
                others: vec!["/sys/fs/cgroup/systemd".into(), "/sys/fs/cgroup/unified".into()],
            }
        );
    }

    #[test]
    fn a_pods_group_goes_from_every_hierarchy() {
        let root = tempfile::tempdir().unwrap();
        let mounts = ["memory", "systemd", "unified"].map(|name| root.path().join(name));
        let [memory, systemd, unified] = mounts.clone();
        let cgroups = Cgroups::V1 {
            controllers: vec![("none".into(), memory)],
            others: vec![systemd, unified],
        };
        // runc's own group below the pod's, in a hierarchy that has no limits of pods.
        for mount in &mounts[1..] {
            fs::create_dir_all(mount.join("kubepods/besteffort/podabc/container")).unwrap();
        }
        let path = "/kubepods/besteffort/podabc".to_owned();
        assert_eq!(
            cgroups.pods("/kubepods"),
            BTreeSet::from([("abc".into(), path.clone())])
        );
        cgroups.remove_pod("/kubepods", "abc").unwrap();
        assert!(cgroups.pods("/kubepods").is_empty());
    }

    #[test]
    fn what_a_pod_left_behind_is_killed() {
        let root = tempfile::tempdir().unwrap();
        let pod = root.path().join("kubepods/burstable/podabc");
        fs::create_dir_all(pod.join("container")).unwrap();
        let mut left = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        fs::write(pod.join("cgroup.procs"), "0\n").unwrap();
        fs::write(pod.join("container/cgroup.procs"), format!("{}\n", left.id())).unwrap();
        // These are files, not a kernel's: the folder stays.
        let cgroups = Cgroups::V2(root.path().into());
        cgroups.remove_pod("/kubepods", "abc").unwrap_err();
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(left.wait().unwrap().signal(), Some(9));
    }

    #[test]
    fn shares_become_weights() {
        assert_eq!((weight(2), weight(1024), weight(262_144)), (1, 39, 10_000));
    }
}
