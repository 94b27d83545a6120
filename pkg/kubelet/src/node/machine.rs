//! Facts about this machine.

use std::fs;
use std::path::Path;

/// What `Node.status` tells of the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// Host name.
    pub hostname: String,
    /// CPUs.
    pub cpus: usize,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of the file system that pods' folders are on.
    pub disk: u64,
    /// `amd64`, `arm64`, ...
    pub architecture: String,
    /// For example `6.1.0-18-amd64`.
    pub kernel: String,
    /// For example `Debian GNU/Linux 12 (bookworm)`.
    pub os_image: String,
    /// /etc/machine-id
    pub machine_id: String,
    /// The firmware's identifier, or the machine id.
    pub system_uuid: String,
    /// Changes with every boot.
    pub boot_id: String,
    /// Bytes of swap.
    pub swap: u64,
}

impl Machine {
    /// Looks at /proc, /sys and /etc.
    pub fn look(root_dir: &Path) -> Self {
        let line = |path: &str| {
            fs::read_to_string(path)
                .map(|s| s.trim().to_owned())
                .unwrap_or_default()
        };
        let meminfo = line("/proc/meminfo");
        let machine_id = line("/etc/machine-id");
        let uuid = line("/sys/class/dmi/id/product_uuid");
        Machine {
            hostname: line("/proc/sys/kernel/hostname").to_lowercase(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory: meminfo_bytes(&meminfo, "MemTotal"),
            swap: meminfo_bytes(&meminfo, "SwapTotal"),
            disk: Disk::of(root_dir).map_or(0, |d| d.capacity),
            architecture: architecture().into(),
            kernel: line("/proc/sys/kernel/osrelease"),
            os_image: os_image(&line("/etc/os-release")),
            system_uuid: if uuid.is_empty() { machine_id.clone() } else { uuid },
            machine_id,
            boot_id: line("/proc/sys/kernel/random/boot_id"),
        }
    }
}

/// As Kubernetes (Go) names it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

fn os_image(os_release: &str) -> String {
    let name = os_release.lines().find_map(|l| l.strip_prefix("PRETTY_NAME="));
    name.map_or("Linux".into(), |n| n.trim_matches('"').to_owned())
}

/// A field of /proc/meminfo in bytes.
fn meminfo_bytes(meminfo: &str, field: &str) -> u64 {
    let line = meminfo
        .lines()
        .find_map(|l| l.strip_prefix(field)?.strip_prefix(':'));
    let kib = line
        .and_then(|l| l.split_whitespace().next())
        .and_then(|n| n.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Bytes of memory that can still be used.
pub fn memory_available() -> u64 {
    meminfo_bytes(
        &fs::read_to_string("/proc/meminfo").unwrap_or_default(),
        "MemAvailable",
    )
}

/// Room on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// Bytes in all.
    pub capacity: u64,
    /// Bytes that can be written.
    pub available: u64,
    /// Inodes in all (0: the file system does not count them).
    pub inodes: u64,
    /// Inodes that are free.
    pub inodes_free: u64,
}

impl Disk {
    /// The file system a path is on.
    pub fn of(path: &Path) -> Option<Self> {
        let s = nix::sys::statvfs::statvfs(path).ok()?;
        let block = s.fragment_size();
        Some(Disk {
            capacity: s.blocks() * block,
            available: s.blocks_available() * block,
            inodes: s.files(),
            inodes_free: s.files_free(),
        })
    }
}

/// The lowest oom_score_adj that this process may set. Root without CAP_SYS_RESOURCE cannot go below
/// what it has.
pub fn lowest_oom_score() -> i32 {
    const FILE: &str = "/proc/self/oom_score_adj";
    let Some(own) = fs::read_to_string(FILE)
        .ok()
        .and_then(|s| s.trim().parse::<i32>().ok())
    else {
        return 0;
    };
    if own == -1000 || fs::write(FILE, (own - 1).to_string()).is_ok() {
        // Going back up is always allowed.
        let _ = fs::write(FILE, own.to_string());
        return -1000;
    }
    tracing::warn!(
        lowest = own,
        "negative OOM scores cannot be set (no CAP_SYS_RESOURCE): pods go on without them"
    );
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read() {
        assert_eq!(
            meminfo_bytes("MemTotal:       16 kB\nMemFree: 1 kB", "MemTotal"),
            16384
        );
        assert_eq!(os_image("NAME=x\nPRETTY_NAME=\"Debian 12\"\n"), "Debian 12");
        assert!(Machine::look(Path::new("/")).memory > 0);
    }
}
