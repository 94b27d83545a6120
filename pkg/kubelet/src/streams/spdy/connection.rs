//! A connection and its streams.
//!
//! One task reads and hands data to the streams' bounded channels; one task writes what all streams
//! send. Both end with the transport, or when the [`Connection`] is dropped.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Error;
use super::frame::{FIN, Frame};
use super::headers::{Decoder, Encoder, Headers};

/// Frames that may wait in one stream before its connection is held up.
const WAITING: usize = 256;
/// `RST_STREAM` with `INVALID_STREAM`.
const INVALID_STREAM: u32 = 2;

/// The server's end of a connection.
pub struct Connection {
    streams: mpsc::Receiver<Stream>,
    reader: JoinHandle<()>,
    frames: mpsc::Sender<Frame>,
}

/// A stream that the client opened.
pub struct Stream {
    /// What the client says of it (`streamtype`, `port`, `requestid`).
    pub headers: Headers,
    /// What the client sends; closed when it is done.
    pub data: mpsc::Receiver<Bytes>,
    /// To send to the client.
    pub writer: StreamWriter,
}

impl Stream {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Sends on one stream.
#[derive(Clone)]
pub struct StreamWriter {
    id: u32,
    frames: mpsc::Sender<Frame>,
}

impl StreamWriter {
    /// Sends data; false when the connection has ended.
    pub async fn send(&self, bytes: Bytes) -> bool {
        self.frames
            .send(Frame::Data {
                stream: self.id,
                flags: 0,
                bytes,
            })
            .await
            .is_ok()
    }

    /// Says that no more data comes.
    pub async fn finish(&self) {
        // A connection that has ended needs no end of a stream.
        let _ = self
            .frames
            .send(Frame::Data {
                stream: self.id,
                flags: FIN,
                bytes: Bytes::new(),
            })
            .await;
    }

