//! The resolver over real sockets.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

#[path = "../../network/tests/cluster/mod.rs"]
mod cluster;

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use cluster::{Cluster, NAMESPACES, SERVICES};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use kobune_dns::{Dns, DnsConfig, DnsError};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(8);

struct Resolver {
    address: SocketAddr,
    cluster: Cluster,
    cancel: CancellationToken,
    _files: tempfile::TempDir,
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

fn config(listen: &str, resolv_conf: &Path) -> DnsConfig {
    DnsConfig {
        listen: vec![listen.parse().unwrap()],
        cluster_domain: "cluster.local".into(),
        resolv_conf: resolv_conf.to_owned(),
    }
}

/// A resolver on the loopback, with a resolv.conf that says this.
async fn resolver(resolv_conf: &str) -> Resolver {
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("resolv.conf");
    std::fs::write(&file, resolv_conf).unwrap();
    let dns = Dns::bind(config("127.0.0.1:0", &file)).await.unwrap();
    let address = dns.addresses()[0];
    let cluster = Cluster::default();
    let cancel = CancellationToken::new();
    cluster.set(NAMESPACES, json!({"metadata": {"name": "shop"}}));
    tokio::spawn(dns.run(cluster.caches(&cancel), cancel.clone()));
    Resolver {
        address,
        cluster,
        cancel,
        _files: files,
    }
}

fn query(name: &str, kind: RecordType) -> Message {
    let mut query = Message::new(4711, MessageType::Query, OpCode::Query);
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    query
}

impl Resolver {
    async fn udp(&self, query: &[u8]) -> Vec<u8> {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(query, self.address).await.unwrap();
        let mut buffer = vec![0; 65536];
        let length = timeout(PATIENCE, socket.recv(&mut buffer))
            .await
            .expect("no reply")
            .unwrap();
        buffer.truncate(length);
        buffer
    }

    async fn ask(&self, query: &Message) -> Message {
        Message::from_vec(&self.udp(&query.to_vec().unwrap()).await).unwrap()
    }

    async fn ask_tcp(&self, query: &Message) -> Message {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let bytes = query.to_vec().unwrap();
        stream.write_u16(bytes.len() as u16).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let mut reply = vec![0; usize::from(stream.read_u16().await.unwrap())];
        stream.read_exact(&mut reply).await.unwrap();
        Message::from_vec(&reply).unwrap()
    }

    /// The addresses of a name, once it is there.
    async fn addresses(&self, name: &str, wanted: usize) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let reply = self.ask(&query(name, RecordType::A)).await;
            let found: Vec<_> = reply
                .answers
                .iter()
                .map(|record| record.data.to_string())
                .collect();
            if found.len() == wanted || Instant::now() > deadline {
                return found;
            }
            sleep(Duration::from_millis(2)).await;
        }
    }
}

