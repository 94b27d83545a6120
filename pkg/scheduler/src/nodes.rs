//! The cluster as the scheduler sees it: nodes, and on each the pods that are there or assumed to be.
//!
//! An assumed pod counts from the moment its place is decided, before the API server has heard of it, so
//! that the next pod of a burst is placed right without waiting.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kobune_client::Key;
use kobune_client::k8s_openapi::api::core::v1::{Node, Pod};

use crate::request::{self, Amounts, Request};

/// A port of the host that a pod occupies.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// The address, `0.0.0.0` for all.
    pub ip: String,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// The port.
    pub port: i32,
}

/// One node and what is on it.
#[derive(Debug, Default)]
pub struct NodeInfo {
    /// The Node; `None` while only its pods are known.
    pub node: Option<Arc<Node>>,
    /// What pods may use.
    pub allocatable: Amounts,
    /// How many pods it takes.
    pub allowed_pods: i64,
    /// What its pods asked for.
    pub requested: Amounts,
    /// CPU (thousandths) and memory (bytes) for scoring.
    pub assumed: (i64, i64),
    /// How many pods it has.
    pub pods: i64,
    /// Ports of the host that are taken.
    pub ports: Vec<HostPort>,
    /// Images it has, with their sizes in bytes.
    pub images: HashMap<String, i64>,
}

impl NodeInfo {
    /// The node's name.
    pub fn name(&self) -> &str {
        self.node
            .as_ref()
            .and_then(|node| node.metadata.name.as_deref())
            .unwrap_or_default()
    }

    fn set_node(&mut self, node: Arc<Node>) {
        let status = node.status.as_ref();
        let list = status.and_then(|status| status.allocatable.as_ref().or(status.capacity.as_ref()));
        self.allocatable = list.map(Amounts::of).unwrap_or_default();
        let pods = list.and_then(|list| kobune_api::quantity::Quantity::parse(&list.get("pods")?.0).ok());
        self.allowed_pods = pods.map(|pods| pods.value()).unwrap_or_default();
        let images = status
            .and_then(|status| status.images.as_deref())
            .unwrap_or_default();
        self.images = images
            .iter()
            .flat_map(|image| {
                image
                    .names
                    .iter()
                    .flatten()
                    .map(|name| (name.clone(), image.size_bytes.unwrap_or_default()))
            })
            .collect();
        self.node = Some(node);
    }

    fn put(&mut self, placed: &Placed) {
        self.requested.add(&placed.request.exact);
        self.assumed.0 += placed.request.assumed.0;
        self.assumed.1 += placed.request.assumed.1;
        self.pods += 1;
        self.ports.extend(placed.ports.iter().cloned());
    }

    fn take(&mut self, placed: &Placed) {
        self.requested.subtract(&placed.request.exact);
        self.assumed.0 -= placed.request.assumed.0;
        self.assumed.1 -= placed.request.assumed.1;
        self.pods -= 1;
        for port in &placed.ports {
            if let Some(index) = self.ports.iter().position(|taken| taken == port) {
                self.ports.swap_remove(index);
            }
        }
    }
}

#[derive(Debug)]
struct Placed {
    uid: Option<String>,
    node: String,
    request: Request,
    ports: Vec<HostPort>,
    assumed: bool,
}

/// All nodes and all placed pods.
#[derive(Debug, Default)]
pub struct Nodes {
    nodes: BTreeMap<String, NodeInfo>,
    placed: HashMap<Key, Placed>,
}

impl Nodes {
    /// The nodes that exist, by name.
    pub fn iter(&self) -> impl Iterator<Item = &NodeInfo> {
        self.nodes.values().filter(|info| info.node.is_some())
    }

    /// One node.
    pub fn get(&self, name: &str) -> Option<&NodeInfo> {
        self.nodes.get(name).filter(|info| info.node.is_some())
    }

    /// A node is new or changed.
    pub fn set_node(&mut self, node: Arc<Node>) {
        let name = node.metadata.name.clone().unwrap_or_default();
        self.nodes.entry(name).or_default().set_node(node);
    }

    /// A node is gone; its pods are remembered until they go too.
    pub fn remove_node(&mut self, name: &str) {
        if let Some(info) = self.nodes.get_mut(name) {
            info.node = None;
            if info.pods == 0 {
                self.nodes.remove(name);
            }
        }
    }

