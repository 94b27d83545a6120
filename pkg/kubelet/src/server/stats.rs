//! `/stats/summary`: CPU and memory of the node and its containers.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kobune_runtime::{Container, ContainerState, Stats};
use serde_json::{Value, json};

use crate::context::Context;
use crate::node::machine::{Disk, memory_available};

/// The summary as upstream's `stats.k8s.io/v1alpha1`.
pub async fn summary(context: &Context) -> Value {
    let now = Timestamp::now();
    let containers = context.runtime.containers().await.unwrap_or_default();
    let mut pods: BTreeMap<String, (Container, Vec<Value>)> = BTreeMap::new();
    for container in containers {
        let ContainerState::Running { started_at, .. } = container.state else {
            continue;
        };
        let Ok(stats) = context.runtime.stats(&container.id).await else {
            continue;
        };
        let value = json!({
            "name": container.name,
            "startTime": whole_seconds(started_at),
            "cpu": cpu(&stats, now),
            "memory": memory(&stats, now),
            "rootfs": {"time": whole_seconds(now), "usedBytes": stats.writable_layer_bytes},
        });
        let entry = pods
            .entry(container.sandbox_id.clone())
            .or_insert_with(|| (container, Vec::new()));
        entry.1.push(value);
    }
    let pods: Vec<Value> = pods
        .into_iter()
        .map(|(uid, (c, containers))| {
            json!({"podRef": {"name": c.pod_name, "namespace": c.pod_namespace, "uid": uid},
                "containers": containers})
        })
        .collect();
    json!({"node": node(context, now), "pods": pods})
}

fn whole_seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn cpu(stats: &Stats, now: Timestamp) -> Value {
    json!({"time": whole_seconds(now), "usageCoreNanoSeconds": stats.cpu_usage_ns})
}

fn memory(stats: &Stats, now: Timestamp) -> Value {
    json!({"time": whole_seconds(now), "usageBytes": stats.memory_usage,
        "workingSetBytes": stats.memory_working_set, "rssBytes": stats.memory_rss})
}

fn node(context: &Context, now: Timestamp) -> Value {
    let available = memory_available();
    let total = u64::try_from(context.memory).unwrap_or(0);
    let disk = Disk::of(&context.config.root_dir);
    let fs = disk.map(|d| {
        json!({"time": whole_seconds(now), "availableBytes": d.available, "capacityBytes": d.capacity,
            "usedBytes": d.capacity.saturating_sub(d.available), "inodes": d.inodes, "inodesFree": d.inodes_free})
    });
    json!({
        "nodeName": context.config.node_name,
        "cpu": {"time": whole_seconds(now), "usageCoreNanoSeconds": node_cpu_ns()},
        "memory": {"time": whole_seconds(now), "availableBytes": available,
            "workingSetBytes": total.saturating_sub(available)},
        "fs": fs,
    })
}

/// CPU time of the whole machine since its start, idle time not counted.
fn node_cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let Some(line) = stat.lines().next().and_then(|l| l.strip_prefix("cpu ")) else {
        return 0;
    };
    let ticks: Vec<u64> = line.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal: in hundredths of a second.
    let busy: u64 = ticks
        .iter()
        .enumerate()
        .filter(|(i, _)| *i < 8 && *i != 3 && *i != 4)
        .map(|(_, t)| t)
        .sum();
    busy * 10_000_000
}
