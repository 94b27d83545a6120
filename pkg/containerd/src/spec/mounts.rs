//! What is mounted in a container: the runtime's own mounts, then the pod's. Pure.

use std::path::Path;

use kobune_runtime::{ContainerSpec, Mount, Propagation};
use serde_json::{Value, json};

/// `mounts`: the defaults, except where the pod or the image mounts something itself; parents before
/// children.
pub(crate) fn mounts(spec: &ContainerSpec, volumes: &[Mount], shm: &Path, cgroup_v2: bool) -> Vec<Value> {
    let privileged = spec.security.privileged;
    let sysfs = if privileged { "rw" } else { "ro" };
    let cgroup = if privileged && cgroup_v2 { "rw" } else { "ro" };
    let own = [
        ("/proc", "proc", "proc", vec!["nosuid", "noexec", "nodev"]),
        (
            "/dev",
            "tmpfs",
            "tmpfs",
            vec!["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        (
            "/dev/pts",
            "devpts",
            "devpts",
            vec![
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ],
        ),
        (
            "/dev/mqueue",
            "mqueue",
            "mqueue",
            vec!["nosuid", "noexec", "nodev"],
        ),
        ("/sys", "sysfs", "sysfs", vec!["nosuid", "noexec", "nodev", sysfs]),
        (
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            vec!["nosuid", "noexec", "nodev", "relatime", cgroup],
        ),
        (
            "/dev/shm",
            "bind",
            shm.to_str().unwrap_or("/dev/shm"),
            vec!["rbind", "ro", "nosuid", "nodev", "noexec"],
        ),
    ];
    let theirs: Vec<&Mount> = by_depth(spec.mounts.iter().chain(volumes));
    let replaced = |target: &str| {
        theirs
            .iter()
            .any(|mount| clean(&mount.target) == Path::new(target))
    };
    let own = own.into_iter().filter(|(target, ..)| !replaced(target)).map(
        |(target, kind, source, mut options)| {
            if target == "/dev/shm" {
                options.retain(|option| *option != "ro");
            }
            json!({ "destination": target, "type": kind, "source": source, "options": options })
        },
    );
    own.chain(theirs.iter().map(|mount| bind(mount))).collect()
}

fn by_depth<'a>(mounts: impl Iterator<Item = &'a Mount>) -> Vec<&'a Mount> {
    let mut sorted: Vec<&Mount> = mounts.collect();
    sorted.sort_by_key(|mount| mount.target.components().count());
    sorted
}

fn clean(path: &Path) -> &Path {
    // Components ignore trailing slashes; that is all a kubelet's path needs.
    Path::new(
        path.to_str()
            .map_or("/", |text| match text.trim_end_matches('/') {
                "" => "/",
                trimmed => trimmed,
            }),
    )
}

fn bind(mount: &Mount) -> Value {
    let propagation = match mount.propagation {
        Propagation::Private => "rprivate",
        Propagation::HostToContainer => "rslave",
        Propagation::Bidirectional => "rshared",
    };
    let access = match (mount.read_only, mount.recursive_read_only) {
        (true, true) => "rro",
        (true, false) => "ro",
        (false, _) => "rw",
    };
    json!({ "destination": mount.target, "type": "bind", "source": mount.source,
            "options": ["rbind", propagation, access] })
}

/// `linux.rootfsPropagation`: as wide as the widest mount needs it.
pub(crate) fn root_propagation(mounts: &[Mount]) -> Option<&'static str> {
    let any = |kind| mounts.iter().any(|mount| mount.propagation == kind);
    if any(Propagation::Bidirectional) {
        Some("rshared")
    } else if any(Propagation::HostToContainer) {
        Some("rslave")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(targets: &[&str]) -> ContainerSpec {
        let mounts = targets.iter().map(|target| Mount {
            source: "/src".into(),
            target: (*target).into(),
            ..Default::default()
        });
        ContainerSpec {
            mounts: mounts.collect(),
            ..Default::default()
        }
    }

    fn targets(spec: &ContainerSpec) -> Vec<String> {
        let all = mounts(spec, &[], Path::new("/shm"), false);
        all.iter()
            .map(|mount| mount["destination"].as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn parents_are_mounted_before_children() {
        let order = targets(&with(&["/a/b/c", "/a", "/a/b"]));
        assert_eq!(order[order.len() - 3..], ["/a", "/a/b", "/a/b/c"]);
    }

    #[test]
    fn the_pods_own_shm_replaces_the_runtimes() {
        let order = targets(&with(&["/dev/shm/"]));
        assert_eq!(
            order
                .iter()
                .filter(|target| target.starts_with("/dev/shm"))
                .count(),
            1
        );
    }

    #[test]
    fn propagation_and_read_only_reach_runc() {
        let mount = Mount {
            read_only: true,
            propagation: Propagation::HostToContainer,
            ..Default::default()
        };
        assert_eq!(bind(&mount)["options"], json!(["rbind", "rslave", "ro"]));
        assert_eq!(root_propagation(&[mount]), Some("rslave"));
    }
}