    /// The pod is on this node as far as we are concerned, until the API server confirms or refuses.
    pub fn assume(&mut self, pod: &Pod, node: &str) {
        self.place(pod, node.to_owned(), true);
    }

    /// The API server refused the place.
    pub fn forget(&mut self, key: &Key) {
        if self.is_assumed(key) {
            self.remove_pod(key);
        }
    }

    /// Whether the pod has a place that is not confirmed yet.
    pub fn is_assumed(&self, key: &Key) -> bool {
        self.placed.get(key).is_some_and(|placed| placed.assumed)
    }

    /// A pod that has a node, as the watch shows it.
    pub fn confirm(&mut self, pod: &Pod, node: &str) {
        let key = Key::of(pod);
        if let Some(placed) = self.placed.get_mut(&key)
            && placed.uid == pod.metadata.uid
            && placed.node == node
            && placed.assumed
        {
            // What is asked cannot have changed since we decided.
            placed.assumed = false;
            return;
        }
        self.place(pod, node.to_owned(), false);
    }

    /// The pod is gone or has ended. Answers the node it freed.
    pub fn remove_pod(&mut self, key: &Key) -> Option<String> {
        let placed = self.placed.remove(key)?;
        let info = self.nodes.get_mut(&placed.node)?;
        info.take(&placed);
        if info.node.is_none() && info.pods == 0 {
            self.nodes.remove(&placed.node);
        }
        Some(placed.node)
    }

    fn place(&mut self, pod: &Pod, node: String, assumed: bool) {
        let key = Key::of(pod);
        self.remove_pod(&key);
        let placed = Placed {
            uid: pod.metadata.uid.clone(),
            request: request::of(pod),
            ports: host_ports(pod),
            node,
            assumed,
        };
        self.nodes.entry(placed.node.clone()).or_default().put(&placed);
        self.placed.insert(key, placed);
    }
}

/// The host ports of a pod's containers and sidecars.
pub fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let sidecars = spec
        .init_containers
        .iter()
        .flatten()
        .filter(|container| container.restart_policy.as_deref() == Some("Always"));
    spec.containers
        .iter()
        .chain(sidecars)
        .flat_map(|container| container.ports.iter().flatten())
        .filter_map(|port| {
            let number = port.host_port.filter(|port| *port > 0)?;
            Some(HostPort {
                ip: port
                    .host_ip
                    .clone()
                    .filter(|ip| !ip.is_empty())
                    .unwrap_or_else(|| "0.0.0.0".into()),
                protocol: port.protocol.clone().unwrap_or_else(|| "TCP".into()),
                port: number,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_objects::{node, pod};
    use serde_json::json;

    #[test]
    fn an_assumed_pod_is_counted_once_when_it_is_confirmed() {
        let mut nodes = Nodes::default();
        nodes.set_node(node("n1", json!({})));
        let pod = pod(
            "a",
            json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]}),
        );
        nodes.assume(&pod, "n1");
        nodes.confirm(&pod, "n1");
        nodes.confirm(&pod, "n1");
        let info = nodes.get("n1").unwrap();
        assert_eq!((info.pods, info.requested.milli_cpu), (1, 1000));
        assert!(!nodes.is_assumed(&Key::of(&*pod)));
    }

    #[test]
    fn a_refused_place_is_free_again() {
        let mut nodes = Nodes::default();
        nodes.set_node(node("n1", json!({})));
        let pod = pod(
            "a",
            json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 80}]}]}),
        );
        nodes.assume(&pod, "n1");
        nodes.forget(&Key::of(&*pod));
        let info = nodes.get("n1").unwrap();
        assert_eq!((info.pods, info.ports.len(), info.assumed), (0, 0, (0, 0)));
    }

    #[test]
    fn a_deleted_node_takes_no_pods_but_its_pods_are_not_lost() {
        let mut nodes = Nodes::default();
        nodes.set_node(node("n1", json!({})));
        nodes.assume(&pod("a", json!({"containers": []})), "n1");
        nodes.remove_node("n1");
        assert_eq!(nodes.iter().count(), 0);
        nodes.set_node(node("n1", json!({})));
        assert_eq!(nodes.get("n1").unwrap().pods, 1);
    }
}
