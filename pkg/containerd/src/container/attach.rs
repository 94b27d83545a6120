//! The process of a running container itself: its output from now on, and its stdin.

use std::io;

use kobune_runtime::{AttachSpec, Error, Reader, Result, Session};
use tokio::sync::oneshot;
use tokio_util::io::StreamReader;

use super::record::Phase;
use super::session::Keeper;
use crate::Containerd;
use crate::logs::ContainerLog;
use crate::logs::lines::Output;

impl Containerd {
    pub(crate) fn start_attach(&self, id: &str, spec: &AttachSpec) -> Result<Session> {
        let entry = self.running(id)?;
        let log = entry.log();
        let fifo = (spec.stdin && entry.record.stdin).then(|| self.folders.of(id).join("stdin"));
        let (mut keeper, kept) = Keeper::new(
            &self.connection,
            id,
            String::new(),
            fifo.as_deref(),
            entry.record.stdin_once,
        )
        .map_err(|error| Error::other(format!("attaching to container {}", entry.record.name), error))?;
        let output = |wanted: bool, output| match (wanted, &log) {
            (true, Some(log)) => Some(watch(log, output)),
            _ => None,
        };
        let stdout = output(spec.stdout, Output::Stdout);
        let stderr = output(spec.stderr && !entry.record.tty, Output::Stderr);
        let (mut exit, receiver) = oneshot::channel();
        tokio::spawn(async move {
            tokio::select! {
                never = keeper.serve() => match never {},
                () = exit.closed() => keeper.client_gone().await,
                () = entry.over() => {
                    keeper.gone();
                    let code = match entry.phase() {
                        Phase::Exited(exit) => Ok(exit.exit_code),
                        _ => Err(Error::NotFound { what: format!("the exit code of container {}", entry.id) }),
                    };
                    let _ = exit.send(code);
                }
            }
        });
        Ok(Session {
            stdin: kept.stdin,
            stdout,
            stderr,
            resize: kept.resize,
            exit: receiver,
        })
    }
}

/// A copy of one output as a reader.
fn watch(log: &ContainerLog, output: Output) -> Reader {
    let receiver = log.watch(output);
    let chunks = futures_util::stream::unfold(receiver, |mut receiver| async move {
        let bytes = receiver.recv().await?;
        Some((Ok::<_, io::Error>(bytes), receiver))
    });
    Box::new(StreamReader::new(Box::pin(chunks)))
}
