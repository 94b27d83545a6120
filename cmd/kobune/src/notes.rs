//! What a server leaves word of in its state folder, for the subcommands that come after it: they are not
//! told its flags, and some of what they need is known when it runs only.

use std::io::ErrorKind;

use anyhow::{Context, Result};

use crate::paths::Paths;
use crate::settings::Settings;

/// A thing that is noted, by the name of its file in `{data-dir}/server`.
#[derive(Debug, Clone, Copy)]
pub struct Note(&'static str);

/// The folder for sockets.
pub const RUN: Note = Note("run");
/// Where clients on this machine reach the API.
pub const URL: Note = Note("url");
/// The socket of a containerd that is not kobune's own.
pub const CONTAINERD: Note = Note("containerd");
/// The pods' addresses: their routes have to be removed some day.
pub const POD_RANGE: Note = Note("cluster-cidr");

/// Notes all that this server is.
pub fn leave(settings: &Settings) -> Result<()> {
    let paths = &settings.paths;
    RUN.write(paths, Some(&paths.run.to_string_lossy()))?;
    URL.write(paths, Some(&settings.local_url()))?;
    if settings.flags.disable_agent {
        // What an earlier run with a node left is still to be found by these.
        return Ok(());
    }
    let containerd = settings.flags.container_runtime_endpoint.as_deref();
    CONTAINERD.write(paths, containerd)?;
    POD_RANGE.write(paths, Some(&settings.flags.cluster_cidr.to_string()))
}

impl Note {
    /// What the last server noted.
    pub fn read(self, paths: &Paths) -> Option<String> {
        std::fs::read_to_string(paths.server().join(self.0)).ok()
    }

    fn write(self, paths: &Paths, text: Option<&str>) -> Result<()> {
        let file = paths.server().join(self.0);
        let done = match text {
            Some(text) => std::fs::write(&file, text),
            None => match std::fs::remove_file(&file) {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                other => other,
            },
        };
        done.with_context(|| format!("writing {}", file.display()))
    }
}
