//! A server's claim to its folders: one server a folder, and word of it for scripts while it runs.

use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::notes;
use crate::paths::Paths;
use crate::settings::Settings;

const PID: &str = "server.pid";
const LOCK: &str = "lock";

/// Whether a server with these folders runs.
pub fn is_taken(paths: &Paths) -> bool {
    File::open(paths.server().join(LOCK)).is_ok_and(|lock| lock.try_lock().is_err())
}

/// Held while the server runs. Dropping it takes away what only a running server has; sockets and pinned
/// namespaces of pods, which run on, stay.
pub struct Claim {
    run: PathBuf,
    _lock: File,
}

impl Claim {
    /// Makes the server's folders and sees to it that they have one server only.
    pub fn take(settings: &Settings) -> Result<Self> {
        let (data, run) = (settings.paths.server(), settings.paths.run.clone());
        for folder in [&data, &run] {
            std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        }
        let path = data.join(LOCK);
        let lock = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
        if lock.try_lock().is_err() {
            bail!(
                "another server runs with --data-dir {}: stop it, or give this one a folder of its own",
                settings.paths.data.display()
            );
        }
        let claim = Claim { run, _lock: lock };
        // Left from a run that was killed; scripts wait for it.
        claim.remove(crate::notify::READY);
        std::fs::write(claim.run.join(PID), std::process::id().to_string())
            .with_context(|| format!("writing into {}", claim.run.display()))?;
        notes::leave(settings)?;
        Ok(claim)
    }

    fn remove(&self, name: &str) {
        let path = self.run.join(name);
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, file = %path.display(), "a file of this run could not be removed");
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.remove(crate::notify::READY);
        self.remove(PID);
        // Only when it is empty: a server without a node has nothing there that has to outlive it.
        let _ = std::fs::remove_dir(&self.run);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(run: PathBuf) -> Claim {
        let lock = tempfile::tempfile().expect("a temporary file");
        std::fs::create_dir_all(&run).expect("a new folder");
        for name in [PID, crate::notify::READY] {
            std::fs::write(run.join(name), "1").expect("it was just made");
        }
        Claim { run, _lock: lock }
    }

    #[test]
    fn a_stop_leaves_what_pods_need_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let run = folder.path().join("run");
        drop(claim(run.clone()));
        assert!(!run.exists());
        std::fs::create_dir_all(run.join("containerd")).expect("a new folder");
        drop(claim(run.clone()));
        let left: Vec<_> = std::fs::read_dir(&run).expect("it is there").flatten().collect();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].file_name(), "containerd");
    }
}
