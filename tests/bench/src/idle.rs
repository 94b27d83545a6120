//! An idle cluster: memory, CPU and disk writes of its processes over a minute.

use std::time::Duration;

use kobune_test_support::{Cluster, Options};
use serde_json::{Map, Value, json};

use crate::process::{percent, tree, usage};
use crate::round;

/// How long the cluster is left alone before and while it is looked at.
const SETTLE: Duration = Duration::from_secs(30);
const WATCH: Duration = Duration::from_secs(60);

/// A fresh cluster with its node, nothing running on it.
pub fn measure() -> Value {
    let cluster = Cluster::start(&Options::default());
    std::thread::sleep(SETTLE);
    let processes = tree(cluster.pid(), &cluster.data());
    let before: Vec<_> = processes.keys().map(|pid| usage(*pid)).collect();
    std::thread::sleep(WATCH);
    let mut rows = Map::new();
    for ((pid, name), before) in processes.iter().zip(before) {
        let after = usage(*pid);
        let row = json!({
            "rss_mib": round(after.rss as f64 / f64::from(1 << 20)),
            "pss_mib": round(after.pss as f64 / f64::from(1 << 20)),
            "cpu_percent": round(percent(after.ticks - before.ticks, WATCH.as_secs_f64())),
            "bytes_written": after.written - before.written,
        });
        rows.insert(format!("{name}-{pid}"), row);
    }
    Value::Object(rows)
}
