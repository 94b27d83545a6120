//! Services and names: a pod reaches another by its Service's name.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use kobune_test_support::{Cluster, Options, eventually};

use crate::shared::{Space, pod};

const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: nginx, imagePullPolicy: IfNotPresent, ports: [{name: http, containerPort: 80}]}
";

/// Fetches / over HTTP; the page must be nginx's (a gateway may answer for any address).
pub fn fetch(host: &str, port: u16) -> Result<String, String> {
    let address = (host, port)
        .to_socket_addrs()
        .map_err(|error| error.to_string())?
        .next()
        .ok_or("no address")?;
    let mut stream =
        TcpStream::connect_timeout(&address, Duration::from_secs(2)).map_err(|error| error.to_string())?;
    stream
        .set_read_timeout(Some(Duration::from_secs(2)))
        .map_err(|error| error.to_string())?;
    stream
        .write_all(b"GET / HTTP/1.0\r\n\r\n")
        .map_err(|error| error.to_string())?;
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .map_err(|error| error.to_string())?;
    if answer.contains("nginx") {
        Ok(answer)
    } else {
        Err(format!("somebody else answered: {answer}"))
    }
}

fn web(name: &str) -> Space {
    let space = Space::new(name);
    space.apply(WEB);
    space
        .kubectl(&["rollout", "status", "deployment/web", "--timeout=90s"])
        .ok();
    space
}

// Debian's wget of busybox crashes on -T.
fn page(space: &Space, pod: &str, url: &str) -> Result<String, String> {
    let found = space
        .exec(pod, &["timeout", "2", "wget", "-q", "-O-", url])
        .result()?;
    if found.contains("nginx") {
        Ok(found)
    } else {
        Err(found)
    }
}

#[test]
fn a_pod_reaches_another_by_its_services_name() {
    let space = web("service-name");
    space
        .kubectl(&["expose", "deployment/web", "--port=8080", "--target-port=http"])
        .ok();
    space.busybox("client", "sleep 1000");
    let long = format!("http://web.{}.svc.cluster.local:8080/", space.name);
    for url in ["http://web:8080/", &long] {
        eventually(&format!("{url} answers"), 30, || page(&space, "client", url));
    }
    let address = space.field("service/web", ".spec.clusterIP");
    let found = space
        .exec(
            "client",
            &["nslookup", &format!("web.{}.svc.cluster.local", space.name)],
        )
        .ok();
    assert!(found.contains(&address), "{found}");
    eventually("the node reaches the Service too", 20, || fetch(&address, 8080));
    let pods = space
        .kubectl(&["get", "endpointslices", "-l", "kubernetes.io/service-name=web"])
        .ok();
    assert!(pods.contains("80"), "{pods}");
}

#[test]
fn pods_reach_each_other_themselves_and_the_node() {
    let space = web("service-pods");
    space.busybox("client", "sleep 1000");
    let address = space
        .kubectl(&[
            "get",
            "pods",
            "-l",
            "app=web",
            "-o",
            "jsonpath={.items[0].status.podIP}",
        ])
        .ok();
    eventually("a pod reaches a pod", 20, || {
        page(&space, "client", &format!("http://{address}/"))
    });
    eventually("the node reaches a pod", 20, || fetch(&address, 80));
    let node = space.field("pod/client", ".status.hostIP");
    space.exec("client", &["ping", "-c", "1", "-W", "2", &node]).ok();
    space
        .exec("client", &["ping", "-c", "1", "-W", "2", "127.0.0.1"])
        .ok();
}

#[test]
fn a_node_port_answers_on_the_nodes_address() {
    let space = web("service-nodeport");
    space
        .kubectl(&["expose", "deployment/web", "--type=NodePort", "--port=80"])
        .ok();
    let port: u16 = space
        .field("service/web", ".spec.ports[0].nodePort")
        .parse()
        .expect("a port");
    let node = space.field("pods", ".items[0].status.hostIP");
    eventually("the node port answers", 20, || fetch(&node, port));
    eventually("the node port answers on the loopback", 20, || {
        fetch("127.0.0.1", port)
    });
}