    /// Ends the stream in both directions at once.
    pub async fn reset(&self) {
        let _ = self
            .frames
            .send(Frame::RstStream {
                stream: self.id,
                status: INVALID_STREAM,
            })
            .await;
    }
}

impl Connection {
    /// Serves a connection over a transport.
    pub fn serve(transport: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<Self, Error> {
        let (reader, writer) = tokio::io::split(transport);
        let (frames, outgoing) = mpsc::channel(64);
        let (accepted, streams) = mpsc::channel(16);
        tokio::spawn(write(writer, outgoing));
        let state = Reading {
            decoder: Decoder::new(),
            encoder: Encoder::new()?,
            open: HashMap::new(),
            accepted,
            frames: frames.clone(),
        };
        let reader = tokio::spawn(async move {
            if let Err(error) = state.run(reader).await {
                tracing::debug!(%error, "a SPDY connection ended");
            }
        });
        Ok(Connection {
            streams,
            reader,
            frames,
        })
    }

    /// The next stream that the client opens; `None` when the connection has ended.
    pub async fn accept(&mut self) -> Option<Stream> {
        self.streams.recv().await
    }

    /// Waits until everything sent so far has been written, then ends the connection.
    pub async fn close(self) {
        let _ = self.frames.send(Frame::GoAway { last: 0 }).await;
        // All slots of the channel being free means that the writer took every frame.
        let _ = self.frames.reserve_many(self.frames.max_capacity()).await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn write(mut to: impl AsyncWrite + Unpin, mut frames: mpsc::Receiver<Frame>) {
    let mut buffer = BytesMut::new();
    while let Some(frame) = frames.recv().await {
        frame.write(&mut buffer);
        // What waits already goes into the same write.
        while buffer.len() < 64 << 10 {
            let Ok(frame) = frames.try_recv() else { break };
            frame.write(&mut buffer);
        }
        if to.write_all(&buffer).await.is_err() || to.flush().await.is_err() {
            return;
        }
        buffer.clear();
    }
    // The other side may be gone already.
    let _ = to.shutdown().await;
}

struct Reading {
    decoder: Decoder,
    encoder: Encoder,
    open: HashMap<u32, mpsc::Sender<Bytes>>,
    accepted: mpsc::Sender<Stream>,
    frames: mpsc::Sender<Frame>,
}

impl Reading {
    async fn run(mut self, mut from: impl AsyncRead + Unpin) -> Result<(), Error> {
        while let Some(frame) = Frame::read(&mut from).await? {
            match frame {
                Frame::SynStream { stream, flags, block } => self.open(stream, flags, &block).await?,
                Frame::Data { stream, flags, bytes } => self.data(stream, flags, bytes).await,
                Frame::RstStream { stream, .. } => drop(self.open.remove(&stream)),
                Frame::Ping { id } => drop(self.frames.send(Frame::Ping { id }).await),
                Frame::GoAway { .. } => return Ok(()),
                Frame::SynReply { .. } | Frame::Other => {}
            }
        }
        Ok(())
    }

    async fn open(&mut self, id: u32, flags: u8, block: &[u8]) -> Result<(), Error> {
        let headers = self.decoder.decode(block)?;
        let (sender, data) = mpsc::channel(WAITING);
        if flags & FIN == 0 {
            self.open.insert(id, sender);
        }
        let writer = StreamWriter {
            id,
            frames: self.frames.clone(),
        };
        let block = self.encoder.encode(&Headers::new())?.into();
        // The reply goes first: clients wait for it before they use the stream. Without listeners
        // the connection is ending.
        let _ = self.frames.send(Frame::SynReply { stream: id, block }).await;
        let _ = self
            .accepted
            .send(Stream {
                headers,
                data,
                writer,
            })
            .await;
        Ok(())
    }

    async fn data(&mut self, id: u32, flags: u8, bytes: Bytes) {
        if let Some(stream) = self.open.get(&id)
            && !bytes.is_empty()
            && stream.send(bytes).await.is_err()
        {
            // Nobody reads the stream any more; what still comes is dropped.
            self.open.remove(&id);
        }
        if flags & FIN != 0 {
            self.open.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    async fn client_opens(id: u32, encoder: &mut Encoder, headers: &[(&str, &str)]) -> BytesMut {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let mut bytes = BytesMut::new();
        let block = encoder.encode(&headers).unwrap().into();
        Frame::SynStream {
            stream: id,
            flags: 0,
            block,
        }
        .write(&mut bytes);
        bytes
    }

    #[tokio::test]
    async fn a_stream_is_answered_and_carries_data_both_ways() {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let mut connection = Connection::serve(server).unwrap();
        let mut encoder = Encoder::new().unwrap();
        let mut bytes = client_opens(1, &mut encoder, &[("streamtype", "data"), ("port", "80")]).await;
        Frame::Data {
            stream: 1,
            flags: FIN,
            bytes: Bytes::from_static(b"ping"),
        }
        .write(&mut bytes);
        client.write_all(&bytes).await.unwrap();

        let mut stream = connection.accept().await.unwrap();
        assert_eq!(stream.header("port"), Some("80"));
        assert_eq!(stream.data.recv().await.unwrap(), "ping");
        assert!(stream.data.recv().await.is_none());
        assert!(stream.writer.send(Bytes::from_static(b"pong")).await);
        connection.close().await;

        assert!(matches!(
            Frame::read(&mut client).await.unwrap(),
            Some(Frame::SynReply { stream: 1, .. })
        ));
        let answer = Frame::read(&mut client).await.unwrap();
        assert_eq!(
            answer,
            Some(Frame::Data {
                stream: 1,
                flags: 0,
                bytes: Bytes::from_static(b"pong")
            })
        );
    }

    #[tokio::test]
    async fn a_ping_is_answered_with_its_number() {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let _connection = Connection::serve(server).unwrap();
        let mut bytes = BytesMut::new();
        Frame::Ping { id: 5 }.write(&mut bytes);
        client.write_all(&bytes).await.unwrap();
        assert_eq!(
            Frame::read(&mut client).await.unwrap(),
            Some(Frame::Ping { id: 5 })
        );
    }

    #[tokio::test]
    async fn garbage_ends_the_connection() {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let mut connection = Connection::serve(server).unwrap();
        client.write_all(&[0x80, 9, 0, 1, 0, 0, 0, 0]).await.unwrap();
        assert!(connection.accept().await.is_none());
        drop(connection);
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty());
    }
}
