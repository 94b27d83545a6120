//! Where everything lives, for the first server of a machine and for further ones.

use std::path::{Path, PathBuf};

/// The folders of one server, derived from its state folder.
#[derive(Debug, Clone)]
pub struct Paths {
    /// `--data-dir`
    pub data: PathBuf,
    /// Sockets, locks and pinned namespaces; gone after a reboot.
    pub run: PathBuf,
    /// Empty for the default state folder, else a short name that tells this server's bridge,
    /// tables, cgroups and containerd namespace from another's.
    pub instance: String,
}

/// The default of `--data-dir`.
const DEFAULT_DATA: &str = "/var/lib/kobune";

impl Paths {
    /// The folders of the server whose state is in `data`.
    pub fn of(data: &Path) -> Self {
        let data = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
        let instance = if data == Path::new(DEFAULT_DATA) {
            String::new()
        } else {
            short_hash(&data)
        };
        let run = match instance.as_str() {
            "" => PathBuf::from("/run/kobune"),
            instance => PathBuf::from(format!("/run/kobune-{instance}")),
        };
        Paths { data, run, instance }
    }

    /// `base` for the first server of a machine, `base-instance` for another.
    pub fn named(&self, base: &str) -> String {
        match self.instance.as_str() {
            "" => base.to_owned(),
            instance => format!("{base}-{instance}"),
        }
    }

    /// What belongs to the control plane, and the lock of both.
    pub fn server(&self) -> PathBuf {
        self.data.join("server")
    }

    /// The store.
    pub fn database(&self) -> PathBuf {
        self.server().join("db")
    }

    /// Keys and certificates.
    pub fn tls(&self) -> PathBuf {
        self.server().join("tls")
    }

    /// What belongs to the node.
    pub fn agent(&self) -> PathBuf {
        self.data.join("agent")
    }

    /// Image tars that are imported at a start.
    pub fn images(&self) -> PathBuf {
        self.agent().join("images")
    }
}

/// FNV-1a over the path, as six hexadecimal digits: stable over versions and runs, and short enough
/// for an interface name (15 bytes in all).
fn short_hash(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let hash = path
        .as_os_str()
        .as_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    format!("{:06x}", hash & 0xff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_folder_has_no_instance_name() {
        let paths = Paths::of(Path::new(DEFAULT_DATA));
        assert_eq!(paths.instance, "");
        assert_eq!(paths.named("kobune"), "kobune");
        assert_eq!(paths.run, Path::new("/run/kobune"));
    }

    #[test]
    fn two_folders_share_no_name() {
        let (a, b) = (Paths::of(Path::new("/srv/a")), Paths::of(Path::new("/srv/b")));
        assert_ne!(a.named("kobune"), b.named("kobune"));
        assert_ne!(a.run, b.run);
    }
}
