//! Pods' links and addresses on a real kernel.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod machine;

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::time::Instant;

use kobune_network::{HostPort, Protocol};
use machine::{NODE_IP, Namespace, Pod, WORLD_IP, ask, connect, greeting, on_a_node, sh};

#[test]
fn pods_reach_each_other_the_node_and_the_world() {
    on_a_node(|node| async move {
        let network = node.start();
        assert_eq!(network.mtu(), 1400);
        let (a, b) = (Pod::new(&network, "a").await, Pod::new(&network, "b").await);
        assert_eq!(
            a.namespace.ask(b.ip(), 8080).unwrap(),
            ("b".into(), a.ip().to_string())
        );
        assert_eq!(a.namespace.ask(a.ip(), 8080).unwrap().0, "a");
        assert_eq!(a.namespace.ask(Ipv4Addr::LOCALHOST, 8080).unwrap().0, "a");
        assert_eq!(
            ask(a.ip(), 8080).unwrap(),
            ("a".into(), a.address.gateway.to_string())
        );
        assert_eq!(
            a.namespace.ask(WORLD_IP, 80).unwrap(),
            ("world".into(), NODE_IP.to_string())
        );
        assert_eq!(a.namespace.ask_udp(WORLD_IP, 53).unwrap().1, NODE_IP.to_string());
        let inside = a
            .namespace
            .run(|| sh("ip -o link show eth0; ping -c1 -W1 10.42.0.1 >/dev/null && echo pong"));
        assert!(inside.contains("mtu 1400") && inside.contains("pong"), "{inside}");
    });
}

