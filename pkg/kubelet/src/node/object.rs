//! The Node object out of facts. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kobune_client::k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeFeatures,
    NodeRuntimeHandler, NodeRuntimeHandlerFeatures, NodeSpec, NodeStatus, NodeSystemInfo,
};
use kobune_client::k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kobune_client::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kobune_client::kube::api::ObjectMeta;
use kobune_runtime::{Image, Version};

use super::machine::Machine;
use crate::config::KubeletConfig;

/// Images listed in the status, the largest first.
const MAX_IMAGES: usize = 50;
const MAX_IMAGE_NAMES: usize = 5;

/// How the node is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// Why it is not ready; `None` when it is.
    pub not_ready: Option<String>,
    /// Too little memory.
    pub memory_pressure: bool,
    /// Too little room on the disk.
    pub disk_pressure: bool,
    /// Too few process ids.
    pub pid_pressure: bool,
}

/// Labels that every node has, and the configured ones.
pub fn labels(config: &KubeletConfig, machine: &Machine) -> BTreeMap<String, String> {
    let pairs = [
        ("kubernetes.io/arch", machine.architecture.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/hostname", config.node_name.as_str()),
        ("beta.kubernetes.io/arch", machine.architecture.as_str()),
        ("beta.kubernetes.io/os", "linux"),
        ("node.kubernetes.io/instance-type", config.instance_type.as_str()),
        ("beta.kubernetes.io/instance-type", config.instance_type.as_str()),
    ];
    let mut labels: BTreeMap<String, String> = pairs
        .into_iter()
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect();
    labels.extend(config.labels.clone());
    labels
}

/// The whole object, for registration.
pub fn node(config: &KubeletConfig, machine: &Machine, status: NodeStatus) -> Node {
    Node {
        metadata: ObjectMeta {
            name: Some(config.node_name.clone()),
            labels: Some(labels(config, machine)),
            annotations: (!config.annotations.is_empty()).then(|| config.annotations.clone()),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec {
            pod_cidr: config.pod_cidr.clone(),
            pod_cidrs: config.pod_cidr.clone().map(|c| vec![c]),
            taints: (!config.taints.is_empty()).then(|| config.taints.clone()),
            ..NodeSpec::default()
        }),
        status: Some(status),
    }
}

/// What pods can use.
pub fn capacity(config: &KubeletConfig, machine: &Machine) -> BTreeMap<String, Quantity> {
    let pairs = [
        ("cpu", machine.cpus.to_string()),
        ("memory", format!("{}Ki", machine.memory / 1024)),
        ("ephemeral-storage", format!("{}Ki", machine.disk / 1024)),
        ("hugepages-1Gi", "0".into()),
        ("hugepages-2Mi", "0".into()),
        ("pods", config.max_pods.to_string()),
    ];
    pairs
        .into_iter()
        .map(|(k, v)| (k.to_owned(), Quantity(v)))
        .collect()
}

/// The capacity less what the system keeps; of the disk upstream keeps a tenth.
pub fn allocatable(config: &KubeletConfig, machine: &Machine) -> BTreeMap<String, Quantity> {
    let mut amounts = capacity(config, machine);
    amounts.insert(
        "ephemeral-storage".into(),
        Quantity((machine.disk / 10 * 9).to_string()),
    );
    amounts
}

/// The status; conditions keep their transition times from `old`.
pub fn status(
    config: &KubeletConfig,
    machine: &Machine,
    runtime: Option<&Version>,
    images: Option<&[Image]>,
    health: &Health,
    old: Option<&NodeStatus>,
    now: Timestamp,
) -> NodeStatus {
    let address = |type_: &str, address: String| NodeAddress {
        type_: type_.into(),
        address,
    };
    let version = match runtime {
        Some(v) => format!("{}://{}", v.name, v.version),
        None => old
            .and_then(|o| o.node_info.as_ref())
            .map(|i| i.container_runtime_version.clone())
            .unwrap_or_default(),
    };
    NodeStatus {
        addresses: Some(vec![
            address("InternalIP", config.node_ip.to_string()),
            address("Hostname", config.node_name.clone()),
        ]),
        capacity: Some(capacity(config, machine)),
        allocatable: Some(allocatable(config, machine)),
        conditions: Some(conditions(health, old, now)),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint {
                port: i32::from(config.port),
            }),
        }),
        features: Some(NodeFeatures {
            supplemental_groups_policy: Some(true),
        }),
        runtime_handlers: Some(vec![NodeRuntimeHandler {
            // The only one: that of pods without a runtimeClassName.
            name: Some(String::new()),
            features: Some(NodeRuntimeHandlerFeatures {
                recursive_read_only_mounts: Some(true),
                user_namespaces: Some(false),
            }),
        }]),
        images: match images {
            Some(images) => Some(image_list(images)),
            None => old.and_then(|old| old.images.clone()),
        },
        node_info: Some(NodeSystemInfo {
            architecture: machine.architecture.clone(),
            boot_id: machine.boot_id.clone(),
            container_runtime_version: version,
            kernel_version: machine.kernel.clone(),
            kube_proxy_version: String::new(),
            kubelet_version: config.version.clone(),
            machine_id: machine.machine_id.clone(),
            operating_system: "linux".into(),
            os_image: machine.os_image.clone(),
            system_uuid: machine.system_uuid.clone(),
            ..NodeSystemInfo::default()
        }),
        ..NodeStatus::default()
    }
}

