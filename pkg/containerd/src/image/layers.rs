//! The folders that a snapshot's mounts name, and files in them.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use containerd_client::types::Mount;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

/// The folders a snapshot is made of, the highest first.
pub(crate) fn layer_folders(mounts: &[Mount]) -> Vec<PathBuf> {
    let Some(mount) = mounts.first() else {
        return Vec::new();
    };
    match mount.r#type.as_str() {
        "overlay" => {
            let option = |name: &str| mount.options.iter().find_map(|option| option.strip_prefix(name));
            let upper = option("upperdir=").into_iter();
            let lower = option("lowerdir=").into_iter().flat_map(|list| list.split(':'));
            upper.chain(lower).map(PathBuf::from).collect()
        }
        _ => vec![PathBuf::from(&mount.source)],
    }
}

/// Opens what an image has at a path, without following any link out of it.
pub(crate) fn open_inside(root: &Path, path: &Path, flags: OFlag) -> io::Result<OwnedFd> {
    let folder = File::open(root)?;
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT);
    Ok(openat2(folder, path, how)?)
}

/// Reads a file of an image. What is not a plain file, not there or absurdly large is nothing.
pub(crate) fn read_inside(root: &Path, path: &str) -> Option<String> {
    const LIMIT: u64 = 4 << 20;
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK;
    let file = File::from(open_inside(root, Path::new(path), flags).ok()?);
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(LIMIT).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_in_an_image_does_not_lead_out_of_it() {
        let image = tempfile::tempdir().unwrap();
        std::fs::create_dir(image.path().join("etc")).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", image.path().join("etc/passwd")).unwrap();
        assert_eq!(read_inside(image.path(), "etc/passwd"), None);
        std::fs::write(image.path().join("etc/hostname"), "inside").unwrap();
        assert_eq!(read_inside(image.path(), "etc/passwd").as_deref(), Some("inside"));
    }

    #[test]
    fn the_layers_of_an_overlay_are_read_from_the_top() {
        let mount = Mount {
            r#type: "overlay".into(),
            options: vec!["lowerdir=/b:/c".into(), "upperdir=/a".into()],
            ..Default::default()
        };
        assert_eq!(
            layer_folders(&[mount]),
            [Path::new("/a"), Path::new("/b"), Path::new("/c")]
        );
    }
}
