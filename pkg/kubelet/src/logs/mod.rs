//! Container logs: lines in CRI format, read as `kubectl logs` asks for them.
//!
//! ```text
//! 2024-01-02T03:04:05.123456789Z stdout F a line
//! 2024-01-02T03:04:05.123456789Z stderr P the beginning of a line
//! ```

pub mod follow;
pub mod line;

pub use follow::{LogRequest, stream};

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

const BLOCK: u64 = 64 << 10;

/// Offset at which the last `lines` lines begin.
pub fn tail_offset(file: &mut fs::File, lines: u64) -> std::io::Result<u64> {
    let length = file.metadata()?.len();
    if lines == 0 {
        return Ok(length);
    }
    let (mut end, mut seen) = (length, 0);
    let mut block = Vec::new();
    while end > 0 {
        let begin = end.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(begin))?;
        block.clear();
        file.by_ref().take(end - begin).read_to_end(&mut block)?;
        for (at, byte) in block.iter().enumerate().rev() {
            let last_of_file = begin + at as u64 + 1 == length;
            if *byte != b'\n' || last_of_file {
                continue;
            }
            seen += 1;
            if seen == lines {
                return Ok(begin + at as u64 + 1);
            }
        }
        end = begin;
    }
    Ok(0)
}

/// The text of the last lines of a log, at most so many bytes; for termination messages.
pub fn last_lines(path: &Path, lines: usize, bytes: usize) -> String {
    let read = || {
        let mut file = fs::File::open(path)?;
        let offset = tail_offset(&mut file, lines as u64)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        Ok::<_, std::io::Error>(text)
    };
    let raw = read().unwrap_or_default();
    let mut text = Vec::new();
    for line in raw.split_inclusive(|b| *b == b'\n').filter_map(line::parse) {
        text.extend_from_slice(line.content);
        if line.complete {
            text.push(b'\n');
        }
    }
    let cut = text.len().saturating_sub(bytes);
    String::from_utf8_lossy(&text[cut..]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let lines: String = (0..5000)
            .map(|i| format!("2024-01-02T03:04:05.000000000Z stdout F line {i}\n"))
            .collect();
        fs::write(&path, lines).unwrap();
        assert_eq!(last_lines(&path, 2, 1000), "line 4998\nline 4999\n");
        assert_eq!(last_lines(&path, 2, 5), "4999\n");
        let mut file = fs::File::open(&path).unwrap();
        assert_eq!(tail_offset(&mut file, 100_000).unwrap(), 0);
    }
}