#[test]
fn addresses_nobody_has_never_leave_by_the_default_route() {
    on_a_node(|node| async move {
        let network = node.start();
        let pod = Pod::new(&network, "a").await;
        assert_eq!(
            pod.namespace.ask(Ipv4Addr::new(198, 51, 100, 1), 80).unwrap().0,
            "world"
        );
        // First, as the kernel sends few such messages a second to the same receiver.
        let refused = pod
            .namespace
            .ask_udp(Ipv4Addr::new(10, 43, 0, 99), 53)
            .unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        for address in [
            [10, 43, 0, 99],
            [10, 43, 255, 1],
            [10, 42, 7, 7],
            [10, 42, 0, 200],
        ] {
            let address = Ipv4Addr::from(address);
            let from_pod = pod.namespace.ask(address, 80);
            assert!(from_pod.is_err(), "{address} answered the pod: {from_pod:?}");
            assert!(ask(address, 80).is_err(), "{address} answered the node");
            assert!(pod.namespace.ask_udp(address, 53).is_err());
        }
        let refused = pod.namespace.ask(Ipv4Addr::new(10, 43, 0, 99), 80).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        let refused = ask(Ipv4Addr::new(10, 43, 0, 99), 80).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn an_address_without_a_pod_is_refused_at_once() {
    on_a_node(|node| async move {
        let network = node.start();
        let at_once = |asked: &dyn Fn() -> std::io::Error| {
            let begun = Instant::now();
            let error = asked();
            // The kernel looks for a neighbour for three seconds.
            assert!(
                begun.elapsed().as_millis() < 1000,
                "{error} after {:?}",
                begun.elapsed()
            );
            assert_eq!(error.kind(), std::io::ErrorKind::HostUnreachable);
        };
        let free = Ipv4Addr::new(10, 42, 0, 200);
        at_once(&|| ask(free, 80).unwrap_err());
        let (a, b) = (Pod::new(&network, "a").await, Pod::new(&network, "b").await);
        at_once(&|| ask(free, 80).unwrap_err());
        at_once(&|| a.namespace.ask(free, 80).unwrap_err());
        let gone = b.ip();
        assert!(ask(gone, 8080).is_ok());
        network.detach(&b.uid, None).await.unwrap();
        at_once(&|| ask(gone, 8080).unwrap_err());
        // Pods that an earlier run attached are found again.
        sh(&format!("ip route del {}", a.ip()));
        drop(network);
        let _network = node.start();
        assert!(ask(a.ip(), 8080).is_ok());
    });
}

#[test]
fn a_pod_cannot_get_at_the_nodes_loopback() {
    on_a_node(|node| async move {
        let network = node.start();
        let pod = Pod::new(&network, "a").await;
        let listener = std::net::TcpListener::bind("127.0.0.1:7777").unwrap();
        let caught = pod.namespace.run(|| {
            sh(
                "ip route add 127.0.0.1/32 via 10.42.0.1 table 7; ip rule add pref 0 lookup 7;
                ip rule del pref 0 lookup local || true; ip rule add pref 1 lookup local;
                echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet",
            );
            ask(Ipv4Addr::LOCALHOST, 7777).is_ok()
        });
        assert!(!caught);
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err());
    });
}

#[test]
fn attaching_again_changes_nothing() {
    on_a_node(|node| async move {
        let network = node.start();
        let pod = Pod::new(&network, "a").await;
        let before = sh("ip -o link show type veth");
        let again = network
            .attach(&pod.uid, &pod.namespace.path(), "a")
            .await
            .unwrap();
        assert_eq!(again, pod.address);
        assert_eq!(sh("ip -o link show type veth"), before);
        assert_eq!(ask(pod.ip(), 8080).unwrap().0, "a");
    });
}

#[test]
fn a_pod_with_a_new_namespace_gets_a_new_link_and_keeps_its_address() {
    on_a_node(|node| async move {
        let network = node.start();
        let pod = Pod::new(&network, "a").await;
        let fresh = Namespace::new();
        let again = network.attach(&pod.uid, &fresh.path(), "a").await.unwrap();
        assert_eq!(again.ip, pod.ip());
        fresh.serve_tcp("fresh", 8080);
        assert_eq!(ask(again.ip, 8080).unwrap().0, "fresh");
    });
}

#[test]
fn a_half_made_link_is_completed() {
    on_a_node(|node| async move {
        let network = node.start();
        let pod = Pod::new(&network, "a").await;
        sh(&format!(
            "ip link set {} nomaster down",
            pod.address.host_interface
        ));
        pod.namespace
            .run(|| sh("ip address flush dev eth0; ip link set lo down"));
        assert!(ask(pod.ip(), 8080).is_err());
        network
            .attach(&pod.uid, &pod.namespace.path(), "a")
            .await
            .unwrap();
        assert_eq!(ask(pod.ip(), 8080).unwrap().0, "a");
        assert_eq!(pod.namespace.ask(Ipv4Addr::LOCALHOST, 8080).unwrap().0, "a");
    });
}

#[test]
fn detaching_removes_the_link_with_or_without_the_namespace() {
    on_a_node(|node| async move {
        let network = node.start();
        let (a, b) = (Pod::new(&network, "a").await, Pod::new(&network, "b").await);
        network.detach(&a.uid, Some(&a.namespace.path())).await.unwrap();
        network.detach(&a.uid, None).await.unwrap();
        let (uid, freed) = (b.uid.clone(), b.ip());
        drop(b);
        network.detach(&uid, None).await.unwrap();
        assert_eq!(sh("ip -o link show type veth master kobune0"), "");
        let c = Pod::new(&network, "c").await;
        assert!(c.ip() != a.ip() && c.ip() != freed);
    });
}

#[test]
fn a_restart_keeps_addresses_links_and_connections() {
    on_a_node(|node| async move {
        let network = node.start();
        let (a, b) = (Pod::new(&network, "a").await, Pod::new(&network, "b").await);
        let mut stream = connect(a.ip(), 8080).unwrap();
        greeting(&mut stream).unwrap();
        drop(network);
        let network = node.start();
        use std::io::{Read, Write};
        stream.write_all(b"still there?").unwrap();
        let mut buffer = [0; 12];
        stream.read_exact(&mut buffer).unwrap();
        assert_eq!(
            network.attach(&a.uid, &a.namespace.path(), "a").await.unwrap(),
            a.address
        );
        network.retain(&HashSet::from([a.uid.clone()])).await.unwrap();
        assert_eq!(ask(a.ip(), 8080).unwrap().0, "a");
        assert!(ask(b.ip(), 8080).is_err());
        let c = Pod::new(&network, "c").await;
        assert!(c.ip() != a.ip() && c.ip() != b.ip());
    });
}

fn host_port(host_ip: Option<Ipv4Addr>, host_port: u16) -> HostPort {
    HostPort {
        protocol: Protocol::Tcp,
        host_ip,
        host_port,
        container_port: 8080,
    }
}

#[test]
fn host_ports_lead_to_their_pod_and_survive_a_restart() {
    on_a_node(|node| async move {
        let network = node.start();
        let (a, b) = (Pod::new(&network, "a").await, Pod::new(&network, "b").await);
        let ports = vec![
            host_port(None, 80),
            host_port(Some(NODE_IP), 81),
            host_port(Some(WORLD_IP), 82),
        ];
        network
            .set_host_ports(&a.uid, a.ip(), ports.clone())
            .await
            .unwrap();
        network.set_host_ports(&a.uid, a.ip(), ports).await.unwrap();
        network
            .set_host_ports(&b.uid, b.ip(), vec![host_port(None, 80)])
            .await
            .unwrap_err();
        let reachable = || {
            assert_eq!(
                node.world.ask(NODE_IP, 80).unwrap(),
                ("a".into(), WORLD_IP.to_string())
            );
            assert_eq!(node.world.ask(NODE_IP, 81).unwrap().0, "a");
            assert!(node.world.ask(NODE_IP, 82).is_err());
            assert_eq!(ask(NODE_IP, 80).unwrap().0, "a");
            assert_eq!(ask(Ipv4Addr::LOCALHOST, 80).unwrap().0, "a");
            assert_eq!(b.namespace.ask(NODE_IP, 80).unwrap().0, "a");
            assert_eq!(a.namespace.ask(NODE_IP, 81).unwrap().0, "a");
        };
        reachable();
        drop(network);
        let network = node.start();
        reachable();
        network
            .set_host_ports(&b.uid, b.ip(), vec![host_port(None, 83)])
            .await
            .unwrap();
        reachable();
        assert_eq!(node.world.ask(NODE_IP, 83).unwrap().0, "b");
        network.detach(&a.uid, None).await.unwrap();
        assert!(node.world.ask(NODE_IP, 80).is_err());
        assert_eq!(node.world.ask(NODE_IP, 83).unwrap().0, "b");
    });
}

#[test]
fn removal_leaves_nothing_behind() {
    on_a_node(|node| async move {
        sh("nft add table ip other; nft add chain ip other c");
        let state = |what: &str| sh(&format!("{what}; nft list ruleset"));
        let look = "ip -o link | sed 's/@.*//;s/^[0-9]*: //'; ip route; ip -o address | sed 's/^[0-9]*: //;s/valid.*//'";
        let before = state(look);
        let network = node.start();
        let pod = Pod::new(&network, "a").await;
        network
            .set_host_ports(&pod.uid, pod.ip(), vec![host_port(None, 80)])
            .await
            .unwrap();
        assert_ne!(state(look), before);
        network.remove_all().await.unwrap();
        network.remove_all().await.unwrap();
        assert_eq!(state(look), before);
        assert!(!network.config().state_dir.exists());
    });
}

#[test]
fn two_instances_live_side_by_side() {
    on_a_node(|node| async move {
        let first = node.start();
        let second = kobune_network::NodeNetwork::start(kobune_network::NodeNetworkConfig {
            cluster_cidr: "10.52.0.0/16".parse().unwrap(),
            service_cidr: "10.53.0.0/16".parse().unwrap(),
            pod_cidr: "10.52.0.0/24".parse().unwrap(),
            cluster_dns: Some(Ipv4Addr::new(10, 53, 0, 10)),
            bridge: kobune_network::NodeNetworkConfig::bridge_for("b"),
            state_dir: node.state.path().join("b"),
            instance: "b".into(),
            ..node.config()
        })
        .unwrap();
        let (a, b) = (Pod::new(&first, "a").await, Pod::new(&second, "b").await);
        assert_eq!(b.namespace.ask(WORLD_IP, 80).unwrap().1, NODE_IP.to_string());
        assert_eq!(ask(b.ip(), 8080).unwrap().0, "b");
        first.remove_all().await.unwrap();
        assert_eq!(ask(b.ip(), 8080).unwrap().0, "b");
        assert_eq!(b.namespace.ask(WORLD_IP, 80).unwrap().1, NODE_IP.to_string());
        assert!(ask(a.ip(), 8080).map_or(true, |(name, _)| name == "world"));
        second.remove_all().await.unwrap();
        assert_eq!(sh("nft list ruleset"), "");
    });
}

#[test]
fn settings_that_cannot_work_are_refused() {
    on_a_node(|node| async move {
        let refused = |change: fn(&mut kobune_network::NodeNetworkConfig)| {
            let mut config = node.config();
            change(&mut config);
            kobune_network::NodeNetwork::start(config).unwrap_err()
        };
        refused(|config| config.bridge = "much-too-long-a-name".into());
        refused(|config| config.pod_cidr = "10.99.0.0/24".parse().unwrap());
        refused(|config| config.service_cidr = "10.42.128.0/17".parse().unwrap());
        refused(|config| config.cluster_dns = Some(WORLD_IP));
        assert_eq!(sh("nft list ruleset"), "");
    });
}

#[test]
fn an_attach_is_quick() {
    on_a_node(|node| async move {
        let network = node.start();
        let namespaces: Vec<_> = (0..20).map(|_| Namespace::new()).collect();
        let start = Instant::now();
        for (index, namespace) in namespaces.iter().enumerate() {
            network
                .attach(&format!("uid-{index}"), &namespace.path(), "")
                .await
                .unwrap();
        }
        let attach = start.elapsed() / 20;
        let start = Instant::now();
        for index in 0..20 {
            network.detach(&format!("uid-{index}"), None).await.unwrap();
        }
        println!("attach {attach:?}, detach {:?}", start.elapsed() / 20);
        // Ten times what it takes here, for machines that are busy.
        assert!(attach.as_millis() < 100, "{attach:?}");
    });
}
