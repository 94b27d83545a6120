//! Binary WebSocket messages whose first byte is a channel (`v4.channel.k8s.io`, `v5.channel.k8s.io`).

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

/// Clients send 32 KiB at a time; more than this in one message is refused (bytes).
const LIMIT: usize = 1 << 20;
/// Of v5: the client closes the channel whose number follows.
const CLOSE: u8 = 255;

/// A server's end over an upgraded connection.
pub(super) async fn accept<T>(connection: T) -> WebSocketStream<T>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let config = WebSocketConfig::default()
        .max_message_size(Some(LIMIT))
        .max_frame_size(Some(LIMIT))
        .read_buffer_size(16 << 10)
        .write_buffer_size(16 << 10);
    WebSocketStream::from_raw_socket(connection, Role::Server, Some(config)).await
}

/// Sends messages on channels.
#[derive(Clone)]
pub(super) struct Frames(mpsc::Sender<Message>);

impl Frames {
    /// Sends bytes on a channel; false when the client is gone.
    pub async fn send(&self, channel: u8, bytes: &[u8]) -> bool {
        let mut message = BytesMut::with_capacity(bytes.len() + 1);
        message.put_u8(channel);
        message.put_slice(bytes);
        self.0.send(Message::Binary(message.freeze())).await.is_ok()
    }
}

/// A message from the client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FromClient {
    Data {
        channel: u8,
        bytes: Bytes,
    },
    /// Of v5: no more data on this channel.
    Closed {
        channel: u8,
    },
}

/// Starts the task that writes messages. It says good-bye when the last [`Frames`] is dropped.
pub(super) fn writer<S>(mut sink: S) -> (Frames, tokio::task::JoinHandle<()>)
where
    S: Sink<Message, Error = Error> + Send + Unpin + 'static,
{
    let (sender, mut messages) = mpsc::channel(64);
    let task = tokio::spawn(async move {
        while let Some(message) = messages.recv().await {
            if sink.feed(message).await.is_err() {
                return;
            }
            while let Ok(message) = messages.try_recv() {
                if sink.feed(message).await.is_err() {
                    return;
                }
            }
            if sink.flush().await.is_err() {
                return;
            }
        }
        // Without a code clients take the end for an error and drop the last message, which says how the
        // session ended. The client may be gone already.
        let normal = CloseFrame {
            code: CloseCode::Normal,
            reason: "".into(),
        };
        let _ = sink.send(Message::Close(Some(normal))).await;
    });
    (Frames(sender), task)
}

/// The next message of a channel; `None` when the client is gone. Pings are answered by the library.
pub(super) async fn next<S>(stream: &mut S) -> Option<FromClient>
where
    S: Stream<Item = Result<Message, Error>> + Unpin,
{
    loop {
        match stream.next().await?.ok()? {
            Message::Binary(bytes) => {
                if let Some(message) = classify(bytes) {
                    return Some(message);
                }
            }
            Message::Close(_) => return None,
            _ => {}
        }
    }
}

fn classify(bytes: Bytes) -> Option<FromClient> {
    match *bytes.as_ref() {
        [CLOSE, channel] => Some(FromClient::Closed { channel }),
        [channel, ..] => Some(FromClient::Data {
            channel,
            bytes: bytes.slice(1..),
        }),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_good_bye_is_a_normal_closure() {
        let (sent, mut seen) = mpsc::unbounded_channel();
        let sink = futures_util::sink::unfold(sent, |sent, message: Message| async move {
            sent.send(message)
                .map(|()| sent)
                .map_err(|_| Error::ConnectionClosed)
        });
        let (frames, task) = writer(Box::pin(sink));
        frames.send(3, b"ok").await;
        drop(frames);
        task.await.unwrap();
        assert_eq!(
            seen.recv().await,
            Some(Message::Binary(Bytes::from_static(b"\x03ok")))
        );
        let Some(Message::Close(Some(frame))) = seen.recv().await else {
            panic!("no close frame with a code");
        };
        assert_eq!(frame.code, CloseCode::Normal);
    }

    #[test]
    fn the_first_byte_is_the_channel() {
        let data = classify(Bytes::from_static(b"\0hi")).unwrap();
        assert_eq!(
            data,
            FromClient::Data {
                channel: 0,
                bytes: Bytes::from_static(b"hi")
            }
        );
        assert_eq!(
            classify(Bytes::from_static(&[255, 0])),
            Some(FromClient::Closed { channel: 0 })
        );
        assert_eq!(classify(Bytes::new()), None);
    }
}