#[tokio::test]
async fn names_follow_the_cluster() {
    let dns = resolver("").await;
    dns.cluster.serve(
        "web",
        json!({"clusterIP": "10.43.0.5", "ports": [{"name": "http", "port": 80}]}),
        json!([{"addresses": ["10.42.0.2"]}]),
    );
    assert_eq!(
        dns.addresses("web.shop.svc.cluster.local.", 1).await,
        ["10.43.0.5"]
    );
    let reply = dns
        .ask(&query("web.shop.svc.cluster.local.", RecordType::A))
        .await;
    assert!(reply.metadata.authoritative && reply.metadata.recursion_available && reply.metadata.id == 4711);
    assert_eq!(reply.answers[0].ttl, 5);
    dns.cluster.serve(
        "db",
        json!({"clusterIP": "None"}),
        json!([{"addresses": ["10.42.0.7"]}]),
    );
    assert_eq!(
        dns.addresses("db.shop.svc.cluster.local.", 1).await,
        ["10.42.0.7"]
    );
    dns.cluster.endpoints(
        "db",
        json!([{"addresses": ["10.42.0.7"]}, {"addresses": ["10.42.0.8"]}]),
    );
    assert_eq!(dns.addresses("db.shop.svc.cluster.local.", 2).await.len(), 2);
    dns.cluster.delete(SERVICES, "shop", "web");
    assert_eq!(dns.addresses("web.shop.svc.cluster.local.", 0).await.len(), 0);
    let reply = dns
        .ask(&query("web.shop.svc.cluster.local.", RecordType::A))
        .await;
    assert_eq!(reply.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(reply.authorities[0].record_type(), RecordType::SOA);
}

#[tokio::test]
async fn a_large_answer_is_truncated_over_udp_and_whole_over_tcp() {
    let dns = resolver("").await;
    let endpoints: Vec<_> = (1..=200)
        .map(|n| json!({"addresses": [format!("10.42.0.{n}")]}))
        .collect();
    dns.cluster
        .serve("db", json!({"clusterIP": "None"}), json!(endpoints));
    let name = "db.shop.svc.cluster.local.";
    let deadline = Instant::now() + PATIENCE;
    let reply = loop {
        let reply = dns.ask(&query(name, RecordType::A)).await;
        if reply.metadata.truncation || Instant::now() > deadline {
            break reply;
        }
        sleep(Duration::from_millis(2)).await;
    };
    assert!(reply.metadata.truncation && reply.answers.is_empty());
    assert_eq!(dns.ask_tcp(&query(name, RecordType::A)).await.answers.len(), 200);
    let mut with_edns = query(name, RecordType::A);
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    with_edns.set_edns(edns);
    assert!(dns.udp(&with_edns.to_vec().unwrap()).await.len() <= 1232);
}

#[tokio::test]
async fn without_nameservers_other_names_fail_at_once() {
    let dns = resolver("# nobody\n").await;
    let start = Instant::now();
    let reply = dns.ask(&query("example.org.", RecordType::A)).await;
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    assert!(start.elapsed() < Duration::from_secs(1));
    assert_eq!(
        dns.ask_tcp(&query("example.org.", RecordType::A))
            .await
            .metadata
            .response_code,
        ResponseCode::ServFail
    );
}

#[tokio::test]
async fn garbage_is_survived() {
    let dns = resolver("").await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let good = query("cluster.local.", RecordType::SOA).to_vec().unwrap();
    for length in 0..good.len() {
        socket.send_to(&good[..length], dns.address).await.unwrap();
    }
    let mut response = good.clone();
    response[2] |= 0x80;
    socket.send_to(&response, dns.address).await.unwrap();
    let mut stream = TcpStream::connect(dns.address).await.unwrap();
    stream.write_all(&[0xff, 0xff, 1, 2, 3]).await.unwrap();
    drop(stream);
    let mut two = query("cluster.local.", RecordType::SOA);
    two.add_query(Query::query(Name::root(), RecordType::A));
    assert_eq!(dns.ask(&two).await.metadata.response_code, ResponseCode::FormErr);
    let mut notify = query("cluster.local.", RecordType::SOA);
    notify.metadata.op_code = OpCode::Notify;
    assert_eq!(
        dns.ask(&notify).await.metadata.response_code,
        ResponseCode::NotImp
    );
    assert_eq!(
        dns.ask(&query("cluster.local.", RecordType::SOA))
            .await
            .answers
            .len(),
        1
    );
}

#[tokio::test]
async fn a_taken_address_is_named() {
    let taken = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let error = Dns::bind(config(&address.to_string(), Path::new("/nowhere")))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, DnsError::Listen { address: named, .. } if *named == address),
        "{error}"
    );
}

/// A nameserver on port 53 of a loopback address of this machine's own, and what it was asked.
async fn nameserver(address: &'static str) -> tokio::sync::mpsc::UnboundedReceiver<String> {
    let socket = UdpSocket::bind((address, 53))
        .await
        .expect("these tests need root");
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            let query = Message::from_vec(&buffer[..length]).unwrap();
            let name = query.queries[0].name().clone();
            let _ = sender.send(name.to_ascii());
            let mut reply = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
            reply.add_queries(query.queries.clone());
            if name.to_ascii().starts_with("refuse") {
                reply.metadata.response_code = ResponseCode::Refused;
            } else {
                let data = RData::from(std::net::IpAddr::from([192, 0, 2, 7]));
                reply.add_answer(Record::from_rdata(name, 60, data));
            }
            // First a forgery with another identity.
            let mut forged = reply.clone();
            forged.metadata.id ^= 1;
            forged.metadata.response_code = ResponseCode::NXDomain;
            let _ = socket.send_to(&forged.to_vec().unwrap(), client).await;
            let _ = socket.send_to(&reply.to_vec().unwrap(), client).await;
        }
    });
    receiver
}

#[tokio::test]
async fn other_names_are_forwarded_and_remembered() {
    let mut asked = nameserver("127.77.0.1").await;
    // The first one is dead: nobody listens there.
    let dns = resolver("nameserver 127.77.0.99\nnameserver 127.77.0.1\n").await;
    dns.cluster.set(
        SERVICES,
        json!({"metadata": {"namespace": "shop", "name": "far"},
        "spec": {"type": "ExternalName", "externalName": "far.example.org"}}),
    );
    for _ in 0..3 {
        let reply = dns.ask(&query("eXample.org.", RecordType::A)).await;
        assert_eq!(reply.answers[0].data.to_string(), "192.0.2.7");
        assert_eq!(
            (reply.metadata.id, reply.queries[0].name().to_ascii()),
            (4711, "eXample.org.".into())
        );
    }
    assert_eq!(asked.recv().await.unwrap(), "eXample.org.");
    assert_eq!(
        dns.addresses("far.shop.svc.cluster.local.", 2).await,
        ["far.example.org.", "192.0.2.7"]
    );
    assert_eq!(asked.recv().await.unwrap(), "far.example.org.");
    assert!(asked.try_recv().is_err(), "a remembered name was asked for again");
    let refused = dns.ask(&query("refuse.example.org.", RecordType::A)).await;
    assert_eq!(refused.metadata.response_code, ResponseCode::Refused);
}
