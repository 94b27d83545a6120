//! Services on a real kernel.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod machine;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use kobune_client::k8s_openapi::api::core::v1::Service;
use kobune_client::k8s_openapi::api::discovery::v1::EndpointSlice;
use kobune_network::NodeNetwork;
use kobune_network::service::plan::{NodeView, ServicePlan, plan};
use machine::{NODE_IP, Node, Pod, WORLD_IP, ask, ask_udp, connect, greeting, on_a_node, sh};
use serde_json::{Value, json};

const WEB: Ipv4Addr = Ipv4Addr::new(10, 43, 0, 5);

/// A Service with its endpoints, as the API would have them.
fn service(name: &str, spec: Value, endpoints: &[Ipv4Addr]) -> (Arc<str>, ServicePlan) {
    let service: Service =
        serde_json::from_value(json!({"metadata": {"namespace": "shop", "name": name}, "spec": spec}))
            .unwrap();
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|address| json!({"addresses": [address]}))
        .collect();
    let slice: EndpointSlice = serde_json::from_value(json!({
        "metadata": {"name": name}, "addressType": "IPv4", "endpoints": endpoints,
        "ports": [{"name": "tcp", "port": 8080}, {"name": "udp", "port": 8080, "protocol": "UDP"}],
    }))
    .unwrap();
    let node = NodeView {
        pod_cidr: "10.42.0.0/24".parse().unwrap(),
        node_ip: NODE_IP,
        answered_here: Some(Ipv4Addr::new(10, 43, 0, 10)),
    };
    (format!("shop/{name}").into(), plan(&service, &[&slice], &node))
}

fn web(endpoints: &[Ipv4Addr]) -> (Arc<str>, ServicePlan) {
    let spec = json!({"clusterIP": WEB, "externalIPs": ["198.51.100.9"], "ports": [
        {"name": "tcp", "port": 80, "nodePort": 30080},
        {"name": "udp", "port": 80, "protocol": "UDP", "nodePort": 30080}]});
    service("web", spec, endpoints)
}

async fn set(network: &Arc<NodeNetwork>, plan: (Arc<str>, ServicePlan)) {
    network.set_services(vec![plan], false).await.unwrap();
}

async fn two_pods(node: &Node) -> (Arc<NodeNetwork>, Pod, Pod) {
    let network = node.start();
    let (a, b) = (Pod::new(&network, "a").await, Pod::new(&network, "b").await);
    (network, a, b)
}

fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

#[test]
fn connections_to_a_service_reach_all_endpoints_from_everywhere() {
    reach_from_everywhere("0");
}

/// Docker switches it on for the whole machine.
#[test]
fn the_same_holds_where_bridges_apply_packet_rules() {
    reach_from_everywhere("1");
}

fn reach_from_everywhere(bridge_rules: &'static str) {
    on_a_node(|node| async move {
        let switch = "/proc/sys/net/bridge/bridge-nf-call-iptables";
        if !std::path::Path::new(switch).exists() && bridge_rules == "1" {
            return eprintln!("this kernel has no br_netfilter: nothing to test");
        }
        let _ = std::fs::write(switch, bridge_rules);
        let (network, a, b) = two_pods(&node).await;
        let client = Pod::new(&network, "client").await;
        set(&network, web(&[a.ip(), b.ip()])).await;
        let both = names(["a", "b"]);
        assert_eq!(client.namespace.who_answers(WEB, 80), both);
        assert_eq!(
            (0..40).map(|_| ask(WEB, 80).unwrap().0).collect::<BTreeSet<_>>(),
            both
        );
        // Pods see who asks; a pod that meets itself sees the node.
        assert!((0..10).all(|_| client.namespace.ask(WEB, 80).unwrap().1 == client.ip().to_string()));
        let met: BTreeSet<_> = (0..40).map(|_| a.namespace.ask(WEB, 80).unwrap()).collect();
        assert_eq!(
            met,
            [("a".into(), "10.42.0.1".into()), ("b".into(), a.ip().to_string())].into(),
        );
        assert!(both.contains(&client.namespace.ask_udp(WEB, 80).unwrap().0));
        assert!(both.contains(&ask_udp(WEB, 80).unwrap().0));
        assert_eq!(
            client.namespace.ask(WEB, 81).unwrap_err().kind(),
            ErrorKind::ConnectionRefused
        );
    });
}

