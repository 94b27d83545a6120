//! Machines made of network namespaces: a node with an uplink, a world behind it that answers TCP at
//! any address (as the gateways of some clouds do), and pods. Each test has a node of its own; the
//! machine's own links and tables are never touched.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "no test uses all; a test ends at the first surprise"
)]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use kobune_network::{NodeNetwork, NodeNetworkConfig, PodAddress};
use nix::sched::{CloneFlags, setns, unshare};

pub const NODE_IP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
pub const WORLD_IP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub const WAIT: Duration = Duration::from_secs(2);

/// A network namespace, held by a thread that does what it is told there.
pub struct Namespace {
    tid: i32,
    work: Option<mpsc::Sender<Box<dyn FnOnce() + Send>>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Namespace {
    pub fn new() -> Self {
        let (work, todo) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("these tests need root");
            tell.send(nix::unistd::gettid().as_raw()).unwrap();
            for work in todo {
                work();
            }
        });
        Self {
            tid: told.recv().unwrap(),
            work: Some(work),
            thread: Some(thread),
        }
    }

    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.tid).into()
    }

    /// Does something in the namespace, on a thread of its own.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let path = self.path();
        std::thread::spawn(move || {
            setns(std::fs::File::open(path).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
            work()
        })
        .join()
        .unwrap()
    }

    /// Starts a server that answers every connection with its name and who it was that came.
    pub fn serve_tcp(&self, name: &str, port: u16) {
        let name = name.to_owned();
        self.run(move || {
            let listener = TcpListener::bind(("0.0.0.0", port)).unwrap();
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let peer = stream.peer_addr().unwrap().ip();
                    let name = name.clone();
                    std::thread::spawn(move || echo(stream, format!("{name} {peer}\n")));
                }
            });
        });
    }

    pub fn serve_udp(&self, name: &str, port: u16) {
        let name = name.to_owned();
        self.run(move || {
            let socket = UdpSocket::bind(("0.0.0.0", port)).unwrap();
            std::thread::spawn(move || {
                let mut buffer = [0; 64];
                while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
                    let _ = socket.send_to(format!("{name} {}\n", peer.ip()).as_bytes(), peer);
                }
            });
        });
    }

    pub fn ask(&self, address: Ipv4Addr, port: u16) -> std::io::Result<(String, String)> {
        self.run(move || ask(address, port))
    }

    pub fn ask_udp(&self, address: Ipv4Addr, port: u16) -> std::io::Result<(String, String)> {
        self.run(move || ask_udp(address, port))
    }

    /// Who answers, asked often.
    pub fn who_answers(&self, address: Ipv4Addr, port: u16) -> BTreeSet<String> {
        self.run(move || (0..40).map(|_| ask(address, port).unwrap().0).collect())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.work.take();
        self.thread.take().map(|thread| thread.join());
    }
}

/// Greets, then gives back line by line.
fn echo(mut stream: TcpStream, greeting: String) {
    let mut buffer = [0; 256];
    let _ = stream.write_all(greeting.as_bytes());
    while let Ok(length) = stream.read(&mut buffer) {
        if length == 0 || stream.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
}

pub fn connect(address: Ipv4Addr, port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&SocketAddr::V4(SocketAddrV4::new(address, port)), WAIT)?;
    stream.set_read_timeout(Some(WAIT))?;
    Ok(stream)
}

/// Reads a greeting: the server's name, and the address it sees us with.
pub fn greeting(stream: &mut TcpStream) -> std::io::Result<(String, String)> {
    let mut bytes = Vec::new();
    let mut one = [0; 1];
    while stream.read(&mut one)? == 1 && one[0] != b'\n' {
        bytes.push(one[0]);
    }
    Ok(parse(&bytes))
}

fn parse(bytes: &[u8]) -> (String, String) {
    let text = String::from_utf8_lossy(bytes).trim().to_owned();
    let (name, peer) = text.split_once(' ').unwrap_or((&text, ""));
    (name.to_owned(), peer.to_owned())
}

pub fn ask(address: Ipv4Addr, port: u16) -> std::io::Result<(String, String)> {
    greeting(&mut connect(address, port)?)
}

pub fn ask_udp(address: Ipv4Addr, port: u16) -> std::io::Result<(String, String)> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(WAIT))?;
    socket.connect((address, port))?;
    socket.send(b"?")?;
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer)?;
    Ok(parse(&buffer[..length]))
}

/// Runs a program in the calling thread's namespace.
pub fn sh(command: &str) -> String {
    let output = Command::new("sh").args(["-ec", command]).output().unwrap();
    assert!(
        output.status.success(),
        "{command}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The node: the thread it runs on is in the node's namespace, and so is all that this thread starts.
pub struct Node {
    pub world: Namespace,
    pub state: tempfile::TempDir,
}

/// Runs a test on a node of its own.
pub fn on_a_node<F: Future<Output = ()>>(test: impl FnOnce(Node) -> F + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("these tests need root");
            let world = Namespace::new();
            sh(&format!(
                "ip link set lo up
                 ip link add up0 type veth peer name world0 netns {}
                 ip address add {NODE_IP}/24 dev up0
                 ip link set up0 mtu 1400 up",
                world.tid
            ));
            world.run(|| {
                sh(&format!(
                    "ip link set lo up
                     ip address add {WORLD_IP}/24 dev world0
                     ip link set world0 mtu 1400 up
                     ip route add local 0.0.0.0/0 dev lo"
                ));
            });
            sh(&format!("ip route add default via {WORLD_IP}"));
            world.serve_tcp("world", 80);
            world.serve_udp("world", 53);
            let node = Node {
                world,
                state: tempfile::tempdir().unwrap(),
            };
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(test(node));
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

impl Node {
    pub fn config(&self) -> NodeNetworkConfig {
        NodeNetworkConfig {
            cluster_cidr: "10.42.0.0/16".parse().unwrap(),
            service_cidr: "10.43.0.0/16".parse().unwrap(),
            pod_cidr: "10.42.0.0/24".parse().unwrap(),
            node_ip: NODE_IP,
            cluster_dns: Some(Ipv4Addr::new(10, 43, 0, 10)),
            bridge: NodeNetworkConfig::bridge_for(""),
            state_dir: self.state.path().join("network"),
            instance: String::new(),
            mtu: None,
        }
    }

    pub fn start(&self) -> Arc<NodeNetwork> {
        NodeNetwork::start(self.config()).unwrap()
    }
}

/// A pod: a namespace with a place in the network.
pub struct Pod {
    pub uid: String,
    pub namespace: Namespace,
    pub address: PodAddress,
}

impl Pod {
    /// A pod with a server that answers with the pod's name, on TCP and UDP port 8080.
    pub async fn new(network: &Arc<NodeNetwork>, name: &str) -> Self {
        let namespace = Namespace::new();
        let uid = format!("uid-of-{name}");
        let address = network.attach(&uid, &namespace.path(), name).await.unwrap();
        namespace.serve_tcp(name, 8080);
        namespace.serve_udp(name, 8080);
        Self {
            uid,
            namespace,
            address,
        }
    }

    pub fn ip(&self) -> Ipv4Addr {
        self.address.ip
    }
}
