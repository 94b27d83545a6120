//! The five channels of exec and attach, whatever carries them.

use bytes::Bytes;
use kobune_runtime::TerminalSize;
use tokio::sync::mpsc;

use super::spdy::StreamWriter;
use super::websocket::Frames;

/// Channels towards the client, numbered as in `channel.k8s.io`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    Stdout = 1,
    Stderr = 2,
    /// A `Status` when all is over.
    Error = 3,
}

/// What comes from the client. A closed channel is the end of that stream.
pub(super) struct Input {
    pub stdin: Option<mpsc::Receiver<Bytes>>,
    pub resize: mpsc::Receiver<TerminalSize>,
}

/// Sends to the client.
#[derive(Clone)]
pub(super) enum Sender {
    WebSocket(Frames),
    Spdy {
        stdout: Option<StreamWriter>,
        stderr: Option<StreamWriter>,
        error: StreamWriter,
    },
}

impl Sender {
    /// Sends bytes on a channel; false when the client is gone.
    pub async fn send(&self, channel: Output, bytes: Bytes) -> bool {
        match self {
            Sender::WebSocket(frames) => frames.send(channel as u8, &bytes).await,
            Sender::Spdy { .. } => match self.stream(channel) {
                Some(stream) => stream.send(bytes).await,
                None => true,
            },
        }
    }

    /// Says that nothing more comes on a channel (a WebSocket has no such message).
    pub async fn finish(&self, channel: Output) {
        if let Some(stream) = self.stream(channel) {
            stream.finish().await;
        }
    }

    fn stream(&self, channel: Output) -> Option<&StreamWriter> {
        match (self, channel) {
            (Sender::WebSocket(_), _) => None,
            (Sender::Spdy { stdout, .. }, Output::Stdout) => stdout.as_ref(),
            (Sender::Spdy { stderr, .. }, Output::Stderr) => stderr.as_ref(),
            (Sender::Spdy { error, .. }, Output::Error) => Some(error),
        }
    }
}

/// `{"Width":80,"Height":24}`, as clients send it.
pub(super) fn terminal_size(json: &[u8]) -> Option<TerminalSize> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Size {
        width: u16,
        height: u16,
    }
    let size: Size = serde_json::from_slice(json).ok()?;
    Some(TerminalSize {
        width: size.width,
        height: size.height,
    })
}