#[test]
fn the_cluster_dns_address_is_answered_on_the_node() {
    on_a_node(|node| async move {
        let (network, a, _) = two_pods(&node).await;
        let dns = Ipv4Addr::new(10, 43, 0, 10);
        let socket = std::net::UdpSocket::bind((dns, 53)).unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(format!("dns {}", peer.ip()).as_bytes(), peer);
            }
        });
        let spec = json!({"clusterIP": dns, "ports": [{"name": "udp", "port": 53, "protocol": "UDP"}]});
        set(&network, service("kube-dns", spec, &[])).await;
        // A host port of the same number takes none of it.
        let taker = kobune_network::HostPort {
            protocol: kobune_network::Protocol::Udp,
            host_ip: None,
            host_port: 53,
            container_port: 8080,
        };
        network.set_host_ports(&a.uid, a.ip(), vec![taker]).await.unwrap();
        assert_eq!(
            a.namespace.ask_udp(dns, 53).unwrap(),
            ("dns".into(), a.ip().to_string())
        );
        assert_eq!(ask_udp(dns, 53).unwrap().0, "dns");
        assert_eq!(node.world.ask_udp(NODE_IP, 53).unwrap().0, "a");
    });
}

#[test]
fn node_ports_answer_at_every_address_of_the_node() {
    on_a_node(|node| async move {
        let (network, a, b) = two_pods(&node).await;
        set(&network, web(&[a.ip()])).await;
        assert_eq!(node.world.ask(NODE_IP, 30080).unwrap().0, "a");
        assert_eq!(node.world.ask_udp(NODE_IP, 30080).unwrap().0, "a");
        assert_eq!(ask(NODE_IP, 30080).unwrap().0, "a");
        assert_eq!(ask(Ipv4Addr::LOCALHOST, 30080).unwrap().0, "a");
        assert_eq!(b.namespace.ask(NODE_IP, 30080).unwrap().0, "a");
        assert_eq!(a.namespace.ask(NODE_IP, 30080).unwrap().0, "a");
        // An address of the Service's that is not the node's: the world routes it here.
        node.world.run(|| sh("ip route add 198.51.100.9 via 192.0.2.2"));
        assert_eq!(
            b.namespace.ask(Ipv4Addr::new(198, 51, 100, 9), 80).unwrap().0,
            "a"
        );
    });
}

#[test]
fn endpoints_on_the_node_itself_and_outside_the_cluster_work() {
    on_a_node(|node| async move {
        let (network, a, _) = two_pods(&node).await;
        let api = std::net::TcpListener::bind((NODE_IP, 8080)).unwrap();
        std::thread::spawn(move || {
            use std::io::Write;
            for mut stream in api.incoming().flatten() {
                let peer = stream.peer_addr().unwrap().ip();
                let _ = stream.write_all(format!("api {peer}\n").as_bytes());
            }
        });
        set(&network, web(&[NODE_IP])).await;
        assert_eq!(
            a.namespace.ask(WEB, 80).unwrap(),
            ("api".into(), a.ip().to_string())
        );
        assert_eq!(ask(WEB, 80).unwrap().0, "api");
        assert_eq!(node.world.ask(NODE_IP, 30080).unwrap().0, "api");
        node.world.serve_tcp("outside", 8080);
        set(&network, web(&[WORLD_IP])).await;
        assert_eq!(
            a.namespace.ask(WEB, 80).unwrap(),
            ("outside".into(), NODE_IP.to_string())
        );
        assert_eq!(ask(WEB, 80).unwrap(), ("outside".into(), NODE_IP.to_string()));
    });
}

