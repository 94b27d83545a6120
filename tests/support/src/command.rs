//! Programs run to their end.

use std::io::Write;
use std::process::{Command, Stdio};

/// What a program printed and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// The command, for messages.
    pub command: String,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// The exit code; -1 after a signal.
    pub code: i32,
}

impl Output {
    /// Standard output of a program that succeeded; panics with all it said otherwise.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(
            self.code == 0,
            "`{}` ended with {}\n{}{}",
            self.command,
            self.code,
            self.stdout,
            self.stderr
        );
        self.stdout
    }

    /// Standard error of a program that failed; panics if it succeeded.
    #[track_caller]
    pub fn fails(self) -> String {
        assert!(
            self.code != 0,
            "`{}` succeeded, but should fail:\n{}",
            self.command,
            self.stdout
        );
        self.stderr
    }

    /// Standard output, or everything as an error: for [`crate::eventually`].
    pub fn result(self) -> Result<String, String> {
        if self.code == 0 {
            Ok(self.stdout)
        } else {
            Err(format!("`{}`: {}{}", self.command, self.stdout, self.stderr))
        }
    }
}

/// Runs a prepared command to its end, with `input` as its standard input.
pub fn run(command: &mut Command, input: Option<&str>) -> Output {
    let shown = format!("{command:?}");
    command.stdin(if input.is_some() {
        Stdio::piped()
    } else {
        Stdio::null()
    });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("starting {shown}: {error}"));
    if let (Some(text), Some(mut stdin)) = (input, child.stdin.take()) {
        // A program that ends before it has read everything says why in its output.
        let _ = stdin.write_all(text.as_bytes());
    }
    let output = child
        .wait_with_output()
        .unwrap_or_else(|error| panic!("waiting for {shown}: {error}"));
    Output {
        command: shown,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        code: output.status.code().unwrap_or(-1),
    }
}
