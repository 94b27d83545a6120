//! The listener: queries in, replies out, over UDP and TCP.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use kobune_client::Caches;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::answer::{Answer, Authority, answer};
use crate::cache::Cache;
use crate::forward::{Transport, Upstream};
use crate::zone::Zone;
use crate::{DnsConfig, DnsError, follow, wire};

/// Largest query over UDP; what we offer to take in EDNS, too.
const UDP_BYTES: usize = 4096;
/// Largest reply over UDP to a client that does not say it takes more.
const PLAIN_UDP_BYTES: u16 = 512;
/// Larger replies break up on the way: clients come back over TCP.
const UDP_REPLY_BYTES: u16 = 1232;
/// Queries that wait for other nameservers at once; others are told to ask again.
const WAITING_AT_MOST: usize = 1024;
/// TCP connections at once, and how long a silent one is kept.
const CONNECTIONS_AT_MOST: usize = 256;
const SILENCE: Duration = Duration::from_secs(10);

/// A resolver that has its addresses.
#[derive(Debug)]
pub struct Dns {
    sockets: Vec<(Arc<UdpSocket>, TcpListener)>,
    resolver: Arc<Resolver>,
}

impl Dns {
    /// Listens on all addresses of the configuration (with port 0: on ports of the kernel's choice).
    pub async fn bind(config: DnsConfig) -> Result<Self, DnsError> {
        let mut sockets = Vec::new();
        for address in &config.listen {
            let listening = |protocol| {
                let address = *address;
                move |source| DnsError::Listen {
                    address,
                    protocol,
                    source,
                }
            };
            let udp = UdpSocket::bind(address).await.map_err(listening("UDP"))?;
            let same = udp.local_addr().map_err(listening("UDP"))?;
            let tcp = TcpListener::bind(same).await.map_err(listening("TCP"))?;
            sockets.push((Arc::new(udp), tcp));
        }
        let own = config
            .listen
            .iter()
            .map(SocketAddr::ip)
            .filter(|ip| !ip.is_unspecified())
            .collect();
        let authority = Authority::new(&config.cluster_domain, own)
            .ok_or_else(|| DnsError::Domain(config.cluster_domain.clone()))?;
        let listen = sockets
            .iter()
            .filter_map(|(udp, _)| udp.local_addr().ok())
            .collect();
        let resolver = Resolver {
            authority,
            zone: RwLock::default(),
            cache: Cache::default(),
            upstream: Upstream::new(config.resolv_conf, listen),
            turn: AtomicUsize::new(0),
            waiting: Semaphore::new(WAITING_AT_MOST),
        };
        Ok(Self {
            sockets,
            resolver: Arc::new(resolver),
        })
    }

    /// Where it listens.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets
            .iter()
            .filter_map(|(udp, _)| udp.local_addr().ok())
            .collect()
    }

    /// Answers until `cancel`.
    pub async fn run(self, caches: Caches, cancel: CancellationToken) {
        let mut tasks = JoinSet::new();
        for (udp, tcp) in self.sockets {
            tasks.spawn(serve_udp(udp, Arc::clone(&self.resolver)));
            tasks.spawn(serve_tcp(tcp, Arc::clone(&self.resolver)));
        }
        tokio::select! {
            () = cancel.cancelled() => {}
            () = follow::follow(caches, &self.resolver.zone) => cancel.cancelled().await,
        }
        // Dropping the set ends the listeners.
    }
}

#[derive(Debug)]
struct Resolver {
    authority: Authority,
    zone: RwLock<Zone>,
    cache: Cache,
    upstream: Upstream,
    turn: AtomicUsize,
    waiting: Semaphore,
}

/// What a query comes to at first sight.
enum Step {
    Reply(Vec<u8>),
    /// Nothing to say to this.
    Silence,
    /// Other nameservers must be asked.
    Ask(Box<Asking>),
}

struct Asking {
    query: Vec<u8>,
    /// The reply to which the answer to `query` is added, for an alias of ours.
    reply: Option<(Message, u16)>,
}

