//! exec, attach and run.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use kobune_runtime::{AttachSpec, Error, ExecSpec, Runtime, Session};

use super::route::{Pairs, Target, value};
use super::{Answer, Refusal, Server, full, text};
use crate::exec::{self, Ended};
use crate::streams::{Refused, RemoteOptions, remote};

/// `/run` is for small commands.
const RUN_TIMEOUT: Duration = Duration::from_secs(60);

impl Server {
    pub(super) async fn exec(
        &self,
        request: Request<Incoming>,
        target: &Target,
        pairs: &Pairs,
    ) -> Result<Answer, Refusal> {
        let command = commands(pairs);
        if command.is_empty() {
            return Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "you must specify at least 1 command",
            ));
        }
        let open = |runtime: Arc<dyn Runtime>, id: String, options: RemoteOptions| async move {
            let spec = ExecSpec {
                command,
                stdin: options.stdin,
                tty: options.tty,
            };
            // What upstream's kubelet and containerd say before runc's own words.
            runtime.exec(&id, &spec).await.map_err(|error| match error {
                Error::Start { message } => Error::Start {
                    message: format!(
                        "error executing command in container: failed to exec in container: {message}"
                    ),
                },
                other => other,
            })
        };
        self.session(request, target, pairs, open).await
    }

    pub(super) async fn attach(
        &self,
        request: Request<Incoming>,
        target: &Target,
        pairs: &Pairs,
    ) -> Result<Answer, Refusal> {
        let open = |runtime: Arc<dyn Runtime>, id: String, options: RemoteOptions| async move {
            let spec = AttachSpec {
                stdin: options.stdin,
                stdout: options.stdout,
                stderr: options.stderr,
            };
            runtime.attach(&id, &spec).await
        };
        self.session(request, target, pairs, open).await
    }

    /// Joins the client to a session with a running container; `open` is asked for it after the
    /// upgrade.
    async fn session<F>(
        &self,
        mut request: Request<Incoming>,
        target: &Target,
        pairs: &Pairs,
        open: impl FnOnce(Arc<dyn Runtime>, String, RemoteOptions) -> F + Send + 'static,
    ) -> Result<Answer, Refusal>
    where
        F: Future<Output = kobune_runtime::Result<Session>> + Send + 'static,
    {
        let container = self.running(target).await?;
        let options = RemoteOptions::from_query(pairs);
        let runtime = self.context.runtime.clone();
        let open = move || open(runtime, container.id, options);
        answered(remote(&mut request, options, open))
    }

    pub(super) async fn run(&self, target: &Target, pairs: &Pairs) -> Result<Answer, Refusal> {
        let container = self.running(target).await?;
        let command = match value(pairs, "cmd") {
            Some(cmd) => cmd.split_whitespace().map(str::to_owned).collect(),
            None => commands(pairs),
        };
        let failed = |m: String| Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, m));
        match exec::run(&*self.context.runtime, &container.id, &command, RUN_TIMEOUT).await {
            Ended::Exit(0, output) => Ok(text(StatusCode::OK, output)),
            Ended::Exit(code, output) => failed(format!(
                "command '{}' exited with {code}: {output}",
                command.join(" ")
            )),
            Ended::TimedOut(_) => failed("the command did not end".into()),
            Ended::Failed(message) => failed(message),
        }
    }
}

fn commands(pairs: &Pairs) -> Vec<String> {
    pairs
        .iter()
        .filter(|(n, _)| n == "command")
        .map(|(_, v)| v.clone())
        .collect()
}

pub(super) fn answered(upgraded: Result<Response<()>, Refused>) -> Result<Answer, Refusal> {
    match upgraded {
        Ok(response) => Ok(response.map(|()| full(""))),
        Err(refused) => Err(Refusal::new(refused.status(), refused.to_string())),
    }
}
