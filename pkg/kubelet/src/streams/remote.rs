//! Exec and attach: a client's channels joined to a session of the runtime.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::{Request, Response};
use kobune_runtime::{Error as RuntimeError, Reader, Session, TerminalSize, Writer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::channels::{Input, Output, Sender, terminal_size};
use super::spdy::{Connection, Stream};
use super::upgrade::{Agreed, Refused, Transport, agree};
use super::websocket::{self, FromClient};

const WEBSOCKET: &[&str] = &["v5.channel.k8s.io", "v4.channel.k8s.io"];
const SPDY: &[&str] = &["v4.channel.k8s.io"];
/// How long a SPDY client may take to open its streams (upstream's `StreamCreationTimeout`).
const STREAMS_DEADLINE: Duration = Duration::from_secs(30);
/// Bytes read from a process at a time.
const CHUNK: usize = 32 << 10;

/// Which streams a client asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RemoteOptions {
    /// It sends a standard input.
    pub stdin: bool,
    /// It wants standard output.
    pub stdout: bool,
    /// It wants standard error.
    pub stderr: bool,
    /// It wants a terminal; standard error is then part of standard output.
    pub tty: bool,
}

impl RemoteOptions {
    /// Reads them from a query: `stdin=true` as clients of the API write it, `input=1` as those of
    /// the kubelet do.
    pub fn from_query(pairs: &[(String, String)]) -> Self {
        let has = |names: [&str; 2]| {
            pairs.iter().any(|(name, value)| {
                names.contains(&name.as_str()) && ["1", "true", "True"].contains(&value.as_str())
            })
        };
        let tty = has(["tty", "tty"]);
        RemoteOptions {
            stdin: has(["stdin", "input"]),
            stdout: has(["stdout", "output"]),
            stderr: has(["stderr", "error"]) && !tty,
            tty,
        }
    }
}

/// Answers a request for exec or attach. After the upgrade, `open` is asked for the session.
pub fn remote<B, F>(
    request: &mut Request<B>,
    options: RemoteOptions,
    open: impl FnOnce() -> F + Send + 'static,
) -> Result<Response<()>, Refused>
where
    F: Future<Output = Result<Session, RuntimeError>> + Send + 'static,
{
    let (agreed, response) = agree(request, WEBSOCKET, SPDY)?;
    tokio::spawn(async move {
        match agreed.transport {
            Transport::WebSocket => over_websocket(agreed, options, open).await,
            Transport::Spdy => over_spdy(agreed, options, open).await,
        }
    });
    Ok(response)
}

async fn over_websocket<F>(agreed: Agreed, options: RemoteOptions, open: impl FnOnce() -> F)
where
    F: Future<Output = Result<Session, RuntimeError>>,
{
    let Ok(connection) = agreed.connection().await else {
        return;
    };
    let (sink, mut stream) = websocket::accept(connection).await.split();
    let (frames, writer) = websocket::writer(sink);
    // An empty message tells the client that the connection stands.
    let first = if options.stdout {
        Output::Stdout
    } else {
        Output::Error
    };
    frames.send(first as u8, &[]).await;
    let (stdin, stdin_receiver) = mpsc::channel(256);
    let (resize, resize_receiver) = mpsc::channel(4);
    let input = Input {
        stdin: options.stdin.then_some(stdin_receiver),
        resize: resize_receiver,
    };
    let reading = async move {
        let mut stdin = Some(stdin);
        while let Some(message) = websocket::next(&mut stream).await {
            match message {
                FromClient::Data { channel: 0, bytes } => {
                    if let Some(stdin) = &stdin {
                        // A process that has closed its input drops what still comes.
                        let _ = stdin.send(bytes).await;
                    }
                }
                FromClient::Data { channel: 4, bytes } => {
                    if let Some(size) = terminal_size(&bytes) {
                        let _ = resize.send(size).await;
                    }
                }
                FromClient::Closed { channel: 0 } => stdin = None,
                _ => {}
            }
        }
    };
    tokio::select! {
        () = serve(open, input, Sender::WebSocket(frames)) => {}
        // The client is gone: dropping the session ends it.
        () = reading => {}
    }
    // The last word must be on its way before the connection is dropped; a client that reads nothing
    // is not waited for.
    let _ = tokio::time::timeout(STREAMS_DEADLINE, writer).await;
}

async fn over_spdy<F>(agreed: Agreed, options: RemoteOptions, open: impl FnOnce() -> F)
where
    F: Future<Output = Result<Session, RuntimeError>>,
{
    let Ok(connection) = agreed.connection().await else {
        return;
    };
    let Ok(mut connection) = Connection::serve(connection) else {
        return;
    };
    let Ok(Some((input, sender, resize))) =
        tokio::time::timeout(STREAMS_DEADLINE, gather(&mut connection, options)).await
    else {
        return;
    };
    let sizes = forward_sizes(resize);
    tokio::select! {
        () = serve(open, Input { stdin: input, resize: sizes }, sender) => {}
        () = async { while connection.accept().await.is_some() {} } => return,
    }
    connection.close().await;
}

