//! One line of a log in CRI format.

use jiff::Timestamp;

/// Which output it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A line, borrowed from the file's bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// As written, RFC 3339 with nanoseconds.
    pub time: &'a [u8],
    /// Where it came from.
    pub output: Output,
    /// False: the line goes on in the next entry.
    pub complete: bool,
    /// The text without its newline.
    pub content: &'a [u8],
}

/// Parses one entry; `None` for what is not one.
pub fn parse(entry: &[u8]) -> Option<Line<'_>> {
    let entry = entry.strip_suffix(b"\n").unwrap_or(entry);
    let (time, rest) = split(entry)?;
    let (output, rest) = split(rest)?;
    let (tag, content) = split(rest)?;
    let output = match output {
        b"stdout" => Output::Stdout,
        b"stderr" => Output::Stderr,
        _ => return None,
    };
    // Tags are separated by colons; only the first says anything.
    let complete = !tag.starts_with(b"P");
    Some(Line {
        time,
        output,
        complete,
        content,
    })
}

fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|b| *b == b' ')?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

impl Line<'_> {
    /// When it was written.
    pub fn timestamp(&self) -> Option<Timestamp> {
        std::str::from_utf8(self.time).ok()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_parsed() {
        let line = parse(b"2024-01-02T03:04:05.5Z stderr P a b \n").unwrap();
        assert_eq!(
            (line.output, line.complete, line.content),
            (Output::Stderr, false, b"a b ".as_slice())
        );
        assert_eq!(line.timestamp().unwrap().to_string(), "2024-01-02T03:04:05.5Z");
        assert_eq!(parse(b"2024-01-02T03:04:05.5Z stdout F \n").unwrap().content, b"");
        assert_eq!(parse(b"nonsense\n"), None);
    }
}
