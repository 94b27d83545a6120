//! Sessions: stdin, stdout and stderr of a process in a container.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};

/// A process to run in a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecSpec {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Connect stdin.
    pub stdin: bool,
    /// Allocate a terminal (stdout and stderr are then one stream).
    pub tty: bool,
}

/// How to connect to a container's own process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AttachSpec {
    /// Connect stdin (only if the container has one).
    pub stdin: bool,
    /// Connect stdout.
    pub stdout: bool,
    /// Connect stderr (never with a terminal).
    pub stderr: bool,
}

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Lines.
    pub height: u16,
}

/// A stream to write to.
pub type Writer = Box<dyn AsyncWrite + Send + Unpin>;
/// A stream to read from.
pub type Reader = Box<dyn AsyncRead + Send + Unpin>;

/// A connected process. Dropping it ends the connection; an exec's process is then killed, an
/// attached container runs on.
pub struct Session {
    /// Its stdin, when asked for; dropping it is end of file.
    pub stdin: Option<Writer>,
    /// Its stdout, when asked for (with a terminal: everything it prints).
    pub stdout: Option<Reader>,
    /// Its stderr, when asked for and not a terminal.
    pub stderr: Option<Reader>,
    /// New sizes of the terminal.
    pub resize: mpsc::Sender<TerminalSize>,
    /// The exit code, after stdout and stderr have ended.
    pub exit: oneshot::Receiver<crate::Result<i32>>,
}
