//! Asking the node's own nameservers.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::resolv_conf::nameservers;
use crate::wire;

/// For one nameserver's reply. Two rounds of at most three are over before clients give up (5 s each).
const PATIENCE: Duration = Duration::from_millis(1500);
const ALTOGETHER: Duration = Duration::from_millis(4500);
const ROUNDS: usize = 2;
/// How often at most the file is looked at, when there are queries.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const SERVER_FAILURE: u8 = 2;
const REFUSED: u8 = 5;

/// How a query came, and goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

/// The nameservers of the node.
#[derive(Debug)]
pub(crate) struct Upstream {
    file: PathBuf,
    listen: Vec<SocketAddr>,
    seen: Mutex<Seen>,
    /// A keyed hash of a counter: numbers nobody else can foresee.
    random: RandomState,
    asked: AtomicU64,
}

#[derive(Debug, Default)]
struct Seen {
    servers: Arc<[SocketAddr]>,
    looked: Option<Instant>,
    changed: Option<SystemTime>,
}

impl Upstream {
    pub(crate) fn new(file: PathBuf, listen: Vec<SocketAddr>) -> Self {
        Self {
            file,
            listen,
            seen: Mutex::default(),
            random: RandomState::new(),
            asked: AtomicU64::new(0),
        }
    }

    /// The nameservers, from the file as it is now.
    fn servers(&self) -> Arc<[SocketAddr]> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.looked.is_none_or(|looked| looked.elapsed() > LOOK_EVERY) {
            seen.looked = Some(Instant::now());
            let changed = std::fs::metadata(&self.file)
                .and_then(|metadata| metadata.modified())
                .ok();
            if changed.is_none() || changed != seen.changed {
                let text = std::fs::read_to_string(&self.file).unwrap_or_default();
                seen.servers = nameservers(&text, &self.listen).into();
                seen.changed = changed;
                tracing::debug!(servers = ?seen.servers, file = %self.file.display(), "nameservers read");
            }
        }
        Arc::clone(&seen.servers)
    }

    /// The first useful reply to the query, with the query's identity; `None` when nobody replies.
    pub(crate) async fn ask(&self, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let servers = self.servers();
        let mut last = None;
        let rounds = async {
            for server in (0..ROUNDS).flat_map(|_| servers.iter()) {
                match timeout(PATIENCE, self.ask_one(*server, query, transport)).await {
                    Ok(Ok(reply)) if !matches!(wire::response_code(&reply), SERVER_FAILURE | REFUSED) => {
                        last = Some(reply);
                        return;
                    }
                    Ok(Ok(reply)) => last = Some(reply),
                    Ok(Err(error)) => tracing::debug!(%server, %error, "nameserver failed"),
                    Err(_) => tracing::debug!(%server, "nameserver did not reply in time"),
                }
            }
        };
        // Late is as bad as never: the client has given up.
        let _ = timeout(ALTOGETHER, rounds).await;
        let mut reply = last?;
        reply[..2].copy_from_slice(&query[..2]);
        Some(reply)
    }

    /// Under an identity nobody can guess, from a port the kernel chooses by chance.
    async fn ask_one(&self, server: SocketAddr, query: &[u8], transport: Transport) -> io::Result<Vec<u8>> {
        let identity = self.random.hash_one(self.asked.fetch_add(1, Ordering::Relaxed)) as u16;
        let mut query = query.to_vec();
        query[..2].copy_from_slice(&identity.to_be_bytes());
        match transport {
            Transport::Udp => ask_udp(server, &query).await,
            Transport::Tcp => ask_tcp(server, &query).await,
        }
    }
}

fn fits(query: &[u8], reply: &[u8]) -> bool {
    reply.len() >= wire::HEADER
        && reply[..2] == query[..2]
        && wire::is_response(reply)
        && wire::same_question(query, reply)
}

async fn ask_udp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // What does not fit is a forgery or a straggler: the real reply may still come.
        if fits(query, &buffer[..length]) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

async fn ask_tcp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    let mut framed = Vec::with_capacity(query.len() + 2);
    framed.extend(length.to_be_bytes());
    framed.extend(query);
    stream.write_all(&framed).await?;
    let mut reply = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut reply).await?;
    if fits(query, &reply) {
        Ok(reply)
    } else {
        Err(io::Error::other("the reply is to something else"))
    }
}