#[test]
fn a_headless_service_names_its_pods() {
    let space = web("service-headless");
    space
        .kubectl(&[
            "expose",
            "deployment/web",
            "--port=80",
            "--cluster-ip=None",
            "--name=heads",
        ])
        .ok();
    space.busybox("client", "sleep 1000");
    let addresses = space.field("pods", ".items[?(@.metadata.labels.app==\"web\")].status.podIP");
    eventually("both pods are answered", 20, || {
        let name = format!("heads.{}.svc.cluster.local", space.name);
        let found = space.exec("client", &["nslookup", &name]).result()?;
        if addresses
            .split_whitespace()
            .all(|address| found.contains(address))
        {
            Ok(())
        } else {
            Err(found)
        }
    });
}

#[test]
fn a_service_without_endpoints_refuses_at_once() {
    let space = Space::new("service-empty");
    space
        .kubectl(&["create", "service", "clusterip", "nobody", "--tcp=80:80"])
        .ok();
    space.busybox("client", "sleep 1000");
    let address = space.field("service/nobody", ".spec.clusterIP");
    eventually("the connection is refused", 20, || {
        let began = std::time::Instant::now();
        let output = space.exec(
            "client",
            &["sh", "-c", &format!("nc -w 10 {address} 80 </dev/null")],
        );
        let slow = began.elapsed() > Duration::from_secs(6);
        if output.stderr.contains("refused") && !slow {
            Ok(())
        } else {
            Err(format!("{output:?}"))
        }
    });
}

#[test]
fn the_api_is_reached_from_inside() {
    let space = Space::new("service-api");
    space.busybox("client", "sleep 1000");
    let found = space
        .exec("client", &["nslookup", "kubernetes.default.svc.cluster.local"])
        .ok();
    let address = space
        .cluster
        .kubectl(&["get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}"])
        .ok();
    assert!(found.contains(&address), "{found}");
    // busybox' nc cannot only connect; what counts is that nobody refused.
    let connect = format!("nc -w 2 {address} 443 </dev/null");
    let connected = space.exec("client", &["sh", "-c", &connect]).stderr;
    assert!(!connected.contains("can't connect"), "{connected}");
}

#[test]
fn an_api_on_a_loopback_address_is_reached_from_inside() {
    let own = Cluster::start(&Options {
        images: vec!["busybox"],
        flags: vec!["--bind-address=127.0.0.1".into()],
        ..Options::default()
    });
    own.apply("default", &pod("client", "sleep 1000", "")).ok();
    own.kubectl(&["wait", "--for=condition=Ready", "pod/client", "--timeout=60s"])
        .ok();
    let address = own
        .kubectl(&["get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}"])
        .ok();
    // A gateway may answer for any address; only TLS answers plain text with an alert (0x15).
    let ask = format!("echo hello | nc -w 2 {address} 443 | od -An -tx1");
    let answer = own.kubectl(&["exec", "client", "--", "sh", "-c", &ask]).ok();
    assert!(answer.trim_start().starts_with("15 03"), "{answer}");
    // The node's address is for the kubelet: logs come by it.
    own.kubectl(&["logs", "client"]).ok();
    let node = "jsonpath={.items[0].status.addresses[0].address}";
    let node = own.kubectl(&["get", "nodes", "-o", node]).ok();
    assert!(TcpStream::connect((node.as_str(), own.port())).is_err(), "{node}");
}

#[test]
fn redis_is_reached_by_name() {
    let space = Space::new("service-redis");
    space
        .kubectl(&["create", "deployment", "cache", "--image=redis:7"])
        .ok();
    let patch = r#"{"spec":{"template":{"spec":{"containers":[{"name":"redis","imagePullPolicy":"IfNotPresent"}]}}}}"#;
    space.kubectl(&["patch", "deployment", "cache", "-p", patch]).ok();
    space.kubectl(&["expose", "deployment/cache", "--port=6379"]).ok();
    space
        .kubectl(&["rollout", "status", "deployment/cache", "--timeout=90s"])
        .ok();
    space.apply(&pod("client", "sleep 1000", ""));
    space.wait_ready("pod/client");
    eventually("redis answers", 30, || {
        let ping = "printf 'PING\\r\\n' | nc -w 1 cache 6379";
        let found = space.exec("client", &["sh", "-c", ping]).result()?;
        if found.contains("+PONG") {
            Ok(())
        } else {
            Err(found)
        }
    });
}
