//! The folders of an image's `VOLUME`s: one for each such path that the pod mounts nothing at. It
//! begins with what the image has there, can be written even if the root file system cannot, and
//! goes with the container.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Component, Path, PathBuf};

use containerd_client::types::Mount as Layered;
use kobune_runtime::{Error, Mount, Result};
use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, mknod, utimensat};
use nix::sys::time::TimeSpec;

use crate::image::layers::{layer_folders, open_inside};

/// Which folders there will be below `folder`, and where they are mounted. Pure.
pub(crate) fn plan(volumes: &[PathBuf], mounts: &[Mount], folder: &Path) -> Vec<Mount> {
    let mut targets: Vec<PathBuf> = volumes.iter().map(|path| absolute(path)).collect();
    targets.sort();
    targets.dedup();
    targets.retain(|target| {
        target != Path::new("/") && mounts.iter().all(|mount| absolute(&mount.target) != *target)
    });
    let numbered = targets.into_iter().enumerate();
    numbered
        .map(|(number, target)| Mount {
            source: folder.join(number.to_string()),
            target,
            ..Default::default()
        })
        .collect()
}

/// From the root, without `.` and `..`.
fn absolute(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            _ => {}
        }
    }
    clean
}

/// Makes the planned folders with the image's content, read from the layers of a container's snapshot.
pub(crate) async fn fill(snapshot: &[Layered], volumes: &[Mount], folder: &Path) -> Result<()> {
    if volumes.is_empty() {
        return Ok(());
    }
    let doing = "filling the volumes of an image";
    let mut layers = layer_folders(snapshot);
    if layers.len() > 1 {
        // The container's own layer is empty yet.
        layers.remove(0);
    }
    let (volumes, folder) = (volumes.to_vec(), folder.to_owned());
    let (done, outcome) = tokio::sync::oneshot::channel();
    // A thread of its own: it may enter a mount namespace, and takes it along when it ends.
    std::thread::Builder::new()
        .name("image-volumes".into())
        .spawn(move || done.send(copy_all(&layers, &volumes, &folder)))
        .map_err(|error| Error::other(doing, error))?;
    let outcome = outcome.await.map_err(|error| Error::other(doing, error))?;
    outcome.map_err(|error| Error::other(doing, error))
}

fn copy_all(layers: &[PathBuf], volumes: &[Mount], folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let root = match layers {
        [only] => only.clone(),
        layers => {
            let place = folder.join("image");
            fs::create_dir_all(&place)?;
            join_layers(layers, &place)?;
            place
        }
    };
    for volume in volumes {
        fs::create_dir_all(&volume.source)?;
        fs::set_permissions(&volume.source, fs::Permissions::from_mode(0o755))?;
        let inside = volume.target.strip_prefix("/").unwrap_or(&volume.target);
        match open_inside(&root, inside, OFlag::O_PATH | OFlag::O_DIRECTORY) {
            Ok(found) => {
                let found = PathBuf::from(format!("/proc/self/fd/{}/.", found.as_raw_fd()));
                copy(&found, &volume.source)?;
            }
            // The image says that there is a volume, and has nothing there.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Shows the layers as one at `place`, to this thread only: should we be killed, no mount stays.
fn join_layers(layers: &[PathBuf], place: &Path) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_SLAVE | MsFlags::MS_REC, none)?;
    // Many layers' full paths are longer than the page the kernel takes.
    let common = common_folder(layers);
    std::env::set_current_dir(&common)?;
    let names: Vec<String> = layers
        .iter()
        .map(|layer| layer.strip_prefix(&common).unwrap_or(layer).display().to_string())
        .collect();
    let options = format!("lowerdir={}", names.join(":"));
    mount(
        Some("overlay"),
        place,
        Some("overlay"),
        MsFlags::MS_RDONLY,
        Some(options.as_str()),
    )?;
    Ok(())
}

fn common_folder(paths: &[PathBuf]) -> PathBuf {
    let Some(first) = paths.first() else {
        return "/".into();
    };
    let shared = |folder: &&Path| paths.iter().all(|path| path.starts_with(folder));
    // Not the path itself: a relative name must remain.
    let folder = first.ancestors().skip(1).find(shared);
    folder.unwrap_or(Path::new("/")).to_owned()
}

/// Copies a file or folder with its owner, mode and time.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(from)?;
    let kind = found.file_type();
    if kind.is_dir() {
        match fs::create_dir(to) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        for entry in fs::read_dir(from)? {
            let name = entry?.file_name();
            copy(&from.join(&name), &to.join(&name))?;
        }
    } else if kind.is_symlink() {
        symlink(fs::read_link(from)?, to)?;
    } else if kind.is_file() {
        fs::copy(from, to)?;
    } else if kind.is_fifo() || kind.is_socket() || kind.is_block_device() || kind.is_char_device() {
        mknod(
            to,
            SFlag::from_bits_truncate(found.mode()),
            Mode::empty(),
            found.rdev(),
        )?;
    }
    if kind.is_symlink() {
        lchown(to, Some(found.uid()), Some(found.gid()))?;
    } else {
        // In this order: a change of the owner takes set-user-id away.
        chown(to, Some(found.uid()), Some(found.gid()))?;
        fs::set_permissions(to, fs::Permissions::from_mode(found.mode() & 0o7777))?;
    }
    let accessed = TimeSpec::new(found.atime(), found.atime_nsec());
    let modified = TimeSpec::new(found.mtime(), found.mtime_nsec());
    utimensat(
        nix::fcntl::AT_FDCWD,
        to,
        &accessed,
        &modified,
        UtimensatFlags::NoFollowSymlink,
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_the_pod_mounts_itself_gets_no_folder() {
        let volumes = ["/data", "relative", "/a/../b/", "/b", "/"].map(PathBuf::from);
        let own = [Mount {
            target: "/data/".into(),
            ..Default::default()
        }];
        let planned = plan(&volumes, &own, Path::new("/v"));
        let places: Vec<_> = planned
            .iter()
            .map(|mount| (mount.source.to_str().unwrap(), mount.target.to_str().unwrap()))
            .collect();
        assert_eq!(places, [("/v/0", "/b"), ("/v/1", "/relative")]);
        assert!(planned.iter().all(|mount| !mount.read_only));
    }

    #[test]
    fn layers_are_named_from_the_folder_they_share() {
        let layers = ["/s/2/fs", "/s/1/fs"].map(PathBuf::from);
        assert_eq!(common_folder(&layers), Path::new("/s"));
        assert_eq!(common_folder(&layers[..1]), Path::new("/s/2"));
    }

    #[test]
    fn a_copy_keeps_modes_owners_links_and_times() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("deep")).unwrap();
        fs::write(from.join("deep/file"), "text").unwrap();
        fs::set_permissions(from.join("deep/file"), fs::Permissions::from_mode(0o4711)).unwrap();
        symlink("/etc/passwd", from.join("link")).unwrap();
        fs::create_dir(&to).unwrap();
        copy(&from.join("."), &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("deep/file")).unwrap(), "text");
        let (a, b) = (
            fs::metadata(from.join("deep/file")).unwrap(),
            fs::metadata(to.join("deep/file")).unwrap(),
        );
        assert_eq!(
            (a.mode(), a.uid(), a.mtime_nsec()),
            (b.mode(), b.uid(), b.mtime_nsec())
        );
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("/etc/passwd"));
    }
}