/// Waits for the streams that the options promise.
async fn gather(
    connection: &mut Connection,
    options: RemoteOptions,
) -> Option<(
    Option<mpsc::Receiver<Bytes>>,
    Sender,
    Option<mpsc::Receiver<Bytes>>,
)> {
    let (mut stdin, mut stdout, mut stderr, mut error, mut resize) = (None, None, None, None, None);
    let wanted = 1 + [options.stdin, options.stdout, options.stderr, options.tty]
        .iter()
        .filter(|on| **on)
        .count();
    for _ in 0..wanted {
        let stream: Stream = connection.accept().await?;
        match stream.header("streamtype") {
            Some("stdin") => stdin = Some(stream.data),
            Some("stdout") => stdout = Some(stream.writer),
            Some("stderr") => stderr = Some(stream.writer),
            Some("resize") => resize = Some(stream.data),
            Some("error") => error = Some(stream.writer),
            _ => stream.writer.reset().await,
        }
    }
    Some((
        stdin,
        Sender::Spdy {
            stdout,
            stderr,
            error: error?,
        },
        resize,
    ))
}

/// Terminal sizes come as one JSON object after the other.
fn forward_sizes(stream: Option<mpsc::Receiver<Bytes>>) -> mpsc::Receiver<TerminalSize> {
    let (sender, receiver) = mpsc::channel(4);
    if let Some(mut stream) = stream {
        tokio::spawn(async move {
            while let Some(bytes) = stream.recv().await {
                for line in bytes.split(|byte| *byte == b'\n') {
                    if let Some(size) = terminal_size(line)
                        && sender.send(size).await.is_err()
                    {
                        return;
                    }
                }
            }
        });
    }
    receiver
}

/// Runs a session to its end and tells the client how it ended.
async fn serve<F>(open: impl FnOnce() -> F, input: Input, sender: Sender)
where
    F: Future<Output = Result<Session, RuntimeError>>,
{
    let outcome = match open().await {
        Ok(session) => run(session, input, &sender).await,
        Err(error) => Err(error),
    };
    sender
        .send(Output::Error, status(&outcome).to_string().into())
        .await;
    sender.finish(Output::Error).await;
}

async fn run(session: Session, input: Input, sender: &Sender) -> Result<i32, RuntimeError> {
    let Session {
        stdin,
        stdout,
        stderr,
        resize,
        exit,
    } = session;
    let feeding = async {
        tokio::join!(feed(input.stdin, stdin), pass_sizes(input.resize, resize));
        // The end of the input is not the end of the session.
        std::future::pending::<()>().await
    };
    let ending = async {
        tokio::join!(
            drain(stdout, sender, Output::Stdout),
            drain(stderr, sender, Output::Stderr)
        );
        exit.await.unwrap_or_else(|_| {
            Err(RuntimeError::Unavailable {
                message: "the session was lost".to_owned(),
            })
        })
    };
    tokio::select! {
        outcome = ending => outcome,
        () = feeding => unreachable!("feeding waits for ever"),
    }
}

async fn feed(from: Option<mpsc::Receiver<Bytes>>, to: Option<Writer>) {
    let (Some(mut from), Some(mut to)) = (from, to) else {
        return;
    };
    while let Some(bytes) = from.recv().await {
        // A process may close its input while we still have some for it.
        if to.write_all(&bytes).await.is_err() || to.flush().await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

async fn pass_sizes(mut from: mpsc::Receiver<TerminalSize>, to: mpsc::Sender<TerminalSize>) {
    while let Some(size) = from.recv().await {
        if to.send(size).await.is_err() {
            return;
        }
    }
}

async fn drain(from: Option<Reader>, sender: &Sender, channel: Output) {
    let Some(mut from) = from else { return };
    let mut buffer = BytesMut::with_capacity(CHUNK);
    while let Ok(1..) = from.read_buf(&mut buffer).await {
        if !sender.send(channel, buffer.split().freeze()).await {
            return;
        }
        buffer.reserve(CHUNK);
    }
    sender.finish(channel).await;
}

/// The `Status` that ends a session, as `k8s.io/apimachinery`'s remotecommand has it.
fn status(outcome: &Result<i32, RuntimeError>) -> serde_json::Value {
    match outcome {
        Ok(0) => serde_json::json!({"metadata": {}, "status": "Success"}),
        Ok(code) => serde_json::json!({
            "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        Err(error) => serde_json::json!({
            "metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500,
            "message": format!("Internal error occurred: {error}"),
            "details": {"causes": [{"message": error.to_string()}]},
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_in_both_spellings() {
        let pairs = |text: &str| -> Vec<(String, String)> {
            text.split('&')
                .filter_map(|pair| pair.split_once('='))
                .map(|(a, b)| (a.into(), b.into()))
                .collect()
        };
        let api = RemoteOptions::from_query(&pairs("stdin=true&stdout=true&stderr=true&tty=false"));
        assert_eq!(
            api,
            RemoteOptions {
                stdin: true,
                stdout: true,
                stderr: true,
                tty: false
            }
        );
        let kubelet = RemoteOptions::from_query(&pairs("input=1&output=1&error=1&tty=1"));
        assert_eq!(
            kubelet,
            RemoteOptions {
                stdin: true,
                stdout: true,
                stderr: false,
                tty: true
            }
        );
    }

    #[test]
    fn an_exit_code_arrives_as_a_cause() {
        assert_eq!(status(&Ok(3))["details"]["causes"][0]["message"], "3");
        assert_eq!(status(&Ok(0))["status"], "Success");
    }
}
