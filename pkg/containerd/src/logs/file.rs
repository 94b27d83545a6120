//! One container's log file and its rotation.
//!
//! A full file becomes `<path>.YYYYMMDD-HHMMSS`; the newest of these stays readable for who follows
//! it, older ones are compressed to `.gz`, and the oldest go when there are more than wanted. This
//! is how the kubelet names them, so log collectors know them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// An open log file.
pub(crate) struct LogFile {
    path: PathBuf,
    file: File,
    size: u64,
    /// Bytes; 0: never rotated.
    max_size: u64,
    /// The present file included.
    max_files: u32,
    /// The time in the newest rotated file's name.
    rotated_at: Option<jiff::Timestamp>,
}

impl LogFile {
    /// Opens the file to append to it; makes its folder.
    pub(crate) fn open(path: &Path, max_size: u64, max_files: u32) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = append(path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            path: path.to_path_buf(),
            file,
            size,
            max_size,
            max_files,
            rotated_at: None,
        })
    }

    /// Appends whole entries; rotates first if the file is full.
    pub(crate) fn write(&mut self, entries: &[u8]) -> io::Result<()> {
        if self.max_size > 0 && self.size >= self.max_size {
            self.rotate()?;
        }
        self.file.write_all(entries)?;
        self.size += entries.len() as u64;
        Ok(())
    }

    /// Opens the path again, after somebody renamed the file.
    pub(crate) fn reopen(&mut self) -> io::Result<()> {
        self.file = append(&self.path)?;
        self.size = self.file.metadata()?.len();
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        // Two rotations in one second: the names must stay in order, also when the first is gone already.
        let second = jiff::SignedDuration::from_secs(1);
        let mut time = self
            .rotated_at
            .map_or(jiff::Timestamp::UNIX_EPOCH, |last| last + second);
        time = time.max(jiff::Timestamp::now());
        let rotated = loop {
            let name = PathBuf::from(format!(
                "{}.{}",
                self.path.display(),
                time.strftime("%Y%m%d-%H%M%S")
            ));
            if !name.exists() && !compressed(&name).exists() {
                break name;
            }
            time += second;
        };
        self.rotated_at = Some(time);
        fs::rename(&self.path, &rotated)?;
        self.reopen()?;
        let (path, keep) = (self.path.clone(), self.max_files.max(2) as usize - 1);
        // Compressing takes long; other containers' output must not wait for it.
        std::thread::Builder::new()
            .name("log-rotation".into())
            .spawn(move || {
                if let Err(error) = tidy(&path, keep) {
                    tracing::warn!(path = %path.display(), %error, "old logs could not be compressed");
                }
            })
            .map(drop)
    }
}

fn append(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o640)
        .open(path)
}

fn compressed(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}.gz", path.display()))
}

/// Removes all but the newest `keep` rotated files, compresses all but the newest of those.
fn tidy(path: &Path, keep: usize) -> io::Result<()> {
    // One at a time: a fast writer rotates again while the last file is being compressed.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(|poison| poison.into_inner());
    let mut rotated = rotated_files(path)?;
    let surplus = rotated.len().saturating_sub(keep);
    for old in rotated.drain(..surplus) {
        fs::remove_file(old)?;
    }
    rotated.pop();
    for old in rotated
        .iter()
        .filter(|old| old.extension().is_none_or(|end| end != "gz"))
    {
        compress(old)?;
    }
    Ok(())
}

/// The rotated files of a log, oldest first.
pub(crate) fn rotated_files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let prefix = format!("{name}.");
    let mut found: Vec<PathBuf> = fs::read_dir(folder)?
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            let rest = name.to_str().and_then(|name| name.strip_prefix(&prefix));
            rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()) && !rest.ends_with(".tmp"))
        })
        .map(|entry| entry.path())
        .collect();
    found.sort();
    Ok(found)
}

fn compress(path: &Path) -> io::Result<()> {
    let target = compressed(path);
    let part = PathBuf::from(format!("{}.tmp", target.display()));
    let mut encoder = flate2::write::GzEncoder::new(File::create(&part)?, flate2::Compression::default());
    io::copy(&mut File::open(path)?, &mut encoder)?;
    encoder.finish()?;
    fs::rename(part, target)?;
    fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_rotated_and_only_so_many_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        let mut log = LogFile::open(&path, 100, 3).unwrap();
        for round in 0..10 {
            log.write(format!("{round} {}\n", "x".repeat(120)).as_bytes())
                .unwrap();
        }
        drop(log);
        tidy(&path, 2).unwrap();
        let rotated = rotated_files(&path).unwrap();
        assert_eq!(rotated.len(), 2);
        assert!(
            rotated[0].extension().is_some_and(|end| end == "gz"),
            "{rotated:?}"
        );
        assert!(fs::read_to_string(&rotated[1]).unwrap().starts_with("8 "));
        assert!(fs::read_to_string(&path).unwrap().starts_with("9 "));
    }
}
