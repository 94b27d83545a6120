//! The kernel's side of volumes: tmpfs and bind mounts.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// Mounts a tmpfs; `size` in bytes, `None`: half of the memory as the kernel has it.
pub fn tmpfs(target: &Path, size: Option<i64>, mode: u32) -> io::Result<()> {
    // A file system of its own has a device number of its own.
    let device = |path: &Path| fs::metadata(path).map(|m| m.dev());
    if let Some(parent) = target.parent()
        && device(target)? != device(parent)?
    {
        return Ok(());
    }
    let mut options = format!("mode={mode:o}");
    if let Some(size) = size.filter(|s| *s > 0) {
        options.push_str(&format!(",size={size}"));
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    Ok(mount(
        Some("tmpfs"),
        target,
        Some("tmpfs"),
        flags,
        Some(options.as_str()),
    )?)
}

/// Bind-mounts a file or folder.
pub fn bind(source: &Path, target: &Path) -> io::Result<()> {
    Ok(mount(
        Some(source),
        target,
        None::<&str>,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        None::<&str>,
    )?)
}

/// Unmounts, also when it is in use; what is not mounted is fine.
pub fn unmount(target: &Path) -> io::Result<()> {
    match umount2(target, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) | Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// True when something is mounted at exactly this path.
pub fn is_mounted(path: &Path) -> io::Result<bool> {
    Ok(mounts_below(path)?.iter().any(|m| m == path))
}

/// Mount points at and below a path, the deepest last mounted first.
pub fn mounts_below(path: &Path) -> io::Result<Vec<PathBuf>> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let mut found: Vec<PathBuf> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|p| PathBuf::from(unescape(p)))
        .filter(|p| p.starts_with(path))
        .collect();
    found.reverse();
    Ok(found)
}

// The kernel writes blanks in mountinfo as \040 and the like.
fn unescape(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let code = text.get(i + 1..i + 4).and_then(|d| u8::from_str_radix(d, 8).ok());
        match (bytes[i], code) {
            (b'\\', Some(code)) => {
                out.push(code);
                i += 4;
            }
            (byte, _) => {
                out.push(byte);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Removes a folder with everything in it, after unmounting what is mounted below it. Never goes
/// into a mount that could not be undone: a hostPath's files are not ours to delete.
pub fn remove_tree(dir: &Path) -> io::Result<()> {
    let mounted = mounts_below(dir)?;
    for path in &mounted {
        unmount(path)?;
    }
    if !mounted.is_empty()
        && let Some(left) = mounts_below(dir)?.first()
    {
        return Err(io::Error::other(format!("{} is still mounted", left.display())));
    }
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn mountinfo_paths_are_unescaped() {
        assert_eq!(super::unescape("/a\\040b"), "/a b");
        assert_eq!(super::unescape("/plain"), "/plain");
    }
}
