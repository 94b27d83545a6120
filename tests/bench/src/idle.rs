//! An idle cluster: memory, CPU and disk writes of its processes over a minute.

use std::time::Duration;

use kobune_test_support::{Cluster, Options};
use serde_json::{Map, Value, json};

use crate::process::{percent, tree, usage};
use crate::{mebibytes, round};

/// How long the cluster is left alone before and while it is looked at.
const SETTLE: Duration = Duration::from_secs(30);
const WATCH: Duration = Duration::from_secs(60);

/// A fresh cluster with its node, nothing running on it: each process, and what they wrote together.
pub fn measure() -> Value {
    let cluster = Cluster::start(&Options::default());
    std::thread::sleep(SETTLE);
    let processes = tree(cluster.pid(), &cluster.data());
    let before: Vec<_> = processes.keys().map(|pid| usage(*pid)).collect();
    std::thread::sleep(WATCH);
    let mut rows = Map::new();
    let mut written = 0;
    for ((pid, name), before) in processes.iter().zip(before) {
        let after = usage(*pid);
        let row = json!({
            "rss_mib": mebibytes(after.rss),
            "pss_mib": mebibytes(after.pss),
            "cpu_percent": round(percent(after.ticks - before.ticks, WATCH.as_secs_f64())),
            "bytes_written": after.written - before.written,
        });
        written += after.written - before.written;
        let name = if *pid == cluster.pid() {
            "kobune".to_owned()
        } else {
            format!("{name}-{pid}")
        };
        rows.insert(name, row);
    }
    rows.insert("bytes_written".to_owned(), json!(written));
    Value::Object(rows)
}
