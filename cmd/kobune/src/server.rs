//! `kobune server`: configuration, build, run, drain.
//!
//! ```text
//! settings ─ keys ─ store ─ API server ─ controllers, scheduler ─┬─ containerd ─ network ─ kubelet, DNS
//!            containerd is started beside all this ──────────────┘
//! ```

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use kobune_apiserver::ApiServer;
use kobune_client::Caches;
use kobune_client::kube::Client;
use kobune_pki::{Authorities, Identity, Leaf};
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::claim::Claim;
use crate::cli::ServerArgs;
use crate::settings::Settings;
use crate::supervise::Supervisor;
use crate::{addons, database, kubeconfig, memory, node, notify, role, version};

/// Runs a server until it is told to stop.
pub fn run(flags: ServerArgs) -> Result<()> {
    let began = Instant::now();
    let settings = Settings::resolve(flags)?;
    if !nix::unistd::geteuid().is_root() {
        bail!("a server needs root: run it with sudo");
    }
    crate::logging::start(settings.flags.log.as_deref(), settings.flags.verbosity)?;
    memory::limit_arenas();
    raise_file_limit();
    kobune_pki::install_crypto();
    let _claim = Claim::take(&settings)?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("kobune")
        .build()
        .context("starting tokio")?
        .block_on(serve(settings, began))
}

async fn serve(settings: Settings, began: Instant) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    // Nothing may touch the store before the port is ours: it says whether another server runs here.
    let listeners = listen(&settings)?;
    let runtime = node::start_runtime(&settings);
    let keys = Keys::load_or_create(&settings)?;
    let store = database::open(&settings.paths.database()).await?;
    let mut supervisor = Supervisor::new();
    supervisor.start("memory", memory::give_back);

    let api = ApiServer::new(keys.api_config(&settings)?, store.clone());
    api.bootstrap().await.context("preparing the API")?;
    for listener in listeners {
        let serving = api.clone();
        supervisor.start("api", |cancel| async move {
            Ok(serving.serve(listener, cancel).await?)
        });
    }
    write_kubeconfig(&settings, &keys)?;
    let milliseconds = began.elapsed().as_millis() as u64;
    tracing::info!(milliseconds, url = settings.local_url(), "the API is up");

    let doors = Doors(api);
    let caches = start_control_plane(&mut supervisor, &keys, &doors);
    addons::apply(&doors.own(), &settings).await?;
    let node = match runtime {
        None => None,
        Some(runtime) => {
            let (client, shared, name) = (doors.own(), caches.clone(), settings.node_name.clone());
            supervisor.start("role", |cancel| role::keep(client, shared, name, cancel));
            Some(node::start(&mut supervisor, &settings, &keys, &doors, caches, runtime).await?)
        }
    };
    notify::service_ready();
    let hint = format!("export KUBECONFIG={}", settings.flags.write_kubeconfig.display());
    tracing::info!(hint, "kubectl is ready to use");
    let outcome = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        () = supervisor.failed() => Err(anyhow!("a part of the server failed; the log says which")),
        () = announce(node, &settings, began) => Ok(()),
    };
    tracing::info!("stopping; containers run on");
    supervisor.stop().await;
    store.close().await;
    outcome
}

/// Tells when all is ready, and waits for ever.
async fn announce(node: Option<oneshot::Receiver<()>>, settings: &Settings, began: Instant) {
    if let Some(node) = node {
        if node.await.is_err() {
            // The kubelet ended; the supervisor tells.
            return std::future::pending().await;
        }
        let milliseconds = began.elapsed().as_millis() as u64;
        tracing::info!(milliseconds, "the node is Ready");
    }
    notify::node_ready(&settings.paths.run);
    std::future::pending().await
}

fn write_kubeconfig(settings: &Settings, keys: &Keys) -> Result<()> {
    let text = kubeconfig::render(
        &settings.local_url(),
        keys.authorities.server.certificate_pem(),
        &keys.administrator,
        "default",
    );
    let mode = settings.flags.write_kubeconfig_mode.0;
    kubeconfig::write(&settings.flags.write_kubeconfig, mode, &text)
}

/// The control plane's loops. The answer is the caches that they share.
fn start_control_plane(supervisor: &mut Supervisor, keys: &Keys, doors: &Doors) -> Caches {
    let caches = Caches::new(
        doors.component("system:kube-controller-manager", &[]),
        tokio_util::sync::CancellationToken::new(),
    );
    let config = kobune_controllers::Config {
        root_ca: keys.authorities.server.certificate_pem().to_owned(),
    };
    let (own, shared) = (doors.clone(), caches.clone());
    supervisor.start("controllers", |cancel| async move {
        let client_of = |name: &str| own.client(Identity::service_account("kube-system", name, None));
        kobune_controllers::run(config, client_of, shared, cancel).await;
        Ok(())
    });
    let (client, shared) = (doors.component("system:kube-scheduler", &[]), caches.clone());
    supervisor.start("scheduler", |cancel| async move {
        kobune_scheduler::run(client, shared, cancel).await;
        Ok(())
    });
    caches
}

