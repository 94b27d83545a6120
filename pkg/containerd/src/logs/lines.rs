//! From a stream of bytes to lines in the CRI's log format. Pure.
//!
//! `2026-01-02T03:04:05.000000006Z stdout F a whole line`: F ends a line, P (partial) means that
//! the line goes on in the next entry, because it is longer than [`LONGEST`] or was never ended.

/// Longest content of one entry, in bytes, as in containerd.
const LONGEST: usize = 16 << 10;

/// Which output an entry is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    Stdout,
    Stderr,
}

impl Output {
    fn name(self) -> &'static str {
        match self {
            Output::Stdout => "stdout",
            Output::Stderr => "stderr",
        }
    }
}

/// Cuts one output into entries; keeps the beginning of a line that has not ended.
pub(crate) struct Lines {
    output: Output,
    begun: Vec<u8>,
}

impl Lines {
    pub(crate) fn new(output: Output) -> Self {
        Self {
            output,
            begun: Vec::new(),
        }
    }

    pub(crate) fn output(&self) -> Output {
        self.output
    }

    /// Appends the entries that `bytes` complete to `out`.
    pub(crate) fn feed(&mut self, bytes: &[u8], time: &str, out: &mut Vec<u8>) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.piece(&rest[..end], time, out);
            let begun = std::mem::take(&mut self.begun);
            self.entry('F', &begun, time, out);
            rest = &rest[end + 1..];
        }
        self.piece(rest, time, out);
    }

    /// The output ended: what has begun is written as it is.
    pub(crate) fn finish(&mut self, time: &str, out: &mut Vec<u8>) {
        let begun = std::mem::take(&mut self.begun);
        if !begun.is_empty() {
            self.entry('P', &begun, time, out);
        }
    }

    /// Adds to the line that has begun; whatever is over the limit leaves as a partial entry.
    fn piece(&mut self, mut bytes: &[u8], time: &str, out: &mut Vec<u8>) {
        while self.begun.len() + bytes.len() > LONGEST {
            let (now, later) = bytes.split_at(LONGEST - self.begun.len());
            let mut begun = std::mem::take(&mut self.begun);
            begun.extend_from_slice(now);
            self.entry('P', &begun, time, out);
            bytes = later;
        }
        self.begun.extend_from_slice(bytes);
    }

    fn entry(&self, tag: char, content: &[u8], time: &str, out: &mut Vec<u8>) {
        out.reserve(time.len() + content.len() + 12);
        out.extend_from_slice(time.as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.output.name().as_bytes());
        out.extend_from_slice(&[b' ', tag as u8, b' ']);
        out.extend_from_slice(content);
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(chunks: &[&[u8]]) -> String {
        let mut lines = Lines::new(Output::Stdout);
        let mut out = Vec::new();
        for chunk in chunks {
            lines.feed(chunk, "T", &mut out);
        }
        lines.finish("T", &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_in_two_reads_is_one_entry() {
        assert_eq!(
            written(&[b"he", b"llo\nwor", b"ld\n"]),
            "T stdout F hello\nT stdout F world\n"
        );
    }

    #[test]
    fn an_empty_line_is_an_entry() {
        assert_eq!(written(&[b"\n\n"]), "T stdout F \nT stdout F \n");
    }

    #[test]
    fn a_line_that_never_ends_is_partial() {
        assert_eq!(written(&[b"prompt> "]), "T stdout P prompt> \n");
    }

    #[test]
    fn a_long_line_is_cut_at_16_kib() {
        let long = vec![b'x'; LONGEST * 2 + 5];
        let mut all = long.clone();
        all.push(b'\n');
        let text = written(&[&all]);
        let sizes: Vec<(&str, usize)> = text.lines().map(|line| (&line[9..10], line.len() - 11)).collect();
        assert_eq!(sizes, [("P", LONGEST), ("P", LONGEST), ("F", 5)]);
    }

    #[test]
    fn a_line_of_exactly_16_kib_is_whole() {
        let mut all = vec![b'x'; LONGEST];
        all.push(b'\n');
        assert!(written(&[&all]).starts_with("T stdout F x"));
        let (front, back) = all.split_at(LONGEST);
        assert!(written(&[front, back]).starts_with("T stdout F x"));
    }
}
