//! A node for simulation tests: the real API server in memory, the real kubelet, a fake runtime and
//! a fake network.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kobune_apiserver::ApiServer;
use kobune_client::k8s_openapi::api::core::v1::{ConfigMap, Event, Pod, ServiceAccount};
use kobune_client::kube::api::{DeleteParams, ListParams, PostParams};
use kobune_client::kube::{Api, Client};
use kobune_client::{Caches, kube};
use kobune_kubelet::KubeletConfig;
use kobune_kubelet::network::PodNetwork;
use kobune_network::{HostPort, NetworkError};
use kobune_pki::{Authorities, Identity, Leaf};
use kobune_runtime::fake::FakeRuntime;
use kobune_store::{Options, Store, memory_backend::MemoryBackend};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// A network that only counts.
#[derive(Default)]
pub struct FakeNetwork {
    next: AtomicU8,
    pub attached: Mutex<HashSet<String>>,
    /// Who writes it holds up all that leave.
    pub detaching: tokio::sync::RwLock<()>,
}

#[async_trait::async_trait]
impl PodNetwork for FakeNetwork {
    async fn attach(&self, pod_uid: &str, _: &Path, _: &str) -> Result<Vec<IpAddr>, NetworkError> {
        self.attached.lock().unwrap().insert(pod_uid.to_owned());
        let n = self.next.fetch_add(1, Ordering::Relaxed) + 2;
        Ok(vec![IpAddr::from([10, 42, 0, n])])
    }
    async fn detach(&self, pod_uid: &str, _: Option<&Path>) -> Result<(), NetworkError> {
        let _free = self.detaching.read().await;
        self.attached.lock().unwrap().remove(pod_uid);
        Ok(())
    }
    async fn retain(&self, alive: &HashSet<String>) -> Result<(), NetworkError> {
        self.attached.lock().unwrap().retain(|uid| alive.contains(uid));
        Ok(())
    }
    async fn set_host_ports(&self, _: &str, _: IpAddr, _: Vec<HostPort>) -> Result<(), NetworkError> {
        Ok(())
    }
}

/// The node and its API.
pub struct Node {
    pub client: Client,
    pub runtime: FakeRuntime,
    pub network: Arc<FakeNetwork>,
    pub config: KubeletConfig,
    api: ApiServer,
    /// How the API server connects to the kubelet.
    peer: Arc<rustls::ClientConfig>,
    dir: tempfile::TempDir,
    running: Mutex<Option<(CancellationToken, tokio::task::JoinHandle<()>)>>,
}

fn door(api: &ApiServer, identity: Identity) -> Client {
    let api = api.clone();
    kobune_client::in_process(move |request| {
        let (api, identity) = (api.clone(), identity.clone());
        async move { api.handle(identity, request).await }
    })
}

static NODES: AtomicU32 = AtomicU32::new(0);

impl Node {
    /// A node that runs, with the image `nginx:1` present.
    pub async fn start() -> Self {
        kobune_pki::install_crypto();
        let dir = tempfile::tempdir().unwrap();
        let authorities = Authorities::load_or_create(&dir.path().join("tls")).unwrap();
        let names = vec![kobune_pki::SubjectAltName::parse("127.0.0.1")];
        let leaf = Leaf::server("system:node:node-1", names);
        let own = authorities.server.load_or_issue("kubelet", &leaf).unwrap();
        let trusted = authorities.client.certificate_pem().to_owned();
        let tls = kobune_pki::server_config(&own, &trusted, &["http/1.1"]).unwrap();
        let client = Leaf::client("kube-apiserver", &["system:masters"]);
        let client = authorities
            .client
            .load_or_issue("kubelet-client", &client)
            .unwrap();
        let own = authorities.server.certificate_pem().to_owned();
        let peer = kobune_pki::client_config(&own, Some(&client), &["http/1.1"]).unwrap();
        let api = server(authorities, peer.clone()).await;
        let number = NODES.fetch_add(1, Ordering::Relaxed);
        let mut config = KubeletConfig::new("node-1", "127.0.0.1".parse().unwrap());
        config.root_dir = dir.path().join("kubelet");
        config.log_dir = dir.path().join("logs");
        config.log_links = None;
        config.tls = Some(tls);
        config.port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        config.lease_period = Duration::from_secs(2);
        config.instance = format!("test-{}-{number}", std::process::id());
        config.cluster_dns = vec!["10.43.0.10".parse().unwrap()];
        let runtime = FakeRuntime::new();
        runtime.add_image("nginx:1");
        let node = Node {
            client: door(&api, Identity::new("kubernetes-admin", &["system:masters"])),
            runtime,
            network: Arc::default(),
            config,
            api,
            peer,
            dir,
            running: Mutex::default(),
        };
        node.launch().await;
        let accounts: Api<ServiceAccount> = Api::namespaced(node.client.clone(), "default");
        let account = serde_json::from_value(json!({"metadata": {"name": "default"}})).unwrap();
        let _ = accounts.create(&PostParams::default(), &account).await;
        node
    }

    /// Runs the kubelet (again) and waits until the node is ready.
    pub async fn launch(&self) {
        let cancel = CancellationToken::new();
        let client = door(
            &self.api,
            Identity::new("system:node:node-1", &["system:nodes", "system:masters"]),
        );
        let caches = Caches::new(client.clone(), cancel.clone());
        let (to, ready) = tokio::sync::oneshot::channel();
        let run = kobune_kubelet::run_on(
            self.config.clone(),
            client,
            caches,
            Arc::new(self.runtime.clone()),
            self.network.clone(),
            to,
            cancel.clone(),
        );
        let task = tokio::spawn(async move { run.await.unwrap() });
        *self.running.lock().unwrap() = Some((cancel, task));
        tokio::time::timeout(Duration::from_secs(20), ready)
            .await
            .expect("the node becomes ready")
            .unwrap();
    }

