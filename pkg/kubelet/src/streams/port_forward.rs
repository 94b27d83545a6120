//! Port-forward: connections of a client joined to ports of a pod.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::spdy::{Connection, Stream};
use super::tunnel::Tunnel;
use super::upgrade::{Agreed, Refused, Transport, agree};
use super::websocket::{self, Frames, FromClient};

const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
const WEBSOCKET: &[&str] = &[TUNNEL, "v4.channel.k8s.io"];
const SPDY: &[&str] = &["portforward.k8s.io"];
const CHUNK: usize = 32 << 10;

/// Connects to a port on the pod's own loopback.
pub type Dial = Arc<dyn Fn(u16) -> BoxFuture<'static, io::Result<TcpStream>> + Send + Sync>;

/// Answers a request for port-forward. `ports` are those of the query; only the oldest WebSocket
/// protocol needs them.
pub fn port_forward<B>(
    request: &mut Request<B>,
    ports: Vec<u16>,
    dial: Dial,
) -> Result<Response<()>, Refused> {
    let (agreed, response) = agree(request, WEBSOCKET, SPDY)?;
    tokio::spawn(async move {
        match (agreed.transport, agreed.protocol) {
            (Transport::Spdy, _) => {
                if let Ok(connection) = agreed.connection().await {
                    serve(Connection::serve(connection), dial).await;
                }
            }
            (Transport::WebSocket, TUNNEL) => {
                if let Ok(connection) = agreed.connection().await {
                    serve(
                        Connection::serve(Tunnel::new(websocket::accept(connection).await)),
                        dial,
                    )
                    .await;
                }
            }
            (Transport::WebSocket, _) => over_channels(agreed, ports, dial).await,
        }
    });
    Ok(response)
}

/// A connection is a pair of streams with one `requestid`: `error` first, then `data`.
async fn serve(connection: Result<Connection, super::spdy::Error>, dial: Dial) {
    let Ok(mut connection) = connection else { return };
    let mut halves: HashMap<String, Stream> = HashMap::new();
    while let Some(stream) = connection.accept().await {
        let id = stream.header("requestid").unwrap_or_default().to_owned();
        match (stream.header("streamtype"), halves.remove(&id)) {
            (Some("data"), Some(error)) => drop(tokio::spawn(forward(stream, error, dial.clone()))),
            (Some("error"), Some(data)) => drop(tokio::spawn(forward(data, stream, dial.clone()))),
            (Some("data" | "error"), None) => drop(halves.insert(id, stream)),
            (_, other) => {
                stream.writer.reset().await;
                halves.extend(other.map(|other| (id, other)));
            }
        }
    }
}

async fn forward(data: Stream, error: Stream, dial: Dial) {
    let port = data
        .header("port")
        .and_then(|port| port.parse::<u16>().ok())
        .filter(|port| *port > 0);
    let outcome = match port {
        None => Err("the header `port` is no port".to_owned()),
        Some(port) => match dial(port).await {
            Ok(connection) => {
                join(connection, data).await;
                Ok(())
            }
            Err(source) => {
                let outcome = Err(format!("error forwarding port {port} to pod: {source}"));
                data.writer.reset().await;
                outcome
            }
        },
    };
    if let Err(message) = outcome {
        error.writer.send(message.into()).await;
    }
    error.writer.finish().await;
}

async fn join(mut connection: TcpStream, data: Stream) {
    let Stream { mut data, writer, .. } = data;
    let (mut from, mut to) = connection.split();
    let upward = async {
        while let Some(bytes) = data.recv().await {
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        // The pod may have closed first.
        let _ = to.shutdown().await;
    };
    let downward = async {
        let mut buffer = BytesMut::with_capacity(CHUNK);
        while let Ok(1..) = from.read_buf(&mut buffer).await {
            if !writer.send(buffer.split().freeze()).await {
                return;
            }
            buffer.reserve(CHUNK);
        }
        writer.finish().await;
    };
    // A client that is done sending still reads; a pod that has closed is the end.
    tokio::pin!(upward);
    tokio::select! {
        () = downward => {}
        () = async { upward.as_mut().await; std::future::pending::<()>().await } => {}
    }
}

/// `v4.channel.k8s.io`: for the n-th port, channel 2n is data and 2n+1 errors; each begins with the
/// port as two bytes, the lower first.
async fn over_channels(agreed: Agreed, ports: Vec<u16>, dial: Dial) {
    let Ok(connection) = agreed.connection().await else {
        return;
    };
    let (sink, mut stream) = websocket::accept(connection).await.split();
    let (frames, _writer) = websocket::writer(sink);
    let mut inputs: HashMap<u8, mpsc::Sender<Bytes>> = HashMap::new();
    let mut running = tokio::task::JoinSet::new();
    for (index, port) in ports.into_iter().enumerate().take(100) {
        // At most a hundred ports: channels stay below 200.
        let channel = index as u8 * 2;
        let (sender, receiver) = mpsc::channel(256);
        inputs.insert(channel, sender);
        running.spawn(channel_connection(
            channel,
            port,
            receiver,
            frames.clone(),
            dial.clone(),
        ));
    }
    drop(frames);
    while let Some(message) = websocket::next(&mut stream).await {
        if let FromClient::Data { channel, bytes } = message
            && let Some(input) = inputs.get(&channel)
        {
            let _ = input.send(bytes).await;
        }
    }
}

async fn channel_connection(
    channel: u8,
    port: u16,
    mut input: mpsc::Receiver<Bytes>,
    frames: Frames,
    dial: Dial,
) {
    for both in [channel, channel + 1] {
        frames.send(both, &port.to_le_bytes()).await;
    }
    let mut connection = match dial(port).await {
        Ok(connection) => connection,
        Err(error) => {
            frames
                .send(
                    channel + 1,
                    format!("error forwarding port {port} to pod: {error}").as_bytes(),
                )
                .await;
            return;
        }
    };
    let (mut from, mut to) = connection.split();
    let upward = async {
        while let Some(bytes) = input.recv().await {
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    let downward = async {
        let mut buffer = BytesMut::with_capacity(CHUNK);
        while let Ok(1..) = from.read_buf(&mut buffer).await {
            if !frames.send(channel, &buffer.split()).await {
                return;
            }
            buffer.reserve(CHUNK);
        }
    };
    tokio::select! {
        () = upward => {}
        () = downward => {}
    }
}
