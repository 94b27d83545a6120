//! Where a container's control group is, and what is read from it. Both hierarchies.

use std::fs;
use std::path::{Path, PathBuf};

use kobune_runtime::Stats;

/// The mounted control groups of this machine.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hierarchy {
    /// The unified hierarchy, when it has the controllers.
    unified: Option<PathBuf>,
    /// v1: each controller and its mount.
    controllers: Vec<(String, PathBuf)>,
}

impl Hierarchy {
    /// Reads the table of mounts.
    pub(crate) fn look() -> Self {
        Self::parse(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
    }

    fn parse(mountinfo: &str) -> Self {
        let mut found = Self::default();
        for line in mountinfo.lines() {
            let Some((front, back)) = line.split_once(" - ") else {
                continue;
            };
            let Some(place) = front.split(' ').nth(4) else {
                continue;
            };
            let mut back = back.split(' ');
            match (back.next(), back.nth(1)) {
                (Some("cgroup2"), _) if place == "/sys/fs/cgroup" => found.unified = Some(place.into()),
                (Some("cgroup"), Some(options)) => {
                    for controller in options
                        .split(',')
                        .filter(|option| !matches!(*option, "rw" | "ro"))
                    {
                        found.controllers.push((controller.to_owned(), place.into()));
                    }
                }
                _ => {}
            }
        }
        found
    }

    fn folder(&self, controller: &str, group: &str) -> Option<PathBuf> {
        let root = match &self.unified {
            Some(root) => root,
            None => &self.controllers.iter().find(|(name, _)| name == controller)?.1,
        };
        Some(root.join(group.trim_start_matches('/')))
    }

    fn number(&self, controller: &str, group: &str, file: &str) -> Option<u64> {
        fs::read_to_string(self.folder(controller, group)?.join(file))
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    fn field(&self, controller: &str, group: &str, file: &str, name: &str) -> Option<u64> {
        field(
            &fs::read_to_string(self.folder(controller, group)?.join(file)).ok()?,
            name,
        )
    }

    /// How many processes of the group the kernel killed for memory; `None` when the group is gone.
    pub(crate) fn oom_kills(&self, group: &str) -> Option<u64> {
        let file = if self.unified.is_some() {
            "memory.events"
        } else {
            "memory.oom_control"
        };
        self.field("memory", group, file, "oom_kill")
    }

    /// CPU and memory of the group; `None` when it is gone.
    pub(crate) fn stats(&self, group: &str) -> Option<Stats> {
        let v2 = self.unified.is_some();
        let memory_usage = self.number(
            "memory",
            group,
            if v2 {
                "memory.current"
            } else {
                "memory.usage_in_bytes"
            },
        )?;
        let details =
            fs::read_to_string(self.folder("memory", group)?.join("memory.stat")).unwrap_or_default();
        let inactive = field(
            &details,
            if v2 {
                "inactive_file"
            } else {
                "total_inactive_file"
            },
        )
        .unwrap_or(0);
        let cpu_usage_ns = if v2 {
            self.field("cpu", group, "cpu.stat", "usage_usec").unwrap_or(0) * 1000
        } else {
            self.number("cpuacct", group, "cpuacct.usage").unwrap_or(0)
        };
        Some(Stats {
            cpu_usage_ns,
            memory_working_set: memory_usage.saturating_sub(inactive),
            memory_usage,
            memory_rss: field(&details, if v2 { "anon" } else { "total_rss" }).unwrap_or(0),
            pids: self.number("pids", group, "pids.current").unwrap_or(0),
            writable_layer_bytes: 0,
        })
    }

    /// Puts a process into a group of its own (made if missing), in every hierarchy.
    pub(crate) fn enter(&self, group: &str, pid: i32) {
        for folder in self.folders(group) {
            if fs::create_dir_all(&folder).is_ok() {
                if folder.join("cpuset.cpus").exists() {
                    inherit_cpuset(&folder);
                }
                let _ = fs::write(folder.join("cgroup.procs"), pid.to_string());
            }
        }
    }

    /// Removes an empty group from every hierarchy.
    pub(crate) fn remove(&self, group: &str) {
        for folder in self.folders(group) {
            let _ = fs::remove_dir(folder);
        }
    }

    fn folders(&self, group: &str) -> Vec<PathBuf> {
        let relative = group.trim_start_matches('/');
        let mut roots: Vec<&Path> = match &self.unified {
            Some(root) => vec![root],
            None => self.controllers.iter().map(|(_, root)| root.as_path()).collect(),
        };
        roots.sort();
        roots.dedup();
        roots.into_iter().map(|root| root.join(relative)).collect()
    }
}

/// A v1 cpuset takes no process before it has CPUs and memory nodes.
fn inherit_cpuset(folder: &Path) {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let own = fs::read_to_string(folder.join(file)).unwrap_or_default();
        if own.trim().is_empty()
            && let Some(parent) = folder.parent()
        {
            if fs::read_to_string(parent.join(file)).is_ok_and(|text| text.trim().is_empty()) {
                inherit_cpuset(parent);
            }
            let _ = fs::read_to_string(parent.join(file)).and_then(|text| fs::write(folder.join(file), text));
        }
    }
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hybrid_machine_uses_its_v1_controllers() {
        let found = Hierarchy::parse(
            "30 24 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
             31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
             32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
             33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
        );
        assert_eq!(
            found.folder("cpuacct", "/a/b").unwrap(),
            Path::new("/sys/fs/cgroup/cpu,cpuacct/a/b")
        );
        assert_eq!(found.folders("/a").len(), 2);
    }

    #[test]
    fn the_unified_hierarchy_is_one_folder() {
        let found = Hierarchy::parse("30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        assert_eq!(
            found.folder("memory", "/a").unwrap(),
            Path::new("/sys/fs/cgroup/a")
        );
    }

    #[test]
    fn a_field_is_matched_whole() {
        assert_eq!(
            field("oom 1\noom_kill 3\noom_group_kill 7\n", "oom_kill"),
            Some(3)
        );
    }
}
