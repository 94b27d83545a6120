//! The node's part of a server: containerd, network, kubelet, DNS.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use kobune_client::Caches;
use kobune_client::k8s_openapi::api::core::v1::Taint;
use kobune_containerd::{Containerd, Proxies};
use kobune_dns::{Dns, DnsConfig};
use kobune_kubelet::KubeletConfig;
use kobune_network::{NodeNetwork, NodeNetworkConfig};
use kobune_pki::{Leaf, SubjectAltName};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::paths::Paths;
use crate::server::{Doors, Keys};
use crate::settings::Settings;
use crate::supervise::Supervisor;
use crate::{preload, version};

/// A runtime that is being connected to (or started) beside everything else.
pub type Starting = JoinHandle<Result<Arc<Containerd>>>;

/// Which containerd, and where what belongs to it lies.
pub fn containerd_config(
    paths: &Paths,
    endpoint: Option<&str>,
    registries: &Path,
) -> kobune_containerd::Config {
    let mut config =
        kobune_containerd::Config::new(paths.agent().join("containerd"), paths.run.join("containerd"));
    config.socket = endpoint.map(|endpoint| endpoint.trim_start_matches("unix://").into());
    config.private = true;
    config.namespace = paths.named("kobune");
    config.registries = Some(registries.to_owned());
    config.proxies = Proxies::from_environment();
    config
}

/// Begins to connect to containerd, and imports the images that lie ready.
pub fn start_runtime(settings: &Settings) -> Option<Starting> {
    if settings.flags.disable_agent {
        return None;
    }
    let flags = &settings.flags;
    let paths = settings.paths.clone();
    let config = containerd_config(
        &paths,
        flags.container_runtime_endpoint.as_deref(),
        &flags.private_registry,
    );
    Some(tokio::spawn(async move {
        let runtime = Containerd::connect_or_start(config)
            .await
            .context("starting containerd")?;
        preload::import(
            &paths.images(),
            &paths.agent().join("imported.json"),
            runtime.as_ref(),
        )
        .await;
        Ok(runtime)
    }))
}

/// Starts the node. The answer is told when the node is Ready.
pub async fn start(
    supervisor: &mut Supervisor,
    settings: &Settings,
    keys: &Keys,
    doors: &Doors,
    caches: Caches,
    runtime: Starting,
) -> Result<oneshot::Receiver<()>> {
    let network = NodeNetwork::start(network_config(settings)?).context("preparing the node's network")?;
    let (links, shared) = (network.clone(), caches.clone());
    supervisor.start("services", |cancel| async move {
        kobune_network::service::run(links, shared, cancel).await;
        Ok(())
    });
    if settings.dns {
        let config = DnsConfig {
            listen: vec![SocketAddr::from((settings.cluster_dns, 53))],
            cluster_domain: settings.flags.cluster_domain.clone(),
            resolv_conf: "/etc/resolv.conf".into(),
        };
        let dns = Dns::bind(config).await?;
        supervisor.start("dns", |cancel| async move {
            dns.run(caches, cancel).await;
            Ok(())
        });
    }
    let runtime = runtime.await.context("starting containerd")??;
    let (is_ready, ready) = oneshot::channel();
    let config = kubelet_config(settings, keys)?;
    let name = &settings.node_name;
    let client = doors.component(&format!("system:node:{name}"), &["system:nodes"]);
    supervisor.start("kubelet", |cancel| async move {
        let own = Caches::new(client.clone(), cancel.clone());
        let outcome =
            kobune_kubelet::run(config, client, own, runtime.clone(), network, is_ready, cancel).await;
        runtime.disconnect();
        Ok(outcome?)
    });
    Ok(ready)
}

fn network_config(settings: &Settings) -> Result<NodeNetworkConfig> {
    let range = |range: crate::values::Cidr| range.to_string().parse::<kobune_network::Cidr>();
    Ok(NodeNetworkConfig {
        cluster_cidr: range(settings.flags.cluster_cidr).context("--cluster-cidr")?,
        service_cidr: range(settings.flags.service_cidr).context("--service-cidr")?,
        pod_cidr: range(settings.pod_cidr).context("--cluster-cidr")?,
        node_ip: settings.node_ip,
        cluster_dns: settings.dns.then_some(settings.cluster_dns),
        bridge: NodeNetworkConfig::bridge_for(&settings.paths.instance),
        state_dir: settings.paths.agent().join("network"),
        instance: settings.paths.instance.clone(),
        mtu: None,
    })
}

fn kubelet_config(settings: &Settings, keys: &Keys) -> Result<KubeletConfig> {
    let name = &settings.node_name;
    let names = vec![
        SubjectAltName::Name(name.clone()),
        SubjectAltName::Address(settings.node_ip.into()),
        SubjectAltName::parse("127.0.0.1"),
    ];
    let serving = Leaf::server(&format!("system:node:{name}"), names);
    let serving = keys
        .authorities
        .server
        .load_or_issue("serving-kubelet", &serving)?;
    let authority = keys.authorities.client.certificate_pem();
    let labels = settings
        .flags
        .node_label
        .iter()
        .map(|label| (label.key.clone(), label.value.clone()));
    let taints = settings.flags.node_taint.iter().map(|taint| Taint {
        key: taint.key.clone(),
        value: (!taint.value.is_empty()).then(|| taint.value.clone()),
        effect: taint.effect.clone(),
        time_added: None,
    });
    Ok(KubeletConfig {
        labels: labels.collect::<BTreeMap<_, _>>(),
        taints: taints.collect(),
        root_dir: settings.paths.agent().join("kubelet"),
        cluster_dns: vec![settings.cluster_dns.into()],
        cluster_domain: settings.flags.cluster_domain.clone(),
        tls: Some(kobune_pki::server_config(&serving, authority, &["http/1.1"])?),
        port: kubelet_port(settings)?,
        instance: settings.paths.instance.clone(),
        version: format!("{}+kobune{}", version::KUBERNETES, env!("CARGO_PKG_VERSION")),
        pod_cidr: Some(settings.pod_cidr.to_string()),
        ..KubeletConfig::new(name.clone(), settings.node_ip.into())
    })
}

/// 10250, or any free port when another server of this machine has that one. The Node says which.
fn kubelet_port(settings: &Settings) -> Result<u16> {
    let usual = (settings.node_ip, 10250);
    let free = TcpListener::bind(usual).or_else(|_| TcpListener::bind((settings.node_ip, 0)));
    let address = free.and_then(|listener| listener.local_addr());
    Ok(address
        .with_context(|| format!("listening on {}: is --node-ip this machine's?", settings.node_ip))?
        .port())
}
