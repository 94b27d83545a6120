//! The message a container leaves when it ends.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use kobune_runtime::{Container, ContainerState};

use super::history::annotation;
use crate::logs;

const MAX_MESSAGE: u64 = 4096;
const MAX_LOG_BYTES: usize = 2048;
const MAX_LOG_LINES: usize = 80;

/// The end of its termination message file, or of its log (`FallbackToLogsOnError`). Empty: none.
pub fn message(container: &Container) -> String {
    let annotated = |key: &str| container.annotations.get(key);
    let written = annotated(annotation::TERMINATION_FILE)
        .map(|f| tail(Path::new(f)))
        .unwrap_or_default();
    if !written.is_empty() {
        return written;
    }
    let failed = !matches!(container.state, ContainerState::Exited { exit_code: 0, .. });
    let fall_back = annotated(annotation::TERMINATION_POLICY).is_some_and(|p| p == "FallbackToLogsOnError");
    if failed && fall_back {
        logs::last_lines(&container.log_path, MAX_LOG_LINES, MAX_LOG_BYTES)
    } else {
        String::new()
    }
}

fn tail(file: &Path) -> String {
    let read = || {
        let mut file = fs::File::open(file)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(MAX_MESSAGE)))?;
        let mut bytes = Vec::new();
        file.take(MAX_MESSAGE).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}
