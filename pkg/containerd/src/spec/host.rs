//! What a specification depends on of this machine; looked up once.

use std::fs;
use std::path::Path;

use super::capabilities::Capabilities;
use super::devices::Device;

/// Facts about this machine and this process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Host {
    /// cgroups are the unified hierarchy.
    pub(crate) cgroup_v2: bool,
    /// Swap can be limited.
    pub(crate) swap_limit: bool,
    /// What this process may give to others.
    pub(crate) capabilities: Capabilities,
    /// The lowest `oom_score_adj` that may be set.
    pub(crate) lowest_oom_score: i32,
    /// The host's name, for pods on the host's network.
    pub(crate) hostname: String,
}

impl Host {
    /// Looks at this machine. Says once what it lacks.
    pub(crate) fn look() -> Self {
        let capabilities = effective_capabilities();
        let cgroup_v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        let lowest_oom_score = if capabilities.has("SYS_RESOURCE") {
            -1000
        } else {
            let own = fs::read_to_string("/proc/self/oom_score_adj").ok();
            let own = own.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
            tracing::warn!(
                lowest = own,
                "this process lacks CAP_SYS_RESOURCE: lower oom_score_adj values of containers are raised to the lowest possible"
            );
            own
        };
        let swap_limit = if cgroup_v2 {
            fs::read_to_string("/proc/swaps").is_ok_and(|text| text.lines().count() > 1)
        } else {
            Path::new("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").exists()
        };
        let hostname = nix::unistd::gethostname()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Self {
            cgroup_v2,
            swap_limit,
            capabilities,
            lowest_oom_score,
            hostname,
        }
    }

    /// All devices of the host, for privileged containers; asked each time because they come and go.
    pub(crate) fn devices(&self) -> Vec<Device> {
        super::devices::of_host()
    }
}

fn effective_capabilities() -> Capabilities {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bits = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    Capabilities(
        bits.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
            .unwrap_or(0),
    )
}