impl Resolver {
    /// Everything that needs no waiting.
    fn step(&self, bytes: &[u8], transport: Transport) -> Step {
        // What is not a query is never replied to, lest two servers talk for ever.
        if bytes.len() < wire::HEADER || wire::is_response(bytes) {
            return Step::Silence;
        }
        let id = u16::from_be_bytes([bytes[0], bytes[1]]);
        let Ok(query) = Message::from_vec(bytes) else {
            return Step::of(
                Message::error_msg(id, OpCode::Query, ResponseCode::FormErr),
                u16::MAX,
            );
        };
        let limit = limit(&query, transport);
        let mut reply = reply_to(&query);
        let [question] = &query.queries[..] else {
            reply.metadata.response_code = ResponseCode::FormErr;
            return Step::of(reply, limit);
        };
        if query.metadata.op_code != OpCode::Query {
            reply.metadata.response_code = ResponseCode::NotImp;
            return Step::of(reply, limit);
        }
        if !matches!(question.query_class(), DNSClass::IN | DNSClass::ANY) {
            reply.metadata.response_code = ResponseCode::Refused;
            return Step::of(reply, limit);
        }
        match self.answer(question) {
            (Answer::NotOurs, _) => match self.cache.get(bytes, Instant::now()) {
                Some(reply) if reply.len() <= usize::from(limit) => Step::Reply(reply),
                _ => Step::Ask(Box::new(Asking {
                    query: bytes.to_vec(),
                    reply: None,
                })),
            },
            (
                Answer::Found {
                    answers,
                    additionals,
                    alias,
                },
                _,
            ) => {
                reply.metadata.authoritative = true;
                reply.add_answers(answers);
                reply.add_additionals(additionals);
                match alias.and_then(|alias| further(&query, alias, question.query_type())) {
                    Some(query) => Step::Ask(Box::new(Asking {
                        query,
                        reply: Some((reply, limit)),
                    })),
                    None => Step::of(reply, limit),
                }
            }
            (Answer::NotYet, _) => {
                reply.metadata.response_code = ResponseCode::ServFail;
                Step::of(reply, limit)
            }
            (nothing, serial) => {
                reply.metadata.authoritative = true;
                if nothing == Answer::NoName {
                    reply.metadata.response_code = ResponseCode::NXDomain;
                }
                reply.add_authorities(self.authority.start(serial));
                Step::of(reply, limit)
            }
        }
    }

    fn answer(&self, question: &Query) -> (Answer, u32) {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let zone = self.zone.read().unwrap_or_else(PoisonError::into_inner);
        let answer = answer(
            question.name(),
            question.query_type(),
            &self.authority,
            &zone,
            turn,
        );
        (answer, zone.serial)
    }

    /// Asks other nameservers.
    async fn finish(&self, asking: Asking, transport: Transport) -> Option<Vec<u8>> {
        let Asking { query, reply } = asking;
        let said = match self.waiting.try_acquire() {
            Ok(_permit) => self.upstream.ask(&query, transport).await,
            Err(_) => None,
        };
        if let (Some(said), None) = (&said, &reply) {
            self.cache.put(&query, said, Instant::now());
        }
        match (said, reply) {
            (said @ Some(_), None) => said,
            (None, None) => {
                let mut failure = reply_to(&Message::from_vec(&query).ok()?);
                failure.metadata.response_code = ResponseCode::ServFail;
                failure.to_vec().ok()
            }
            (said, Some((mut reply, limit))) => {
                match said.and_then(|said| Message::from_vec(&said).ok()) {
                    Some(said) => {
                        reply.add_answers(said.answers);
                    }
                    None => reply.metadata.response_code = ResponseCode::ServFail,
                }
                encode(&reply, limit)
            }
        }
    }

    async fn reply(&self, bytes: &[u8], transport: Transport) -> Option<Vec<u8>> {
        match self.step(bytes, transport) {
            Step::Reply(reply) => Some(reply),
            Step::Silence => None,
            Step::Ask(asking) => self.finish(*asking, transport).await,
        }
    }
}

impl Step {
    fn of(reply: Message, limit: u16) -> Self {
        encode(&reply, limit).map_or(Step::Silence, Step::Reply)
    }
}

