//! Another process in a running container.

use std::io;
use std::path::PathBuf;

use containerd_client::services::v1 as api;
use kobune_runtime::{Error, ExecSpec, Reader, Result, Session};
use serde_json::Value;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

use super::io::Told;
use super::record::Entry;
use super::session::Keeper;
use crate::Containerd;
use crate::connection::{Connection, failed};
use crate::logs::make_fifo;

const PROCESS_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/Process";
const SIGKILL: u32 = 9;

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

    fn output(&self, name: &str) -> io::Result<pipe::Receiver> {
        pipe::OpenOptions::new().open_receiver(self.0.join(name))
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
        let stdout = folder.output("stdout").map_err(pipes)?;
        let stderr = match spec.tty {
            true => None,
            false => Some(folder.output("stderr").map_err(pipes)?),
        };
        let fifo = spec.stdin.then(|| folder.0.join("stdin"));
        let (keeper, kept) =
            Keeper::new(&self.connection, id, exec_id.clone(), fifo.as_deref(), true).map_err(pipes)?;
        self.start_process(&entry, &exec_id, spec, &folder).await?;

        let (stdout, stdout_read) = Told::new(stdout);
        let (stderr, stderr_read) = match stderr.map(Told::new) {
            Some((stderr, read)) => (Some(Box::new(stderr) as Reader), Some(read)),
            None => (None, None),
        };
        let (mut exit, receiver) = oneshot::channel();
        tokio::spawn(async move {
            let code = keep_exec(keeper, &mut exit, folder).await;
            let _ = stdout_read.await;
            if let Some(read) = stderr_read {
                let _ = read.await;
            }
            let _ = exit.send(code);
        });
        Ok(Session {
            stdin: kept.stdin,
            stdout: Some(Box::new(stdout)),
            stderr,
            resize: kept.resize,
            exit: receiver,
        })
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
}
