//! The network of this node, as the kubelet and the Service loop use it.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::address::Pool;
use crate::link::{self, Links, PodLink, Route};
use crate::ruleset::Ruleset;
use crate::service::plan::ServicePlan;
use crate::{Cidr, HostPort, NetworkError, NodeNetworkConfig, namespace, sysctl};

const DEFAULT_MTU: u32 = 1500;

/// A pod's place in the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodAddress {
    /// The pod's address.
    pub ip: Ipv4Addr,
    /// The node's address, where the pod sends everything.
    pub gateway: Ipv4Addr,
    /// Leading bits of the pod's own network: 32, it is alone.
    pub prefix: u8,
    /// The interface in the pod.
    pub interface: String,
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// The pair's end on the node, a port of the bridge.
    pub host_interface: String,
}

/// The bridge, the pods' links and addresses, and the packet rules of this node.
///
/// All operations can be repeated, and called for several pods at once. They block in the kernel for
/// some milliseconds and so run on tokio's blocking threads.
#[derive(Debug)]
pub struct NodeNetwork {
    config: NodeNetworkConfig,
    bridge_index: u32,
    mtu: u32,
    links: Mutex<Links>,
    pool: Mutex<Pool>,
    ruleset: Mutex<Ruleset>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What the locks guard is consistent after every step, so a panic in between changes nothing.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl NodeNetwork {
    /// Makes the bridge, its addresses and routes and the packet rules in the calling thread's network
    /// namespace, or takes over what an earlier run left. Pods that run keep their links, addresses,
    /// connections and Services. Blocks for a few milliseconds.
    pub fn start(config: NodeNetworkConfig) -> Result<Arc<Self>, NetworkError> {
        check(&config)?;
        let (pool, dropped) = Pool::open(&config.state_dir, config.pod_cidr)?;
        let mut links = Links::open().map_err(NetworkError::link("opening the rtnetlink socket"))?;
        let dropped: Vec<_> = dropped.iter().map(|pod| link::host_name(pod)).collect();
        links
            .remove(dropped.iter().map(String::as_str))
            .map_err(NetworkError::link("removing links without an address"))?;
        let mtu = match config.mtu {
            Some(mtu) => mtu,
            None => links
                .uplink_mtu()
                .map_err(NetworkError::link("looking for the default route"))?
                .unwrap_or(DEFAULT_MTU),
        };
        let bridge_index = links
            .set_up_bridge(
                &config,
                link::mac(config.gateway()),
                mtu,
                pool.records().map(|record| record.address),
            )
            .map_err(NetworkError::link(format!("making the bridge {}", config.bridge)))?;
        switch_on(&config.bridge)?;
        let noted = pool
            .records()
            .map(|record| (&*record.pod, record.address, &*record.host_ports));
        let ruleset = Ruleset::open(&config, noted)?;
        Ok(Arc::new(Self {
            config,
            bridge_index,
            mtu,
            links: Mutex::new(links),
            pool: Mutex::new(pool),
            ruleset: Mutex::new(ruleset),
        }))
    }

    /// What it was made from.
    pub fn config(&self) -> &NodeNetworkConfig {
        &self.config
    }

    /// Largest packet of the pods' interfaces, in bytes.
    pub fn mtu(&self) -> u32 {
        self.mtu
    }

    /// Gives a pod its address and links its network namespace (a pinned one) to the node. `name` is
    /// for humans only: `ip link` shows it at the node's end. A pod that is attached keeps all it has.
    pub async fn attach(
        self: &Arc<Self>,
        pod_uid: &str,
        netns: &Path,
        name: &str,
    ) -> Result<PodAddress, NetworkError> {
        let (pod_uid, netns, name) = (pod_uid.to_owned(), netns.to_owned(), name.to_owned());
        self.blocking("attaching a pod", move |network| {
            network.attach_now(&pod_uid, &netns, &name)
        })
        .await
    }

    fn attach_now(&self, pod_uid: &str, netns: &Path, name: &str) -> Result<PodAddress, NetworkError> {
        let doing = || NetworkError::link(format!("linking pod {pod_uid} in {}", netns.display()));
        let namespace = namespace::open(netns).map_err(doing())?;
        let address = lock(&self.pool).allocate(pod_uid)?;
        let host_interface = link::host_name(pod_uid);
        let gateway = self.config.gateway();
        PodLink {
            host_name: &host_interface,
            namespace: &namespace,
            address,
            gateway,
            mtu: self.mtu,
            bridge_index: self.bridge_index,
            alias: name,
        }
        .set_up(&self.links)
        .map_err(doing())?;
        Ok(PodAddress {
            ip: address,
            gateway,
            prefix: 32,
            interface: link::POD_INTERFACE.to_owned(),
            mac: link::mac(address),
            host_interface,
        })
    }

    /// Removes a pod's link and host ports and frees its address, whether its namespace is still there
    /// or not.
    pub async fn detach(self: &Arc<Self>, pod_uid: &str, _netns: Option<&Path>) -> Result<(), NetworkError> {
        let pod_uid = pod_uid.to_owned();
        self.blocking("detaching a pod", move |network| network.detach_now(&pod_uid))
            .await
    }

    /// The address is freed last: until then nobody else can get it.
    fn detach_now(&self, pod_uid: &str) -> Result<(), NetworkError> {
        lock(&self.ruleset).set_host_ports(pod_uid, Ipv4Addr::UNSPECIFIED, &[])?;
        let route = lock(&self.pool)
            .address(pod_uid)
            .map(|address| Route::to_pod(address, self.bridge_index, self.config.gateway()));
        link::lock(&self.links)
            .remove_pod(&link::host_name(pod_uid), route)
            .map_err(NetworkError::link(format!("removing the link of pod {pod_uid}")))?;
        lock(&self.pool).release(pod_uid)
    }

    /// Detaches every pod that is not among these: what a crash left behind.
    pub async fn retain(self: &Arc<Self>, alive: &HashSet<String>) -> Result<(), NetworkError> {
        let alive = alive.clone();
        self.blocking("detaching dead pods", move |network| {
            let pods: Vec<_> = lock(&network.pool)
                .records()
                .map(|record| record.pod.clone())
                .collect();
            pods.iter()
                .filter(|pod| !alive.contains(*pod))
                .try_for_each(|pod| network.detach_now(pod))
        })
        .await
    }

    /// Sets the ports of the node that lead to an attached pod; they are kept over restarts of kobune
    /// and go when the pod is detached. A port that another pod has is an error.
    pub async fn set_host_ports(
        self: &Arc<Self>,
        pod_uid: &str,
        ip: Ipv4Addr,
        ports: Vec<HostPort>,
    ) -> Result<(), NetworkError> {
        let pod_uid = pod_uid.to_owned();
        self.blocking("setting host ports", move |network| {
            lock(&network.ruleset).set_host_ports(&pod_uid, ip, &ports)?;
            lock(&network.pool).set_host_ports(&pod_uid, ports)
        })
        .await
    }

    /// Removes everything: links, bridge, routes, rules, records. Of pods that still run, too.
    pub async fn remove_all(self: &Arc<Self>) -> Result<(), NetworkError> {
        self.blocking("removing the network", |network| {
            lock(&network.ruleset).remove()?;
            let mut pool = lock(&network.pool);
            let names: Vec<_> = pool
                .records()
                .map(|record| link::host_name(&record.pod))
                .collect();
            let mut links = link::lock(&network.links);
            links
                .remove(names.iter().map(String::as_str))
                .and_then(|()| links.remove_bridge(&network.config))
                .map_err(NetworkError::link(format!(
                    "removing the bridge {}",
                    network.config.bridge
                )))?;
            pool.clear()
        })
        .await
    }

    /// Applies the plans of Services (`namespace/name`); with `whole`, of all there are. An empty plan takes
    /// a Service back. [`crate::service::run`] does this.
    pub async fn set_services(
        self: &Arc<Self>,
        plans: Vec<(Arc<str>, ServicePlan)>,
        whole: bool,
    ) -> Result<(), NetworkError> {
        self.blocking("changing Services", move |network| {
            lock(&network.ruleset).set_services(plans, whole)
        })
        .await
    }

    /// Sets the ranges that ServiceCIDR objects add to the configured one: packets to their addresses that no
    /// Service has are rejected too. [`crate::service::run`] does this, before it sets the Services.
    pub async fn set_further_service_cidrs(self: &Arc<Self>, ranges: Vec<Cidr>) -> Result<(), NetworkError> {
        self.blocking("changing the ranges of Services", move |network| {
            lock(&network.ruleset).set_further_service_cidrs(ranges)
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        doing: &'static str,
        work: impl FnOnce(&Self) -> Result<T, NetworkError> + Send + 'static,
    ) -> Result<T, NetworkError> {
        let network = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || work(&network)).await;
        done.unwrap_or(Err(NetworkError::Aborted(doing)))
    }
}

fn check(config: &NodeNetworkConfig) -> Result<(), NetworkError> {
    let wrong = |what: String| Err(NetworkError::Config(what));
    if config.bridge.is_empty() || config.bridge.len() > 15 || config.bridge.contains(['/', ' ']) {
        return wrong(format!(
            "{:?} cannot be a bridge's name: 1 to 15 bytes, no slash or space",
            config.bridge
        ));
    }
    if !config.cluster_cidr.contains(config.pod_cidr.network())
        || config.pod_cidr.prefix() < config.cluster_cidr.prefix()
    {
        return wrong(format!(
            "pod range {} is not in {}",
            config.pod_cidr, config.cluster_cidr
        ));
    }
    if config.pod_cidr.prefix() > 30 {
        return wrong(format!("pod range {} has no room for pods", config.pod_cidr));
    }
    let (pods, services) = (config.cluster_cidr, config.service_cidr);
    if pods.contains(services.network()) || services.contains(pods.network()) {
        return wrong(format!("pod range {pods} and Service range {services} overlap"));
    }
    if let Some(dns) = config.cluster_dns.filter(|dns| !services.contains(*dns)) {
        return wrong(format!(
            "cluster DNS address {dns} is not in the Service range {services}"
        ));
    }
    Ok(())
}

/// Kernel switches of the node.
fn switch_on(bridge: &str) -> Result<(), NetworkError> {
    sysctl::set("ipv4/ip_forward", "1").map_err(NetworkError::link("switching on IP forwarding"))?;
    // Node ports at 127.0.0.1; from-pods in the rules keeps pods out.
    sysctl::set_if_there(&format!("ipv4/conf/{bridge}/route_localnet"), "1");
    // Pods of this node reach each other through their gateway, on purpose. `all` and a link's own switch
    // are or-ed, so the other links go on as they did. (The rules drop redirects too, but a redirect sent
    // to be dropped uses up what the kernel allows of other ICMP errors.)
    sysctl::set_if_there(&format!("ipv4/conf/{bridge}/send_redirects"), "0");
    sysctl::set_if_there("ipv4/conf/all/send_redirects", "0");
    Ok(())
}