#[test]
fn without_endpoints_everyone_is_refused_at_once() {
    on_a_node(|node| async move {
        let (network, a, _) = two_pods(&node).await;
        set(&network, web(&[])).await;
        let refused = |result: std::io::Result<(String, String)>| {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        };
        // Something of the node's own has the node port's number: it must not answer.
        let _own = std::net::TcpListener::bind("0.0.0.0:30080").unwrap();
        refused(a.namespace.ask(WEB, 80));
        refused(ask(WEB, 80));
        refused(a.namespace.ask_udp(WEB, 80));
        refused(node.world.ask(NODE_IP, 30080));
        refused(node.world.ask_udp(NODE_IP, 30080));
        refused(a.namespace.ask(Ipv4Addr::new(198, 51, 100, 9), 80));
        set(&network, web(&[a.ip()])).await;
        assert_eq!(ask(WEB, 80).unwrap().0, "a");
        assert_eq!(node.world.ask(NODE_IP, 30080).unwrap().0, "a");
        set(&network, ("shop/web".into(), ServicePlan::default())).await;
        refused(a.namespace.ask(WEB, 80));
        assert!(!sh("nft list table ip kobune").contains("shop"));
    });
}

#[test]
fn a_local_policy_drops_what_has_no_endpoint_here() {
    on_a_node(|node| async move {
        let (network, a, _) = two_pods(&node).await;
        let local = |endpoints: &[Ipv4Addr]| {
            let spec = json!({"clusterIP": WEB, "externalTrafficPolicy": "Local",
                "ports": [{"name": "tcp", "port": 80, "nodePort": 30080}]});
            service("web", spec, endpoints)
        };
        set(&network, local(&[a.ip(), Ipv4Addr::new(10, 42, 1, 9)])).await;
        assert!((0..10).all(|_| node.world.ask(NODE_IP, 30080).unwrap().0 == "a"));
        set(&network, local(&[Ipv4Addr::new(10, 42, 1, 9)])).await;
        let dropped = node.world.ask(NODE_IP, 30080).unwrap_err();
        assert!(matches!(
            dropped.kind(),
            ErrorKind::TimedOut | ErrorKind::WouldBlock
        ));
    });
}

#[test]
fn a_restart_and_a_rebuild_drop_no_connection_and_no_service() {
    on_a_node(|node| async move {
        use std::io::{Read, Write};
        let (network, a, b) = two_pods(&node).await;
        set(&network, web(&[a.ip()])).await;
        let mut stream = connect(WEB, 80).unwrap();
        greeting(&mut stream).unwrap();
        let mut alive = || {
            stream.write_all(b"still there?").unwrap();
            let mut buffer = [0; 12];
            stream.read_exact(&mut buffer).unwrap();
        };
        drop(network);
        let network = node.start();
        // Before anything is known of the Services, those of the run before are in force.
        assert_eq!(ask(WEB, 80).unwrap().0, "a");
        alive();
        network.set_services(vec![web(&[b.ip()])], true).await.unwrap();
        assert_eq!(ask(WEB, 80).unwrap().0, "b");
        alive();
        network.set_services(vec![], true).await.unwrap();
        assert_eq!(ask(WEB, 80).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        alive();
    });
}

#[test]
fn a_udp_client_that_goes_on_sending_gets_a_living_endpoint() {
    on_a_node(|node| async move {
        let (network, a, b) = two_pods(&node).await;
        set(&network, web(&[a.ip()])).await;
        let client = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        client.set_read_timeout(Some(machine::WAIT)).unwrap();
        let who = |port: (Ipv4Addr, u16)| {
            client.send_to(b"?", port).unwrap();
            let mut buffer = [0; 64];
            let length = client.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..1.min(length)]).into_owned()
        };
        assert_eq!((who((WEB, 80)), who((NODE_IP, 30080))), ("a".into(), "a".into()));
        set(&network, web(&[a.ip(), b.ip()])).await;
        assert_eq!((who((WEB, 80)), who((NODE_IP, 30080))), ("a".into(), "a".into()));
        set(&network, web(&[b.ip()])).await;
        assert_eq!((who((WEB, 80)), who((NODE_IP, 30080))), ("b".into(), "b".into()));
    });
}

