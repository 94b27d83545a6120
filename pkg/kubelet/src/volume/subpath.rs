//! `subPath`: a part of a volume, mounted so that no symbolic link in it leads outside.
//!
//! The path is opened beneath the volume by the kernel (`openat2` with `RESOLVE_BENEATH`), and what
//! was opened, not the path, is bind-mounted to a place of the kubelet's own: a container that
//! swaps a folder for a link between the look and the mount gains nothing.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat};

use super::mount;

/// Bind-mounts `volume/sub` to `target` (made by this call) and answers `target`. A missing folder
/// is made with the volume's permissions.
pub fn prepare(volume: &Path, sub: &str, target: &Path) -> io::Result<PathBuf> {
    let inside = Path::new(sub)
        .components()
        .all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    if !inside {
        return Err(io::Error::other(format!(
            "subPath {sub:?} must not be absolute or contain '..'"
        )));
    }
    let root = open_root(volume)?;
    let part = match open_beneath(&root, Path::new(sub)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            make_beneath(&root, Path::new(sub))?;
            open_beneath(&root, Path::new(sub))?
        }
        other => other?,
    };
    make_target(&part, target)?;
    if !mount::is_mounted(target)? {
        mount::bind(
            &PathBuf::from(format!("/proc/self/fd/{}", part.as_raw_fd())),
            target,
        )?;
    }
    Ok(target.to_owned())
}

fn open_root(volume: &Path) -> io::Result<OwnedFd> {
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC);
    Ok(openat2(nix::fcntl::AT_FDCWD, volume, how)?)
}

fn open_beneath(root: &OwnedFd, sub: &Path) -> io::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let sub = if sub.as_os_str().is_empty() {
        Path::new(".")
    } else {
        sub
    };
    Ok(openat2(root, sub, how)?)
}

fn make_beneath(root: &OwnedFd, sub: &Path) -> io::Result<()> {
    let mode = Mode::from_bits_truncate(fstat(root)?.st_mode & 0o777);
    let mut at = PathBuf::new();
    for part in sub.components() {
        at.push(part);
        let parent = open_beneath(root, at.parent().unwrap_or(Path::new("")))?;
        let Some(name) = at.file_name() else { continue };
        match mkdirat(&parent, name, mode) {
            Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

fn make_target(part: &OwnedFd, target: &Path) -> io::Result<()> {
    let parent = target.parent().unwrap_or(Path::new("/"));
    fs::DirBuilder::new().recursive(true).mode(0o750).create(parent)?;
    let kind = SFlag::from_bits_truncate(fstat(part)?.st_mode & SFlag::S_IFMT.bits());
    if kind == SFlag::S_IFDIR {
        fs::create_dir_all(target)
    } else if target.exists() {
        Ok(())
    } else {
        fs::File::create(target).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_out_of_the_volume_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path().join("v");
        fs::create_dir(&volume).unwrap();
        std::os::unix::fs::symlink("/etc", volume.join("out")).unwrap();
        assert!(prepare(&volume, "out", &dir.path().join("t")).is_err());
        assert!(prepare(&volume, "../x", &dir.path().join("t")).is_err());
        assert!(prepare(&volume, "/etc", &dir.path().join("t")).is_err());
    }
}
