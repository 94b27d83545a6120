//! Where log lines go, and which.

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context, Result};
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

/// Starts logging to `file` or standard error. `verbosity` follows klog's scale.
pub fn start(file: Option<&Path>, verbosity: u8) -> Result<()> {
    let (ours, others) = match verbosity {
        0..=3 => (Level::INFO, Level::WARN),
        4..=6 => (Level::DEBUG, Level::INFO),
        _ => (Level::TRACE, Level::DEBUG),
    };
    let filter = Targets::new().with_target("kobune", ours).with_default(others);
    let layer = tracing_subscriber::fmt::layer().with_target(false);
    match file {
        None => {
            use std::io::IsTerminal;
            let ansi = std::io::stderr().is_terminal();
            tracing_subscriber::registry()
                .with(
                    layer
                        .with_ansi(ansi)
                        .with_writer(std::io::stderr)
                        .with_filter(filter),
                )
                .init();
        }
        Some(path) => {
            let log = OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .with_context(|| format!("opening the file of --log, {}", path.display()))?;
            tracing_subscriber::registry()
                .with(
                    layer
                        .with_ansi(false)
                        .with_writer(Mutex::new(log))
                        .with_filter(filter),
                )
                .init();
        }
    }
    Ok(())
}
