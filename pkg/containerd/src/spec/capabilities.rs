//! Which capabilities a container's process has.

use kobune_runtime::Security;

/// The default set of containerd and Docker, without `CAP_`.
const DEFAULT: &[&str] = &[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// All capabilities by their number in the kernel.
const NAMES: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// A set of capabilities as the kernel writes it: one bit for each number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Capabilities(pub(crate) u64);

impl Capabilities {
    fn of(name: &str) -> Self {
        let bare = name.strip_prefix("CAP_").unwrap_or(name);
        NAMES
            .iter()
            .position(|known| known.eq_ignore_ascii_case(bare))
            .map_or(Self(0), |bit| Self(1 << bit))
    }

    /// True when the capability of this name (without `CAP_`) is in the set.
    pub(crate) fn has(self, name: &str) -> bool {
        let wanted = Self::of(name).0;
        wanted != 0 && self.0 & wanted == wanted
    }

    /// The names as runc wants them.
    pub(crate) fn names(self) -> Vec<String> {
        NAMES
            .iter()
            .filter(|name| self.has(name))
            .map(|name| format!("CAP_{name}"))
            .collect()
    }
}

/// The set for a container: the default set, changed by `add` and `drop`, and never more than this
/// process itself can give (a host may lack some, CAP_SYS_RESOURCE for example).
pub(crate) fn of_container(security: &Security, available: Capabilities) -> Capabilities {
    if security.privileged {
        return available;
    }
    let all = |names: &[String]| names.iter().any(|name| name.eq_ignore_ascii_case("ALL"));
    let union = |names: &[String]| names.iter().fold(0, |set, name| set | Capabilities::of(name).0);
    let mut set = DEFAULT.iter().fold(0, |set, name| set | Capabilities::of(name).0);
    // ALL first, so that single names of the other list still count.
    if all(&security.capabilities_add) {
        set = available.0;
    }
    if all(&security.capabilities_drop) {
        set = 0;
    }
    set |= union(&security.capabilities_add);
    set &= !union(&security.capabilities_drop);
    Capabilities(set & available.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Capabilities = Capabilities((1 << 41) - 1);

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn drop_all_and_add_one_leaves_one() {
        let security = Security {
            capabilities_drop: names(&["ALL"]),
            capabilities_add: names(&["NET_BIND_SERVICE"]),
            ..Default::default()
        };
        assert_eq!(of_container(&security, ALL).names(), ["CAP_NET_BIND_SERVICE"]);
    }

    #[test]
    fn add_all_and_drop_one_leaves_the_rest() {
        let security = Security {
            capabilities_add: names(&["ALL"]),
            capabilities_drop: names(&["CAP_CHOWN"]),
            ..Default::default()
        };
        let set = of_container(&security, ALL);
        assert!(!set.has("CHOWN") && set.has("SYS_ADMIN"));
    }

    #[test]
    fn what_this_process_lacks_is_never_given() {
        let lacking = Capabilities(ALL.0 & !Capabilities::of("SYS_RESOURCE").0);
        let security = Security {
            privileged: true,
            ..Default::default()
        };
        assert!(!of_container(&security, lacking).has("SYS_RESOURCE"));
    }

    #[test]
    fn the_default_set_is_containerds() {
        assert_eq!(of_container(&Security::default(), ALL).names().len(), 14);
    }
}
