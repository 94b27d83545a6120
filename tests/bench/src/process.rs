//! What the kernel says of processes.

use std::collections::BTreeMap;

/// Memory, CPU time and disk writes of one process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Resident bytes.
    pub rss: u64,
    /// Proportional bytes.
    pub pss: u64,
    /// Clock ticks of CPU time.
    pub ticks: u64,
    /// Bytes that were sent to the disk.
    pub written: u64,
}

fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| {
        rest.trim_start_matches(':')
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    })
    .unwrap_or(0)
}

/// The usage of a process; zeros when it is gone.
pub fn usage(pid: u32) -> Usage {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let rollup = read("smaps_rollup");
    let stat = read("stat");
    // Behind the name, which may hold spaces: state is the first field, user and system time the
    // twelfth and thirteenth.
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks = |index: usize| {
        fields
            .get(index)
            .and_then(|field| field.parse::<u64>().ok())
            .unwrap_or(0)
    };
    Usage {
        rss: field(&rollup, "Rss") * 1024,
        pss: field(&rollup, "Pss") * 1024,
        ticks: ticks(11) + ticks(12),
        written: field(&read("io"), "write_bytes"),
    }
}

/// A server's process and its descendants (a private containerd and the shims among them) by name.
pub fn tree(root: u32, data: &std::path::Path) -> BTreeMap<u32, String> {
    let mut found = BTreeMap::new();
    let data = data.display().to_string();
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return found;
    };
    for pid in entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok()) {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if pid == root || (command.contains("containerd") && command.contains(&data)) {
            let program = command.split_whitespace().next().unwrap_or_default();
            let name = program.rsplit('/').next().unwrap_or_default().to_owned();
            found.insert(pid, name);
        }
    }
    found
}

/// CPU time as per cent of one core over some seconds.
pub fn percent(ticks: u64, seconds: f64) -> f64 {
    // SAFETY: sysconf only reads a number.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;
    ticks as f64 / per_second / seconds * 100.0
}