/// The ways into the API for callers of this process, each with its identity.
#[derive(Clone)]
pub struct Doors(ApiServer);

impl Doors {
    /// A client for an identity.
    pub fn client(&self, identity: Identity) -> Client {
        let api = self.0.clone();
        // managedFields name the writer by it.
        let agent = http::HeaderValue::from_static(agent(&identity.user));
        kobune_client::in_process(move |mut request| {
            request
                .headers_mut()
                .entry(http::header::USER_AGENT)
                .or_insert(agent.clone());
            let (api, identity) = (api.clone(), identity.clone());
            async move { api.handle(identity, request).await }
        })
    }

    /// A client for what the server itself does.
    fn own(&self) -> Client {
        self.component("system:kobune", &["system:masters"])
    }

    /// A client for a component.
    pub fn component(&self, user: &str, groups: &[&str]) -> Client {
        self.client(Identity::new(user, groups))
    }
}

/// The name under which Kubernetes ships a part of this process.
fn agent(user: &str) -> &'static str {
    match user {
        "system:kube-scheduler" => "kube-scheduler",
        "system:kube-controller-manager" => "kube-controller-manager",
        _ if user.starts_with("system:serviceaccount:kube-system:") => "kube-controller-manager",
        _ if user.starts_with("system:node:") => "kubelet",
        _ => "kobune",
    }
}

/// What the server shows and believes.
pub struct Keys {
    /// The cluster's authorities.
    pub authorities: Arc<Authorities>,
    /// The administrator's certificate.
    pub administrator: kobune_pki::CertifiedKey,
    api: kobune_pki::CertifiedKey,
    kubelet_client: kobune_pki::CertifiedKey,
}

impl Keys {
    fn load_or_create(settings: &Settings) -> Result<Self> {
        let authorities = Authorities::load_or_create(&settings.paths.tls())?;
        let api = Leaf::server("kube-apiserver", settings.api_names());
        let kubelet_client = Leaf::client("kube-apiserver", &["system:masters"]);
        Ok(Keys {
            administrator: authorities
                .client
                .load_or_issue("client-admin", &kubeconfig::administrator())?,
            api: authorities.server.load_or_issue("serving-kube-apiserver", &api)?,
            kubelet_client: authorities
                .client
                .load_or_issue("client-kube-apiserver", &kubelet_client)?,
            authorities: Arc::new(authorities),
        })
    }

    fn api_config(&self, settings: &Settings) -> Result<kobune_apiserver::Config> {
        let authorities = self.authorities.clone();
        let flags = &settings.flags;
        Ok(kobune_apiserver::Config {
            bind: bind_address(flags),
            advertise: settings.advertise.into(),
            service_cidr: flags.service_cidr.to_string().parse().context("--service-cidr")?,
            node_port_range: flags.service_node_port_range.0.clone(),
            tls: kobune_pki::server_config(
                &self.api,
                authorities.client.certificate_pem(),
                &["h2", "http/1.1"],
            )?,
            kubelet_client_tls: kobune_pki::client_config(
                authorities.server.certificate_pem(),
                Some(&self.kubelet_client),
                &["http/1.1"],
            )?,
            version: format!("{}+kobune{}", version::KUBERNETES, env!("CARGO_PKG_VERSION")),
            issuer: format!("https://kubernetes.default.svc.{}", flags.cluster_domain),
            authorities,
        })
    }
}

fn bind_address(flags: &ServerArgs) -> SocketAddr {
    let address = flags.bind_address.unwrap_or(Ipv4Addr::UNSPECIFIED);
    SocketAddr::from((address, flags.https_listen_port))
}

/// The API's sockets: one, and one on the pods' gateway when they could not reach that.
fn listen(settings: &Settings) -> Result<Vec<TcpListener>> {
    let own = bind_address(&settings.flags);
    let for_pods = settings
        .pods_door
        .map(|door| SocketAddr::from((door, own.port())));
    // The gateway is not there yet when a machine has just started.
    let addresses = std::iter::once((own, false)).chain(for_pods.map(|address| (address, true)));
    let listen = |(address, may_come): (SocketAddr, bool)| {
        listen_on(address, may_come).with_context(|| {
            format!(
                "listening on {address}: choose another with --https-listen-port or --bind-address, or stop \
                 what uses it"
            )
        })
    };
    addresses.map(listen).collect()
}

fn listen_on(address: SocketAddr, may_come: bool) -> std::io::Result<TcpListener> {
    use nix::sys::socket::{setsockopt, sockopt::IpFreebind};
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    setsockopt(&socket, IpFreebind, &may_come)?;
    socket.bind(address)?;
    socket.listen(1024)
}

/// Every connection and every log is a file; the usual soft limit of 1024 is too few.
fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}