/// How large a reply may be.
fn limit(query: &Message, transport: Transport) -> u16 {
    match (transport, &query.edns) {
        (Transport::Tcp, _) => u16::MAX,
        (Transport::Udp, Some(edns)) => edns.max_payload().clamp(PLAIN_UDP_BYTES, UDP_REPLY_BYTES),
        (Transport::Udp, None) => PLAIN_UDP_BYTES,
    }
}

fn reply_to(query: &Message) -> Message {
    let mut reply = Message::new(query.metadata.id, MessageType::Response, query.metadata.op_code);
    reply.metadata.recursion_desired = query.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.metadata.checking_disabled = query.metadata.checking_disabled;
    reply.add_queries(query.queries.iter().cloned());
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_REPLY_BYTES);
        reply.set_edns(edns);
    }
    reply
}

/// The reply's bytes; one too large says so and leaves its records to TCP.
fn encode(reply: &Message, limit: u16) -> Option<Vec<u8>> {
    let bytes = reply.to_vec().ok()?;
    if bytes.len() <= usize::from(limit) {
        return Some(bytes);
    }
    let mut short = Message::new(reply.metadata.id, MessageType::Response, reply.metadata.op_code);
    short.metadata = reply.metadata;
    short.metadata.truncation = true;
    short.add_queries(reply.queries.iter().cloned());
    if let Some(edns) = &reply.edns {
        short.set_edns(edns.clone());
    }
    short.to_vec().ok()
}

/// The query for what an alias of ours leads to.
fn further(query: &Message, alias: Name, kind: RecordType) -> Option<Vec<u8>> {
    let mut further = Message::new(query.metadata.id, MessageType::Query, OpCode::Query);
    further.metadata.recursion_desired = true;
    further.add_query(Query::query(alias, kind));
    further.to_vec().ok()
}

async fn serve_udp(socket: Arc<UdpSocket>, resolver: Arc<Resolver>) {
    let mut buffer = vec![0; UDP_BYTES];
    let mut waiting = JoinSet::new();
    loop {
        // An error is the echo of a reply that did not arrive: the next query is not concerned.
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        while waiting.try_join_next().is_some() {}
        match resolver.step(&buffer[..length], Transport::Udp) {
            Step::Silence => {}
            Step::Reply(reply) => send(&socket, &reply, client).await,
            Step::Ask(asking) => {
                let (socket, resolver) = (Arc::clone(&socket), Arc::clone(&resolver));
                waiting.spawn(async move {
                    if let Some(reply) = resolver.finish(*asking, Transport::Udp).await {
                        send(&socket, &reply, client).await;
                    }
                });
            }
        }
    }
}

async fn send(socket: &UdpSocket, reply: &[u8], client: SocketAddr) {
    if let Err(error) = socket.send_to(reply, client).await {
        tracing::debug!(%client, %error, "DNS reply not sent");
    }
}

async fn serve_tcp(listener: TcpListener, resolver: Arc<Resolver>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_AT_MOST));
    let mut serving = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                while serving.try_join_next().is_some() {}
                let resolver = Arc::clone(&resolver);
                serving.spawn(async move {
                    serve_connection(stream, &resolver).await;
                    drop(permit);
                });
            }
            Err(error) => {
                // Out of descriptors, say: others must close theirs first.
                tracing::warn!(%error, "DNS connection not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve_connection(mut stream: TcpStream, resolver: &Resolver) {
    while let Ok(Ok(query)) = timeout(SILENCE, read_query(&mut stream)).await {
        let Some(reply) = resolver.reply(&query, Transport::Tcp).await else {
            return;
        };
        let Ok(length) = u16::try_from(reply.len()) else {
            return;
        };
        let mut framed = Vec::with_capacity(reply.len() + 2);
        framed.extend(length.to_be_bytes());
        framed.extend(reply);
        if !matches!(timeout(SILENCE, stream.write_all(&framed)).await, Ok(Ok(()))) {
            return;
        }
    }
}

async fn read_query(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut query = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut query).await?;
    Ok(query)
}
