//! Runs a command in a container and collects what it prints: probes and lifecycle hooks.

use std::time::Duration;

use kobune_runtime::{ExecSpec, Runtime};
use tokio::io::AsyncReadExt;

/// Most that is kept of a command's output.
const MAX_OUTPUT: usize = 10 << 10;

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// With an exit code and what it printed (stdout and stderr).
    Exit(i32, String),
    /// Not within the time.
    TimedOut(Duration),
    /// It could not be run.
    Failed(String),
}

/// Runs a command, at most so long.
pub async fn run(runtime: &dyn Runtime, container: &str, command: &[String], timeout: Duration) -> Ended {
    match tokio::time::timeout(timeout, run_unbounded(runtime, container, command)).await {
        Ok(ended) => ended,
        Err(_) => Ended::TimedOut(timeout),
    }
}

async fn run_unbounded(runtime: &dyn Runtime, container: &str, command: &[String]) -> Ended {
    let spec = ExecSpec {
        command: command.to_vec(),
        stdin: false,
        tty: false,
    };
    let session = match runtime.exec(container, &spec).await {
        Ok(session) => session,
        Err(error) => return Ended::Failed(error.to_string()),
    };
    // The resize channel stays open until the end: dropping the session would kill the process.
    let kobune_runtime::Session {
        stdout,
        stderr,
        exit,
        resize,
        stdin,
    } = session;
    drop(stdin);
    let (out, err) = tokio::join!(read(stdout), read(stderr));
    let ended = exit.await;
    drop(resize);
    match ended {
        Ok(Ok(code)) => Ended::Exit(code, out + &err),
        Ok(Err(error)) => Ended::Failed(error.to_string()),
        Err(_) => Ended::Failed("the runtime ended the session".into()),
    }
}

async fn read(stream: Option<kobune_runtime::Reader>) -> String {
    let Some(mut stream) = stream else {
        return String::new();
    };
    let mut kept = Vec::new();
    let mut chunk = [0; 4096];
    // What is beyond the limit is read and dropped, or the command would hang writing it.
    while let Ok(n @ 1..) = stream.read(&mut chunk).await {
        let room = MAX_OUTPUT.saturating_sub(kept.len()).min(n);
        kept.extend_from_slice(&chunk[..room]);
    }
    String::from_utf8_lossy(&kept).into_owned()
}
