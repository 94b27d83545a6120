//! Device nodes: which there are on the host, and as what they appear in a container.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use kobune_runtime::{Error, Result};
use serde_json::{Value, json};

/// A device node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    /// Path in the container.
    pub(crate) path: PathBuf,
    /// A block device (else a character device).
    pub(crate) block: bool,
    pub(crate) major: u64,
    pub(crate) minor: u64,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Some of `rwm`.
    pub(crate) access: String,
}

impl Device {
    fn kind(&self) -> &'static str {
        if self.block { "b" } else { "c" }
    }

    /// As in `linux.devices`.
    pub(crate) fn node(&self) -> Value {
        json!({ "path": self.path, "type": self.kind(), "major": self.major, "minor": self.minor,
                "fileMode": self.mode & 0o7777, "uid": self.uid, "gid": self.gid })
    }

    /// As in `linux.resources.devices`.
    pub(crate) fn rule(&self) -> Value {
        json!({ "allow": true, "type": self.kind(), "major": self.major, "minor": self.minor, "access": self.access })
    }
}

fn look(path: &Path) -> Option<Device> {
    let metadata = fs::metadata(path).ok()?;
    let kind = metadata.file_type();
    if !kind.is_char_device() && !kind.is_block_device() {
        return None;
    }
    let (major, minor) = (libc::major(metadata.rdev()), libc::minor(metadata.rdev()));
    Some(Device {
        path: path.to_path_buf(),
        block: kind.is_block_device(),
        major: major.into(),
        minor: minor.into(),
        mode: metadata.mode(),
        uid: metadata.uid(),
        gid: metadata.gid(),
        access: "rwm".into(),
    })
}

/// One device, or all in a folder, at another path in the container.
pub(crate) fn requested(host: &Path, container: &Path, access: &str) -> Result<Vec<Device>> {
    if host.is_dir() {
        let mut found = Vec::new();
        collect(host, &mut found);
        for device in &mut found {
            if let Ok(rest) = device.path.strip_prefix(host) {
                device.path = container.join(rest);
            }
            device.access = access.to_owned();
        }
        return Ok(found);
    }
    let mut device = look(host).ok_or_else(|| Error::Config {
        message: format!("{} is not a device of this node", host.display()),
    })?;
    device.path = container.to_path_buf();
    device.access = access.to_owned();
    Ok(vec![device])
}

/// Everything in /dev that is a device and not the container's own.
pub(crate) fn of_host() -> Vec<Device> {
    let mut found = Vec::new();
    collect(Path::new("/dev"), &mut found);
    found
}

fn collect(folder: &Path, found: &mut Vec<Device>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => {
                if !matches!(
                    name.to_str(),
                    Some("pts" | "shm" | "fd" | "mqueue" | ".lxc" | ".lxd-mounts" | ".udev")
                ) {
                    collect(&path, found);
                }
            }
            Ok(kind) if kind.is_symlink() => {}
            Ok(_) if name == "console" || name == "ptmx" => {}
            Ok(_) => found.extend(look(&path)),
            Err(_) => {}
        }
    }
}