#[test]
fn a_remembered_client_comes_to_the_same_endpoint_while_it_is_there() {
    on_a_node(|node| async move {
        let (network, a, b) = two_pods(&node).await;
        let (c, client) = (Pod::new(&network, "c").await, Pod::new(&network, "client").await);
        let sticky = |seconds: u32, endpoints: &[Ipv4Addr]| {
            let spec = json!({"clusterIP": WEB, "sessionAffinity": "ClientIP",
                "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": seconds}},
                "ports": [{"name": "tcp", "port": 80, "nodePort": 30080}]});
            service("web", spec, endpoints)
        };
        let all = [(&a, "a"), (&b, "b"), (&c, "c")];
        set(&network, sticky(100, &all.map(|(pod, _)| pod.ip()))).await;
        let first = client.namespace.who_answers(WEB, 80);
        assert_eq!(first.len(), 1);
        // Others come and go: nothing changes for this client.
        let others: Vec<_> = all.iter().filter(|(_, name)| !first.contains(*name)).collect();
        let own = all.iter().find(|(_, name)| first.contains(*name)).unwrap().0.ip();
        set(&network, sticky(100, &[own, others[0].0.ip()])).await;
        assert_eq!(client.namespace.who_answers(WEB, 80), first);
        // Its endpoint goes: another one, and again always the same.
        set(&network, sticky(100, &[others[0].0.ip(), others[1].0.ip()])).await;
        let second = client.namespace.who_answers(WEB, 80);
        assert!(second.len() == 1 && second != first);
        assert_eq!(node.world.who_answers(NODE_IP, 30080).len(), 1);
        set(&network, sticky(1, &all.map(|(pod, _)| pod.ip()))).await;
        set(&network, web(&[a.ip(), b.ip()])).await;
        assert_eq!(client.namespace.who_answers(WEB, 80).len(), 2);
        set(&network, ("shop/web".into(), ServicePlan::default())).await;
        assert!(!sh("nft list table ip kobune").contains("clients-of"));
    });
}

#[test]
fn two_services_with_one_address_share_it_in_the_order_they_came() {
    on_a_node(|node| async move {
        let (network, a, b) = two_pods(&node).await;
        let shared = |name, endpoint| {
            service(
                name,
                json!({"clusterIP": WEB, "ports": [{"name": "tcp", "port": 80}]}),
                &[endpoint],
            )
        };
        set(&network, shared("first", a.ip())).await;
        set(&network, shared("second", b.ip())).await;
        assert_eq!(ask(WEB, 80).unwrap().0, "a");
        set(&network, ("shop/first".into(), ServicePlan::default())).await;
        assert_eq!(ask(WEB, 80).unwrap().0, "b");
    });
}

#[test]
fn a_table_someone_damaged_is_made_anew() {
    on_a_node(|node| async move {
        let (network, a, b) = two_pods(&node).await;
        set(&network, web(&[a.ip()])).await;
        sh("nft delete table ip kobune");
        network
            .set_services(vec![web(&[b.ip()])], false)
            .await
            .unwrap_err();
        network.set_services(vec![web(&[b.ip()])], false).await.unwrap();
        assert_eq!(ask(WEB, 80).unwrap().0, "b");
    });
}

#[test]
fn a_thousand_services_are_one_quick_batch() {
    on_a_node(|node| async move {
        let (network, a, _) = two_pods(&node).await;
        let many = |shift: u8| {
            (0..1000u16)
                .map(|index| {
                    let [high, low] = (index + 256).to_be_bytes();
                    let spec = json!({"clusterIP": Ipv4Addr::new(10, 43, high, low),
                        "ports": [{"name": "tcp", "port": 80}]});
                    let endpoints = [2, 3, 4].map(|host| Ipv4Addr::new(10, 42, 9, host + shift));
                    service(&format!("service-{index}"), spec, &endpoints)
                })
                .collect::<Vec<_>>()
        };
        let (plans, changed) = (many(0), many(1));
        let start = Instant::now();
        network.set_services(plans, true).await.unwrap();
        let whole = start.elapsed();
        let start = Instant::now();
        for plan in changed.into_iter().take(100) {
            set(&network, plan).await;
        }
        println!("1000 services {whole:?}, one change {:?}", start.elapsed() / 100);
        let lines = sh("nft list table ip kobune | grep -c numgen");
        assert_eq!(lines.trim(), "1000");
        assert!(whole.as_millis() < 2000, "{whole:?}");
        set(&network, web(&[a.ip()])).await;
        assert_eq!(ask(WEB, 80).unwrap().0, "a");
    });
}
