//! Sessions: another process in a running container (exec), or its own process (attach).

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use containerd_client::services::v1 as api;
use kobune_runtime::{AttachSpec, Error, ExecSpec, Reader, Result, Session, TerminalSize, Writer};
use serde_json::Value;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};
use tokio_util::io::StreamReader;

use super::io::{Gone, Stdin, Told};
use super::record::{Entry, Phase};
use crate::Containerd;
use crate::connection::{Connection, failed};
use crate::logs::lines::Output;
use crate::logs::{ContainerLog, make_fifo};

const PROCESS_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/Process";
const SIGKILL: u32 = 9;

/// What a running session's keeper needs.
struct Keeper {
    connection: Connection,
    container_id: String,
    /// Empty for the container's own process.
    exec_id: String,
    resize: Option<mpsc::Receiver<TerminalSize>>,
    stdin: Option<(Arc<Gone>, oneshot::Receiver<pipe::Sender>)>,
    /// End of file on stdin reaches the process.
    stdin_ends: bool,
}

impl Keeper {
    /// Serves resizes and the end of stdin; does not return.
    async fn serve(&mut self) -> Infallible {
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

    fn gone(&self) {
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

/// Stays with an exec until its process has ended, killing it when the client goes; answers its code.
async fn keep_exec(
    mut keeper: Keeper,
    exit: &mut oneshot::Sender<Result<i32>>,
    folder: ExecFolder,
) -> Result<i32> {
    let (container_id, exec_id) = (keeper.container_id.clone(), keeper.exec_id.clone());
    let mut tasks = keeper.connection.tasks();
    let connection = keeper.connection.clone();
    let wait = tasks.wait(api::WaitRequest {
        container_id: container_id.clone(),
        exec_id: exec_id.clone(),
    });
    tokio::pin!(wait);
    let answer = tokio::select! {
        answer = &mut wait => answer,
        never = keeper.serve() => match never {},
        () = exit.closed() => {
            let request = api::KillRequest {
                container_id: container_id.clone(),
                exec_id: exec_id.clone(),
                signal: SIGKILL,
                all: false,
            };
            let _ = connection.tasks().kill(request).await;
            wait.await
        }
    };
    keeper.gone();
    // The shim answers when it has copied the last output, or gives that up.
    delete_process(&connection, &container_id, &exec_id).await;
    drop(folder);
    let answer = answer.map_err(failed("waiting for a command to end"))?;
    Ok(answer.into_inner().exit_status as i32)
}

async fn delete_process(connection: &Connection, container_id: &str, exec_id: &str) {
    let request = api::DeleteProcessRequest {
        container_id: container_id.to_owned(),
        exec_id: exec_id.to_owned(),
    };
    if let Err(error) = connection.tasks().delete_process(request).await {
        tracing::debug!(container = container_id, %error, "deleting an ended command");
    }
}

/// The FIFOs of one exec; removed with it.
struct ExecFolder(PathBuf);

impl ExecFolder {
    fn make(path: PathBuf, spec: &ExecSpec) -> io::Result<Self> {
        std::fs::create_dir(&path)?;
        let folder = Self(path);
        let wanted = [("stdin", spec.stdin), ("stdout", true), ("stderr", !spec.tty)];
        wanted
            .into_iter()
            .filter(|(_, wanted)| *wanted)
            .try_for_each(|(name, _)| make_fifo(&folder.0.join(name)))?;
        Ok(folder)
    }

    fn name(&self, name: &str, there: bool) -> String {
        if there {
            self.0.join(name).display().to_string()
        } else {
            String::new()
        }
    }
}

impl Drop for ExecFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Containerd {
    pub(crate) async fn start_exec(&self, id: &str, spec: &ExecSpec) -> Result<Session> {
        let entry = self.running(id)?;
        let exec_id = uuid::Uuid::new_v4().simple().to_string();
        let doing = || format!("running a command in container {}", entry.record.name);
        let pipes = |error: io::Error| Error::other(doing(), error);
        let folder = ExecFolder::make(self.folders.of(id).join(&exec_id), spec).map_err(pipes)?;
        // Opened before the shim opens its ends, read only after: a FIFO nobody has written to yet
        // looks as if it had ended.
        let stdout = pipe::OpenOptions::new()
            .open_receiver(folder.0.join("stdout"))
            .map_err(pipes)?;
        let stderr = if spec.tty {
            None
        } else {
            Some(
                pipe::OpenOptions::new()
                    .open_receiver(folder.0.join("stderr"))
                    .map_err(pipes)?,
            )
        };
        let stdin = spec
            .stdin
            .then(|| Stdin::open(&folder.0.join("stdin")))
            .transpose()
            .map_err(pipes)?;
        self.start_process(&entry, &exec_id, spec, &folder).await?;

        let (stdin, stdin_state) = match stdin {
            Some((stdin, gone, done)) => (Some(Box::new(stdin) as Writer), Some((gone, done))),
            None => (None, None),
        };
        let (resize, sizes) = mpsc::channel(4);
        let (mut exit, receiver) = oneshot::channel();
        let (stdout, stdout_read) = Told::new(stdout);
        let (stderr, stderr_read) = match stderr.map(Told::new) {
            Some((stderr, read)) => (Some(Box::new(stderr) as Reader), Some(read)),
            None => (None, None),
        };
        let keeper = Keeper {
            connection: self.connection.clone(),
            container_id: id.to_owned(),
            exec_id,
            resize: Some(sizes),
            stdin: stdin_state,
            stdin_ends: true,
        };
        tokio::spawn(async move {
            let code = keep_exec(keeper, &mut exit, folder).await;
            let _ = stdout_read.await;
            if let Some(read) = stderr_read {
                let _ = read.await;
            }
            let _ = exit.send(code);
        });
        Ok(Session {
            stdin,
            stdout: Some(Box::new(stdout)),
            stderr,
            resize,
            exit: receiver,
        })
    }

    fn running(&self, id: &str) -> Result<Arc<Entry>> {
        let entry = self.entries.get(id)?;
        match entry.phase() {
            Phase::Running { .. } => Ok(entry),
            _ => Err(Error::Config {
                message: format!("container {} is not running", entry.record.name),
            }),
        }
    }

    async fn start_process(
        &self,
        entry: &Entry,
        exec_id: &str,
        spec: &ExecSpec,
        folder: &ExecFolder,
    ) -> Result<()> {
        let process = self.process(entry, spec).await?;
        let mut tasks = self.connection.tasks();
        let request = api::ExecProcessRequest {
            container_id: entry.id.clone(),
            exec_id: exec_id.to_owned(),
            stdin: folder.name("stdin", spec.stdin),
            stdout: folder.name("stdout", true),
            stderr: folder.name("stderr", !spec.tty),
            terminal: spec.tty,
            spec: Some(prost_types::Any {
                type_url: PROCESS_TYPE.into(),
                value: process,
            }),
        };
        tasks
            .exec(request)
            .await
            .map_err(failed("preparing the process"))?;
        let request = api::StartRequest {
            container_id: entry.id.clone(),
            exec_id: exec_id.to_owned(),
        };
        if let Err(status) = tasks.start(request).await {
            delete_process(&self.connection, &entry.id, exec_id).await;
            let message = status.message();
            return Err(Error::Start {
                message: format!("failed to start exec {exec_id:?}: {message}"),
            });
        }
        Ok(())
    }

    /// The container's own process specification with another command.
    async fn process(&self, entry: &Entry, spec: &ExecSpec) -> Result<Vec<u8>> {
        let request = api::GetContainerRequest { id: entry.id.clone() };
        let answer = self
            .connection
            .containers()
            .get(request)
            .await
            .map_err(failed("reading the container"))?;
        let stored = answer
            .into_inner()
            .container
            .and_then(|container| container.spec)
            .unwrap_or_default()
            .value;
        let doing = "reading the container's specification";
        let mut stored: Value =
            serde_json::from_slice(&stored).map_err(|error| Error::other(doing, error))?;
        let mut process = stored["process"].take();
        process["args"] = spec.command.clone().into();
        process["terminal"] = spec.tty.into();
        if spec.tty
            && let Some(env) = process["env"].as_array_mut()
            && !env
                .iter()
                .any(|line| line.as_str().is_some_and(|line| line.starts_with("TERM=")))
        {
            env.push("TERM=xterm".into());
        }
        serde_json::to_vec(&process).map_err(|error| Error::other(doing, error))
    }

    pub(crate) fn start_attach(&self, id: &str, spec: &AttachSpec) -> Result<Session> {
        let entry = self.running(id)?;
        let log = entry.log();
        let stdin = match spec.stdin && entry.record.stdin {
            true => Some(Stdin::open(&self.folders.of(id).join("stdin")).map_err(|error| {
                Error::other(format!("attaching to container {}", entry.record.name), error)
            })?),
            false => None,
        };
        let (stdin, stdin_state) = match stdin {
            Some((stdin, gone, done)) => (Some(Box::new(stdin) as Writer), Some((gone, done))),
            None => (None, None),
        };
        let reader = |wanted: bool, output| {
            wanted
                .then(|| log.as_deref().map(|log| watch(log, output)))
                .flatten()
        };
        let stdout = reader(spec.stdout, Output::Stdout);
        let stderr = reader(spec.stderr && !entry.record.tty, Output::Stderr);
        let (resize, sizes) = mpsc::channel(4);
        let (mut exit, receiver) = oneshot::channel();
        let mut keeper = Keeper {
            connection: self.connection.clone(),
            container_id: id.to_owned(),
            exec_id: String::new(),
            resize: Some(sizes),
            stdin: stdin_state,
            stdin_ends: entry.record.stdin_once,
        };
        tokio::spawn(async move {
            tokio::select! {
                never = keeper.serve() => match never {},
                // The client went; its stdin may still have to be ended.
                () = exit.closed() => {
                    if let Some((_, done)) = keeper.stdin.take()
                        && done.await.is_ok()
                        && keeper.stdin_ends
                    {
                        keeper.close_stdin().await;
                    }
                }
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
            stdin,
            stdout,
            stderr,
            resize,
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
