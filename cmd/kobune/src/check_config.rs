//! `kobune check-config`: what this machine lacks, and how to mend it.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::Path;

use anyhow::{Result, bail};

use crate::cli::CheckConfigArgs;

/// How serious a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grade {
    Good,
    /// Something works less well.
    Warning,
    /// kobune cannot run pods.
    Failure,
}

struct Finding {
    grade: Grade,
    what: String,
    fix: String,
}

fn finding(good: bool, otherwise: Grade, what: &str, fix: &str) -> Finding {
    Finding {
        grade: if good { Grade::Good } else { otherwise },
        what: what.to_owned(),
        fix: fix.to_owned(),
    }
}

/// Prints all findings; fails if one of them keeps kobune from running.
pub fn run(arguments: &CheckConfigArgs) -> Result<()> {
    let mut findings = vec![root()];
    findings.extend(kernel());
    findings.extend(cgroups());
    findings.extend(ports(arguments.https_listen_port));
    findings.extend(programs());
    findings.extend(disk(&arguments.data_dir));
    let mut failures = 0;
    for finding in &findings {
        let mark = match finding.grade {
            Grade::Good => "ok  ",
            Grade::Warning => "warn",
            Grade::Failure => "FAIL",
        };
        println!("{mark}  {}", finding.what);
        if finding.grade != Grade::Good {
            println!("      fix: {}", finding.fix);
        }
        failures += usize::from(finding.grade == Grade::Failure);
    }
    if failures > 0 {
        bail!(
            "{failures} of {} checks failed; each says above how to mend it",
            findings.len()
        );
    }
    println!("This machine can run kobune.");
    Ok(())
}

fn root() -> Finding {
    finding(
        nix::unistd::geteuid().is_root(),
        Grade::Failure,
        "running as root",
        "run it with sudo",
    )
}

fn kernel() -> Vec<Finding> {
    let filesystems = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let has = |name: &str| {
        filesystems
            .lines()
            .any(|line| line.trim_start_matches("nodev").trim() == name)
    };
    let module = |name: &str| Path::new("/sys/module").join(name).exists() || loadable(name);
    let namespace = |name: &str| Path::new("/proc/self/ns").join(name).exists();
    let mut findings = vec![
        finding(
            has("overlay") || module("overlay"),
            Grade::Failure,
            "the kernel has the overlay file system",
            "load it with `modprobe overlay`, or build a kernel with CONFIG_OVERLAY_FS",
        ),
        finding(
            net_link_works("veth"),
            Grade::Failure,
            "the kernel has veth and bridge devices",
            "load them with `modprobe veth bridge`, or build a kernel with CONFIG_VETH and CONFIG_BRIDGE",
        ),
        finding(
            nftables_works(),
            Grade::Failure,
            "the kernel has nf_tables",
            "load it with `modprobe nf_tables`, or build a kernel with CONFIG_NF_TABLES and CONFIG_NFT_NAT",
        ),
    ];
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

/// A module that is not loaded can be, when modprobe's index names it.
fn loadable(name: &str) -> bool {
    let Ok(kernel) = nix::sys::utsname::uname() else {
        return false;
    };
    let index = Path::new("/lib/modules")
        .join(kernel.release())
        .join("modules.dep");
    std::fs::read_to_string(index).is_ok_and(|text| text.contains(&format!("/{name}.ko")))
}

fn net_link_works(kind: &str) -> bool {
    // What is built in has no folder in /sys/module unless it has parameters; bridge and veth are
    // then known by the symbols of the kernel.
    Path::new("/sys/module").join(kind).exists()
        || loadable(kind)
        || std::fs::read_to_string("/proc/kallsyms").is_ok_and(|text| text.contains(&format!("{kind}_")))
}

fn nftables_works() -> bool {
    use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
    let netfilter = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkNetFilter,
    );
    netfilter.is_ok() && (net_link_works("nf_tables") || net_link_works("nft"))
}

fn cgroups() -> Vec<Finding> {
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
    needed
        .map(|name| {
            finding(
                Path::new("/sys/fs/cgroup").join(name).is_dir(),
                Grade::Failure,
                &format!("cgroups v1 with the {name} controller"),
                "mount cgroups (systemd does; without it: the package cgroupfs-mount)",
            )
        })
        .into()
}

fn ports(api: u16) -> Vec<Finding> {
    let tcp = |port: u16| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok();
    let udp = |port: u16| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok();
    vec![
        finding(
            tcp(api),
            Grade::Failure,
            &format!("TCP port {api} is free for the API"),
            "if that is kobune itself all is well; else stop what listens there (`ss -ltnp`) or choose another \
             with --https-listen-port",
        ),
        finding(
            tcp(10250),
            Grade::Warning,
            "TCP port 10250 is free for the kubelet",
            "if that is kobune itself all is well; else another port is taken by itself",
        ),
        finding(
            udp(8472),
            Grade::Warning,
            "UDP port 8472 is free for the overlay",
            "stop what uses it, if several nodes are to be joined",
        ),
    ]
}

fn programs() -> Vec<Finding> {
    let found = |name: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .chain(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(Into::into))
            .any(|folder| folder.join(name).is_file())
    };
    ["containerd", "containerd-shim-runc-v2", "runc"]
        .map(|name| {
            finding(
                found(name),
                Grade::Failure,
                &format!("{name} is installed"),
                "install it with `apt-get install containerd runc`",
            )
        })
        .into()
}

fn disk(data: &Path) -> Vec<Finding> {
    let present = data
        .ancestors()
        .find(|folder| folder.exists())
        .unwrap_or(Path::new("/"));
    let Ok(stat) = nix::sys::statvfs::statvfs(present) else {
        return Vec::new();
    };
    let free = stat.blocks_available() * stat.fragment_size() / (1 << 20);
    vec![finding(
        free >= 1024,
        Grade::Warning,
        &format!("{free} MiB are free below {}", present.display()),
        "free some space (1 GiB at least) or choose another folder with --data-dir",
    )]
}
