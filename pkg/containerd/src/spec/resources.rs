//! cgroup limits as runc wants them. Pure.

use kobune_runtime::Resources;
use serde_json::{Map, Value, json};

use super::host::Host;

/// `linux.resources` without devices.
pub(crate) fn limits(resources: &Resources, host: &Host) -> Map<String, Value> {
    let mut out = Map::new();
    let cpu = fields([
        ("shares", resources.cpu_shares.map(Value::from)),
        ("quota", resources.cpu_quota.map(Value::from)),
        ("period", resources.cpu_period.map(Value::from)),
        ("cpus", resources.cpuset_cpus.clone().map(Value::from)),
    ]);
    if !cpu.is_empty() {
        out.insert("cpu".into(), cpu.into());
    }
    if let Some(limit) = resources.memory_limit.filter(|limit| *limit > 0) {
        // Memory and swap together equal to memory: no swap, as the kubelet does by default.
        let swap = host.swap_limit.then(|| Value::from(limit));
        out.insert(
            "memory".into(),
            fields([("limit", Some(limit.into())), ("swap", swap)]).into(),
        );
    }
    if let Some(limit) = resources.pids_limit {
        out.insert("pids".into(), json!({ "limit": limit }));
    }
    if host.cgroup_v2 {
        // The kernel ends the whole container, not one process of it.
        out.insert("unified".into(), json!({ "memory.oom.group": "1" }));
    }
    out
}

fn fields<const N: usize>(pairs: [(&str, Option<Value>); N]) -> Map<String, Value> {
    pairs
        .into_iter()
        .filter_map(|(name, value)| value.map(|value| (name.to_owned(), value)))
        .collect()
}

/// `process.oomScoreAdj` that this process is allowed to set: without CAP_SYS_RESOURCE the kernel
/// refuses to go below one's own score.
pub(crate) fn oom_score(wanted: Option<i32>, host: &Host) -> Option<i32> {
    wanted.map(|score| score.clamp(host.lowest_oom_score, 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_limit_leaves_no_swap() {
        let resources = Resources {
            memory_limit: Some(1 << 20),
            ..Default::default()
        };
        let host = Host {
            swap_limit: true,
            ..Host::default()
        };
        assert_eq!(
            limits(&resources, &host)["memory"],
            json!({ "limit": 1 << 20, "swap": 1 << 20 })
        );
        let host = Host {
            swap_limit: false,
            ..Host::default()
        };
        assert_eq!(limits(&resources, &host)["memory"], json!({ "limit": 1 << 20 }));
    }

    #[test]
    fn an_oom_score_stays_where_the_kernel_allows_it() {
        let host = Host {
            lowest_oom_score: 0,
            ..Host::default()
        };
        assert_eq!(oom_score(Some(-997), &host), Some(0));
        assert_eq!(oom_score(Some(1000), &host), Some(1000));
        assert_eq!(oom_score(None, &host), None);
    }
}