fn image_list(images: &[Image]) -> Vec<ContainerImage> {
    let mut sorted: Vec<&Image> = images.iter().collect();
    sorted.sort_by_key(|i| std::cmp::Reverse(i.size));
    let names = |i: &Image| {
        i.digests
            .iter()
            .chain(&i.tags)
            .take(MAX_IMAGE_NAMES)
            .cloned()
            .collect()
    };
    let image = |i: &Image| ContainerImage {
        names: Some(names(i)),
        size_bytes: Some(i64::try_from(i.size).unwrap_or(i64::MAX)),
    };
    sorted.into_iter().take(MAX_IMAGES).map(image).collect()
}

fn conditions(health: &Health, old: Option<&NodeStatus>, now: Timestamp) -> Vec<NodeCondition> {
    let pressure = |type_: &str, bad: bool, reasons: [&str; 2], messages: [&str; 2]| {
        let at = usize::from(bad);
        (
            type_.to_owned(),
            bad,
            reasons[at].to_owned(),
            messages[at].to_owned(),
        )
    };
    let ready = match &health.not_ready {
        None => (
            "Ready".into(),
            true,
            "KubeletReady".into(),
            "kubelet is posting ready status".into(),
        ),
        Some(why) => ("Ready".into(), false, "KubeletNotReady".into(), why.clone()),
    };
    let all = [
        pressure(
            "MemoryPressure",
            health.memory_pressure,
            ["KubeletHasSufficientMemory", "KubeletHasInsufficientMemory"],
            [
                "kubelet has sufficient memory available",
                "kubelet has insufficient memory available",
            ],
        ),
        pressure(
            "DiskPressure",
            health.disk_pressure,
            ["KubeletHasNoDiskPressure", "KubeletHasDiskPressure"],
            ["kubelet has no disk pressure", "kubelet has disk pressure"],
        ),
        pressure(
            "PIDPressure",
            health.pid_pressure,
            ["KubeletHasSufficientPID", "KubeletHasInsufficientPID"],
            [
                "kubelet has sufficient PID available",
                "kubelet has insufficient PID available",
            ],
        ),
        ready,
    ];
    let before = old.and_then(|o| o.conditions.as_deref()).unwrap_or_default();
    let ours = |c: &&NodeCondition| !all.iter().any(|(t, ..)| *t == c.type_);
    let mut list: Vec<NodeCondition> = before.iter().filter(ours).cloned().collect();
    for (type_, bad, reason, message) in all.clone() {
        let status = if bad { "True" } else { "False" };
        let same = before.iter().find(|c| c.type_ == type_ && c.status == status);
        let since = same
            .and_then(|c| c.last_transition_time.clone())
            .unwrap_or(Time(now));
        list.push(NodeCondition {
            type_,
            status: status.into(),
            reason: Some(reason),
            message: Some(message),
            last_heartbeat_time: Some(Time(now)),
            last_transition_time: Some(since),
        });
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            cpus: 2,
            memory: 4 << 30,
            disk: 100 << 30,
            architecture: "amd64".into(),
            ..Default::default()
        }
    }

    #[test]
    fn a_ready_node_says_so_and_keeps_the_time_it_became_so() {
        let config = KubeletConfig::new("n", "10.0.0.1".parse().unwrap());
        let at = |s: i64| Timestamp::from_second(s).unwrap();
        let make = |health: &Health, old: Option<&NodeStatus>, now| {
            status(&config, &machine(), None, Some(&[]), health, old, now)
        };
        let first = make(&Health::default(), None, at(1));
        let second = make(&Health::default(), Some(&first), at(2));
        let ready = |s: &NodeStatus| {
            s.conditions
                .iter()
                .flatten()
                .find(|c| c.type_ == "Ready")
                .unwrap()
                .clone()
        };
        assert_eq!(ready(&second).status, "True");
        assert_eq!(ready(&second).last_transition_time, Some(Time(at(1))));
        let bad = Health {
            not_ready: Some("container runtime is down".into()),
            ..Default::default()
        };
        let third = make(&bad, Some(&second), at(3));
        assert_eq!(
            (ready(&third).status.as_str(), ready(&third).reason.as_deref()),
            ("False", Some("KubeletNotReady"))
        );
        assert_eq!(ready(&third).last_transition_time, Some(Time(at(3))));
    }

    #[test]
    fn labels_and_amounts_are_upstreams() {
        let config = KubeletConfig::new("n", "10.0.0.1".parse().unwrap());
        let l = labels(&config, &machine());
        assert_eq!(l["kubernetes.io/arch"], "amd64");
        assert_eq!(l["kubernetes.io/hostname"], "n");
        assert_eq!(capacity(&config, &machine())["memory"].0, "4194304Ki");
        assert_eq!(allocatable(&config, &machine())["pods"].0, "110");
    }
}
