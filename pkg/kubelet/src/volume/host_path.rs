//! `hostPath.type`: what must be there, or is made.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

/// Checks or makes the path; the error is the end of a `FailedMount` event's text.
pub fn prepare(path: &Path, kind: &str) -> Result<(), String> {
    let shown = path.display();
    let found = fs::metadata(path);
    let failed = |what: &str| Err(format!("hostPath type check failed: {shown} is not {what}"));
    let is = |test: fn(&fs::FileType) -> bool| found.as_ref().is_ok_and(|m| test(&m.file_type()));
    match kind {
        "" => match found {
            Err(e) if e.kind() == io::ErrorKind::NotFound => make_dir(path),
            _ => Ok(()),
        },
        "DirectoryOrCreate" => match &found {
            Err(e) if e.kind() == io::ErrorKind::NotFound => make_dir(path),
            _ if is(fs::FileType::is_dir) => Ok(()),
            _ => failed("a directory"),
        },
        "Directory" if is(fs::FileType::is_dir) => Ok(()),
        "Directory" => failed("a directory"),
        "FileOrCreate" => match &found {
            Err(e) if e.kind() == io::ErrorKind::NotFound => make_file(path),
            _ if is(fs::FileType::is_file) => Ok(()),
            _ => failed("a file"),
        },
        "File" if is(fs::FileType::is_file) => Ok(()),
        "File" => failed("a file"),
        "Socket" if is(fs::FileType::is_socket) => Ok(()),
        "Socket" => failed("a socket file"),
        "CharDevice" if is(fs::FileType::is_char_device) => Ok(()),
        "CharDevice" => failed("a character device"),
        "BlockDevice" if is(fs::FileType::is_block_device) => Ok(()),
        "BlockDevice" => failed("a block device"),
        other => Err(format!("{other} is an invalid volume type")),
    }
}

fn make_dir(path: &Path) -> Result<(), String> {
    let made =
        fs::create_dir_all(path).and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)));
    made.map_err(|e| format!("cannot make the directory {}: {e}", path.display()))
}

fn make_file(path: &Path) -> Result<(), String> {
    let made =
        fs::File::create(path).and_then(|_| fs::set_permissions(path, fs::Permissions::from_mode(0o644)));
    made.map_err(|e| format!("cannot make the file {}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_checked_or_made() {
        let dir = tempfile::tempdir().unwrap();
        let at = |n: &str| dir.path().join(n);
        assert_eq!(prepare(&at("d"), "DirectoryOrCreate"), Ok(()));
        assert_eq!(prepare(&at("f"), "FileOrCreate"), Ok(()));
        assert_eq!(prepare(&at("d"), "Directory"), Ok(()));
        assert_eq!(prepare(&at("f"), "File"), Ok(()));
        assert!(
            prepare(&at("f"), "Directory")
                .unwrap_err()
                .ends_with("f is not a directory")
        );
        assert!(
            prepare(&at("no"), "File")
                .unwrap_err()
                .ends_with("no is not a file")
        );
        assert_eq!(prepare(Path::new("/dev/null"), "CharDevice"), Ok(()));
    }
}
