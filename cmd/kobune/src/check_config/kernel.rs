//! What the kernel has: file systems, namespaces, devices, packet rules, cgroups.

use std::path::Path;

use super::{Finding, Grade, finding};

/// What pods need of the kernel.
pub(super) fn features() -> Vec<Finding> {
    let filesystems = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let has = |name: &str| {
        filesystems
            .lines()
            .any(|line| line.trim_start_matches("nodev").trim() == name)
    };
    let namespace = |name: &str| Path::new("/proc/self/ns").join(name).exists();
    let mut findings = vec![
        finding(
            has("overlay") || has_module("overlay", "ovl_"),
            Grade::Failure,
            "the kernel has the overlay file system",
            "load it with `modprobe overlay`, or build a kernel with CONFIG_OVERLAY_FS",
        ),
        finding(
            has_module("veth", "veth_") && has_module("bridge", "br_"),
            Grade::Failure,
            "the kernel has veth and bridge devices",
            "load them with `modprobe veth bridge`, or build a kernel with CONFIG_VETH and CONFIG_BRIDGE",
        ),
        finding(
            netfilter_answers() && has_module("nf_tables", "nft_"),
            Grade::Failure,
            "the kernel has nf_tables",
            "load it with `modprobe nf_tables`, or build a kernel with CONFIG_NF_TABLES",
        ),
    ];
    findings.extend(packet_modules());
    for name in ["pid", "net", "ipc", "uts", "mnt"] {
        findings.push(finding(
            namespace(name),
            Grade::Failure,
            &format!("the kernel has {name} namespaces"),
            "build a kernel with CONFIG_NAMESPACES and all under it",
        ));
    }
    let seccomp = std::fs::read_to_string("/proc/self/status").is_ok_and(|text| text.contains("Seccomp:"));
    findings.push(finding(
        seccomp,
        Grade::Warning,
        "the kernel has seccomp filters",
        "build a kernel with CONFIG_SECCOMP_FILTER; until then seccompProfile RuntimeDefault cannot be used",
    ));
    findings
}

/// What the packet rules are made of: the module, the beginning of its symbols, the kernel's option.
const PACKET_MODULES: [(&str, &str, &str); 6] = [
    ("nf_conntrack", "nf_conntrack_", "CONFIG_NF_CONNTRACK"),
    ("nft_chain_nat", "nft_nat_", "CONFIG_NFT_NAT"),
    ("nft_ct", "nft_ct_", "CONFIG_NFT_CT"),
    ("nft_masq", "nft_masq_", "CONFIG_NFT_MASQ"),
    ("nft_numgen", "nft_ng_", "CONFIG_NFT_NUMGEN"),
    ("nft_fib_ipv4", "nft_fib4_", "CONFIG_NFT_FIB_IPV4"),
];

fn packet_modules() -> impl Iterator<Item = Finding> {
    PACKET_MODULES.iter().map(|(module, symbols, option)| {
        finding(
            has_module(module, symbols),
            Grade::Failure,
            &format!("the kernel has {module}, which Services need"),
            &format!("load it with `modprobe {module}`, or build a kernel with {option}"),
        )
    })
}

/// A module that is loaded, or can be, or whose code is part of the kernel: what is built in is known by
/// its symbols, for it has a folder in /sys/module only if it has parameters.
fn has_module(name: &str, symbols: &str) -> bool {
    Path::new("/sys/module").join(name).exists()
        || loadable(name)
        || std::fs::read_to_string("/proc/kallsyms").is_ok_and(|text| has_symbol(&text, symbols))
}

/// A module that is not loaded can be, when modprobe's index names it.
fn loadable(name: &str) -> bool {
    let Ok(kernel) = nix::sys::utsname::uname() else {
        return false;
    };
    let folder = Path::new("/lib/modules").join(kernel.release());
    let named = |index: &str| {
        std::fs::read_to_string(folder.join(index)).is_ok_and(|text| text.contains(&format!("/{name}.ko")))
    };
    named("modules.dep") || named("modules.builtin")
}

/// Whether /proc/kallsyms (address, kind, name) has a name that begins so.
fn has_symbol(kallsyms: &str, beginning: &str) -> bool {
    let names = kallsyms.lines().filter_map(|line| line.split(' ').nth(2));
    names.into_iter().any(|name| name.starts_with(beginning))
}

fn netfilter_answers() -> bool {
    use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
    let netfilter = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkNetFilter,
    );
    netfilter.is_ok()
}

/// Which cgroups there are, and whether they have what pods need.
pub(super) fn cgroups() -> Vec<Finding> {
    let version_2 = Path::new("/sys/fs/cgroup/cgroup.controllers");
    let needed = ["cpu", "memory", "pids"];
    if let Ok(text) = std::fs::read_to_string(version_2) {
        return needed
            .map(|name| {
                finding(
                    text.split_whitespace().any(|present| present == name),
                    Grade::Failure,
                    &format!("cgroups v2 with the {name} controller"),
                    "add cgroup_enable=memory (on a Raspberry Pi) to the kernel's command line, and \
                     let the controller be delegated to this cgroup",
                )
            })
            .into();
    }
    let old = finding(
        false,
        Grade::Warning,
        "cgroups v2 (v1 is mounted here: pods run, but Kubernetes maintains it no longer)",
        "boot with systemd.unified_cgroup_hierarchy=1 on the kernel's command line",
    );
    let present = needed.map(|name| {
        finding(
            Path::new("/sys/fs/cgroup").join(name).is_dir(),
            Grade::Failure,
            &format!("cgroups v1 with the {name} controller"),
            "mount cgroups (systemd does; without it: the package cgroupfs-mount)",
        )
    });
    std::iter::once(old).chain(present).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_in_is_known_by_its_symbols() {
        let kallsyms = "0000000000000000 t nft_masq_init\n0000000000000000 T x_nft_ct_init [nft]\n";
        assert!(has_symbol(kallsyms, "nft_masq_"));
        assert!(!has_symbol(kallsyms, "nft_ct_"));
    }
}
