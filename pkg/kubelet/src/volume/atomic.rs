//! Writes a volume's files so that a reader sees all of the old ones or all of the new ones.
//!
//! ```text
//! volume/name      -> ..data/name      (what containers open)
//! volume/..data    -> ..2024_01_02.3   (replaced by one rename)
//! volume/..2024_01_02.3/name
//! ```

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use super::files::{File, Files};

const DATA: &str = "..data";

/// Makes the folder's content `files`; answers false when it was that already.
/// `group` is `fsGroup`: it may read everything.
pub fn write(dir: &Path, files: &Files, group: Option<u32>) -> io::Result<bool> {
    let current = fs::read_link(dir.join(DATA)).ok();
    if let Some(current) = &current
        && is_same(&dir.join(current), files, group)?
    {
        return Ok(false);
    }
    let (name, fresh) = new_folder(dir)?;
    fill(&fresh, files, group)?;
    let temporary = dir.join("..data_tmp");
    remove_if_there(&temporary)?;
    symlink(&name, &temporary)?;
    fs::rename(&temporary, dir.join(DATA))?;
    link_visible(dir, files)?;
    if let Some(old) = current {
        fs::remove_dir_all(dir.join(old))?;
    }
    Ok(true)
}

fn new_folder(dir: &Path) -> io::Result<(String, PathBuf)> {
    // Names sort by time, for people who look; a counter keeps two in one moment apart.
    let stamp = jiff::Timestamp::now().strftime("..%Y_%m_%d_%H_%M_%S").to_string();
    for n in 0.. {
        let name = format!("{stamp}.{n}");
        match fs::create_dir(dir.join(&name)) {
            Ok(()) => {
                let path = dir.join(&name);
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
                return Ok((name, path));
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    unreachable!("the range of counters has no end")
}

fn fill(dir: &Path, files: &Files, group: Option<u32>) -> io::Result<()> {
    for (path, file) in files {
        let target = dir.join(path);
        if let Some(parent) = target.parent().filter(|p| *p != dir) {
            make_folders(dir, parent, group)?;
        }
        fs::write(&target, &file.data)?;
        if file.owner.is_some() || group.is_some() {
            chown(&target, file.owner, group)?;
        }
        fs::set_permissions(&target, fs::Permissions::from_mode(effective_mode(file, group)))?;
    }
    if group.is_some() {
        own_folder(dir, group)?;
    }
    Ok(())
}

fn make_folders(root: &Path, dir: &Path, group: Option<u32>) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let mut at = dir;
    while at != root {
        fs::set_permissions(at, fs::Permissions::from_mode(0o755))?;
        if group.is_some() {
            own_folder(at, group)?;
        }
        let Some(parent) = at.parent() else { break };
        at = parent;
    }
    Ok(())
}

/// A folder of the group: readable and with the setgid bit, so that new files are the group's too.
pub fn own_folder(dir: &Path, group: Option<u32>) -> io::Result<()> {
    let mode = fs::metadata(dir)?.mode() & 0o7777;
    chown(dir, None, group)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(mode | 0o2550))
}

fn effective_mode(file: &File, group: Option<u32>) -> u32 {
    if group.is_some() {
        file.mode | 0o440
    } else {
        file.mode
    }
}

fn is_same(dir: &Path, files: &Files, group: Option<u32>) -> io::Result<bool> {
    let mut there = BTreeSet::new();
    list(dir, dir, &mut there)?;
    if there.len() != files.len() || !files.keys().all(|k| there.contains(k)) {
        return Ok(false);
    }
    for (path, file) in files {
        let path = dir.join(path);
        if fs::metadata(&path)?.mode() & 0o777 != effective_mode(file, group) || fs::read(&path)? != file.data
        {
            return Ok(false);
        }
    }
    Ok(true)
}

fn list(root: &Path, dir: &Path, into: &mut BTreeSet<String>) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            list(root, &path, into)?;
        } else if let Ok(relative) = path.strip_prefix(root) {
            into.insert(relative.to_string_lossy().into_owned());
        }
    }
    Ok(())
}

/// First path components become links beside `..data`; links to what is gone go.
fn link_visible(dir: &Path, files: &Files) -> io::Result<()> {
    let wanted: BTreeSet<&str> = files.keys().filter_map(|p| p.split('/').next()).collect();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with("..") && !wanted.contains(name.as_str()) {
            remove_if_there(&entry.path())?;
        }
    }
    for name in wanted {
        let link = dir.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), &link)?;
        }
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str, u32)]) -> Files {
        let file = |d: &str, m: u32| File {
            data: d.into(),
            mode: m,
            owner: None,
        };
        list.iter()
            .map(|(p, d, m)| (p.to_string(), file(d, *m)))
            .collect()
    }

    #[test]
    fn files_appear_change_and_go_as_one() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        assert!(write(dir, &files(&[("a", "1", 0o644), ("d/b", "2", 0o400)]), None).unwrap());
        assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "1");
        assert_eq!(fs::read_to_string(dir.join("d/b")).unwrap(), "2");
        assert_eq!(fs::metadata(dir.join("d/b")).unwrap().mode() & 0o777, 0o400);
        assert!(!write(dir, &files(&[("a", "1", 0o644), ("d/b", "2", 0o400)]), None).unwrap());
        let before = fs::read_link(dir.join("..data")).unwrap();
        assert!(write(dir, &files(&[("a", "new", 0o644)]), None).unwrap());
        assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "new");
        assert!(fs::symlink_metadata(dir.join("d")).is_err());
        assert!(!dir.join(before).exists());
    }

    #[test]
    fn an_empty_volume_has_its_link() {
        let dir = tempfile::tempdir().unwrap();
        assert!(write(dir.path(), &Files::new(), None).unwrap());
        assert!(!write(dir.path(), &Files::new(), None).unwrap());
        assert!(dir.path().join("..data").exists());
    }
}
