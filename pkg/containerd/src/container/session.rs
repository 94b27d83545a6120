//! What exec and attach share: a session's keeper, which serves resizes and the end of stdin.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::Arc;

use containerd_client::services::v1 as api;
use kobune_runtime::{Error, Result, TerminalSize, Writer};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};

use super::io::{Gone, Stdin};
use super::record::{Entry, Phase};
use crate::Containerd;
use crate::connection::Connection;

/// Serves one session from beside it.
pub(super) struct Keeper {
    pub(super) connection: Connection,
    pub(super) container_id: String,
    /// Empty for the container's own process.
    pub(super) exec_id: String,
    resize: Option<mpsc::Receiver<TerminalSize>>,
    stdin: Option<(Arc<Gone>, oneshot::Receiver<pipe::Sender>)>,
    /// End of file on stdin reaches the process.
    stdin_ends: bool,
}

/// The client's side of what a keeper serves.
pub(super) struct Kept {
    pub(super) stdin: Option<Writer>,
    pub(super) resize: mpsc::Sender<TerminalSize>,
}

impl Keeper {
    /// A keeper of this process; its stdin, if there is one, is this FIFO.
    pub(super) fn new(
        connection: &Connection,
        container_id: &str,
        exec_id: String,
        stdin: Option<&Path>,
        stdin_ends: bool,
    ) -> io::Result<(Self, Kept)> {
        let (writer, state) = match stdin.map(Stdin::open).transpose()? {
            Some((stdin, gone, done)) => (Some(Box::new(stdin) as Writer), Some((gone, done))),
            None => (None, None),
        };
        let (resize, sizes) = mpsc::channel(4);
        let keeper = Self {
            connection: connection.clone(),
            container_id: container_id.to_owned(),
            exec_id,
            resize: Some(sizes),
            stdin: state,
            stdin_ends,
        };
        Ok((
            keeper,
            Kept {
                stdin: writer,
                resize,
            },
        ))
    }

    /// Serves resizes and the end of stdin; does not return.
    pub(super) async fn serve(&mut self) -> Infallible {
        enum Asked {
            Resize(Option<TerminalSize>),
            EndOfStdin(Option<pipe::Sender>),
        }
        loop {
            let Self { resize, stdin, .. } = &mut *self;
            let asked = tokio::select! {
                size = next_size(resize) => Asked::Resize(size),
                pipe = end_of_stdin(stdin) => Asked::EndOfStdin(pipe),
            };
            match asked {
                Asked::Resize(Some(size)) => self.resize(size).await,
                Asked::Resize(None) => self.resize = None,
                Asked::EndOfStdin(pipe) => {
                    self.stdin = None;
                    if self.stdin_ends {
                        self.close_stdin().await;
                    }
                    drop(pipe);
                }
            }
        }
    }

    async fn resize(&self, size: TerminalSize) {
        let request = api::ResizePtyRequest {
            container_id: self.container_id.clone(),
            exec_id: self.exec_id.clone(),
            width: size.width.into(),
            height: size.height.into(),
        };
        if let Err(error) = self.connection.tasks().resize_pty(request).await {
            tracing::debug!(%error, "resizing a terminal");
        }
    }

    /// The shim holds the FIFO open for writing too: it has to let go as well.
    async fn close_stdin(&self) {
        let request = api::CloseIoRequest {
            container_id: self.container_id.clone(),
            exec_id: self.exec_id.clone(),
            stdin: true,
        };
        let _ = self.connection.tasks().close_io(request).await;
    }

    /// The client went; what it wrote as its last may still have to be ended.
    pub(super) async fn client_gone(&mut self) {
        if let Some((_, done)) = self.stdin.take()
            && done.await.is_ok()
            && self.stdin_ends
        {
            self.close_stdin().await;
        }
    }

    /// The process has ended: writing to it fails from now on.
    pub(super) fn gone(&self) {
        if let Some((gone, _)) = &self.stdin {
            gone.set();
        }
    }
}

async fn next_size(resize: &mut Option<mpsc::Receiver<TerminalSize>>) -> Option<TerminalSize> {
    match resize {
        Some(sizes) => sizes.recv().await,
        None => std::future::pending().await,
    }
}

async fn end_of_stdin(
    stdin: &mut Option<(Arc<Gone>, oneshot::Receiver<pipe::Sender>)>,
) -> Option<pipe::Sender> {
    match stdin {
        Some((_, done)) => done.await.ok(),
        None => std::future::pending().await,
    }
}

impl Containerd {
    /// A container that something can be done in.
    pub(super) fn running(&self, id: &str) -> Result<Arc<Entry>> {
        let entry = self.entries.get(id)?;
        match entry.phase() {
            Phase::Running { .. } => Ok(entry),
            _ => Err(Error::Config {
                message: format!("container {} is not running", entry.record.name),
            }),
        }
    }
}