    /// Ends the kubelet as a shutdown does.
    pub async fn shut_down(&self) {
        let running = self.running.lock().unwrap().take();
        if let Some((cancel, task)) = running {
            cancel.cancel();
            task.await.unwrap();
        }
    }

    /// Asks the kubelet's own server, with the API server's certificate or with none.
    pub async fn kubelet(&self, path: &str, with_certificate: bool) -> (u16, String) {
        let mut tls = (*self.peer).clone();
        if !with_certificate {
            tls.client_auth_cert_resolver = Arc::new(Nobody);
        }
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", self.config.port))
            .await
            .unwrap();
        let name = rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
        let stream = tokio_rustls::TlsConnector::from(Arc::new(tls))
            .connect(name, stream)
            .await
            .unwrap();
        let io = hyper_util::rt::TokioIo::new(stream);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::get(path)
            .header("host", "node")
            .body(http_body_util::Empty::<bytes::Bytes>::new());
        let response = sender.send_request(request.unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let body = http_body_util::BodyExt::collect(response.into_body())
            .await
            .unwrap()
            .to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    pub fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), "default")
    }

    pub fn config_maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), "default")
    }

    /// Creates a pod on this node; `spec` is merged over one container `a` of `nginx:1`.
    pub async fn create(&self, name: &str, spec: Value) -> Pod {
        let mut pod = json!({"metadata": {"name": name}, "spec": {
            "nodeName": "node-1", "automountServiceAccountToken": false,
            "containers": [{"name": "a", "image": "nginx:1"}]}});
        for (key, value) in spec.as_object().unwrap() {
            pod["spec"][key] = value.clone();
        }
        let pod = serde_json::from_value(pod).unwrap();
        self.pods().create(&PostParams::default(), &pod).await.unwrap()
    }

    pub async fn delete(&self, name: &str) {
        self.pods().delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// Waits until the pod is as wanted; answers it.
    pub async fn until(&self, name: &str, what: &str, wanted: impl Fn(&Pod) -> bool) -> Pod {
        let mut last = None;
        for _ in 0..1500 {
            if let Some(pod) = self.pods().get_opt(name).await.unwrap() {
                if wanted(&pod) {
                    return pod;
                }
                last = pod.status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{name} is not {what}: {last:#?}\n{:?}", self.runtime.journal());
    }

    pub async fn until_phase(&self, name: &str, phase: &str) -> Pod {
        self.until(name, phase, |p| {
            p.status.as_ref().and_then(|s| s.phase.as_deref()) == Some(phase)
        })
        .await
    }

    pub async fn until_gone(&self, name: &str) {
        for _ in 0..1500 {
            match self.pods().get_opt(name).await {
                Ok(None) => return,
                Ok(Some(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
                Err(kube::Error::Api(e)) if e.code == 404 => return,
                Err(error) => panic!("{error}"),
            }
        }
        panic!("{name} is still there: {:?}", self.runtime.journal());
    }

    /// Reasons and messages of the events so far.
    pub async fn events(&self) -> Vec<String> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), "default");
        let list = events.list(&ListParams::default()).await.unwrap();
        let text = |e: &Event| {
            format!(
                "{} {}",
                e.reason.clone().unwrap_or_default(),
                e.message.clone().unwrap_or_default()
            )
        };
        list.items.iter().map(text).collect()
    }

    pub async fn until_event(&self, wanted: &str) {
        for _ in 0..500 {
            if self.events().await.iter().any(|e| e.contains(wanted)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no event {wanted:?} in {:#?}", self.events().await);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some((cancel, _)) = self.running.get_mut().unwrap().take() {
            cancel.cancel();
        }
        remove_cgroups(&self.config.cgroup_root());
        let _ = &self.dir;
    }
}

/// What the kubelet leaves for its next run: the folders of the QoS classes.
fn remove_cgroups(root: &str) {
    let name = root.trim_start_matches('/');
    let base = Path::new("/sys/fs/cgroup");
    let mut mounts = vec![base.to_owned()];
    mounts.extend(
        std::fs::read_dir(base)
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.path()),
    );
    for mount in mounts {
        for class in ["burstable", "besteffort", ""] {
            let dir = mount.join(name).join(class);
            for pod in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
                let _ = std::fs::remove_dir(pod.path());
            }
            let _ = std::fs::remove_dir(dir);
        }
    }
}

async fn server(authorities: Authorities, peer: Arc<rustls::ClientConfig>) -> ApiServer {
    let store = Store::open(Box::new(MemoryBackend::new()), Options::default())
        .await
        .unwrap();
    let serving = Leaf::server("kube-apiserver", vec![]);
    let own = authorities.server.load_or_issue("serving", &serving).unwrap();
    let trusted = authorities.client.certificate_pem().to_owned();
    let config = kobune_apiserver::Config {
        bind: "127.0.0.1:6443".parse().unwrap(),
        advertise: "192.0.2.10".parse().unwrap(),
        service_cidr: "10.43.0.0/16".parse().unwrap(),
        node_port_range: 30000..=32767,
        tls: kobune_pki::server_config(&own, &trusted, &["h2"]).unwrap(),
        kubelet_client_tls: peer,
        version: "v1.36.2".into(),
        issuer: "https://kubernetes.default.svc.cluster.local".into(),
        authorities: Arc::new(authorities),
    };
    let api = ApiServer::new(config, store);
    api.bootstrap().await.unwrap();
    api
}

/// Shows no certificate.
#[derive(Debug)]
struct Nobody;

impl rustls::client::ResolvesClientCert for Nobody {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }
    fn has_certs(&self) -> bool {
        false
    }
}
