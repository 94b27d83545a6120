//! QoS class, cgroup figures and OOM scores.

use std::collections::BTreeMap;

use kobune_client::k8s_openapi::api::core::v1::{Container, ResourceRequirements};
use kobune_client::k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kobune_runtime::Resources;

use super::amount;
use super::desired::{Desired, Role};

const MIN_SHARES: i64 = 2;
const MAX_SHARES: i64 = 262_144;
const PERIOD: i64 = 100_000;
const MIN_QUOTA: i64 = 1_000;
const GUARANTEED_SCORE: i64 = -997;
const SYSTEM_CRITICAL: i32 = 2_000_000_000;

/// `status.qosClass`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qos {
    /// Every container has CPU and memory limits, equal to its requests.
    Guaranteed,
    /// Some request or limit.
    Burstable,
    /// None at all.
    BestEffort,
}

impl Qos {
    /// As in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Qos::Guaranteed => "Guaranteed",
            Qos::Burstable => "Burstable",
            Qos::BestEffort => "BestEffort",
        }
    }
}

type List = BTreeMap<String, Quantity>;

fn positive(list: Option<&List>, name: &str, read: fn(&Quantity) -> i64) -> Option<i64> {
    list.and_then(|l| l.get(name)).map(read).filter(|v| *v > 0)
}

fn lists(r: Option<&ResourceRequirements>) -> (Option<&List>, Option<&List>) {
    (requests_of(r), limits_of(r))
}

fn requests_of(r: Option<&ResourceRequirements>) -> Option<&List> {
    r.and_then(|r| r.requests.as_ref())
}

fn limits_of(r: Option<&ResourceRequirements>) -> Option<&List> {
    r.and_then(|r| r.limits.as_ref())
}

/// The pod's QoS class.
pub fn qos(pod: &Desired) -> Qos {
    if let Some(level) = &pod.spec().resources {
        return of_all([Some(level)].into_iter());
    }
    let all = pod.containers().filter(|(role, _)| *role != Role::Ephemeral);
    of_all(all.map(|(_, c)| c.resources.as_ref()))
}

fn of_all<'a>(all: impl Iterator<Item = Option<&'a ResourceRequirements>>) -> Qos {
    let (mut guaranteed, mut any) = (true, false);
    for resources in all {
        let (requests, limits) = lists(resources);
        for (name, read) in [
            ("cpu", amount::milli as fn(&Quantity) -> i64),
            ("memory", amount::value),
        ] {
            let limit = positive(limits, name, read);
            // The API server sets a missing request to the limit.
            let request = positive(requests, name, read).or(limit);
            any |= limit.is_some() || request.is_some();
            guaranteed &= limit.is_some() && request == limit;
        }
    }
    match (any, guaranteed) {
        (false, _) => Qos::BestEffort,
        (true, true) => Qos::Guaranteed,
        (true, false) => Qos::Burstable,
    }
}

/// `cpu.shares` for thousandths of a CPU.
pub fn shares(milli: i64) -> u64 {
    (milli * 1024 / 1000).clamp(MIN_SHARES, MAX_SHARES).unsigned_abs()
}

/// CFS quota in microseconds of each 100 ms for thousandths of a CPU.
pub fn quota(milli: i64) -> i64 {
    (milli * PERIOD / 1000).max(MIN_QUOTA)
}

/// One container's cgroup. `node_memory` is the node's capacity in bytes.
pub fn container(pod: &Desired, role: Role, container: &Container, node_memory: i64) -> Resources {
    let (requests, limits) = lists(container.resources.as_ref());
    let cpu_limit = positive(limits, "cpu", amount::milli);
    let cpu_request = positive(requests, "cpu", amount::milli)
        .or(cpu_limit)
        .unwrap_or(0);
    Resources {
        cpu_shares: Some(shares(cpu_request)),
        cpu_quota: cpu_limit.map(quota),
        cpu_period: cpu_limit.map(|_| PERIOD.unsigned_abs()),
        memory_limit: positive(limits, "memory", amount::value),
        oom_score_adj: Some(oom_score(pod, role, container, node_memory)),
        ..Resources::default()
    }
}

/// How likely the kernel's OOM killer chooses the container: less with more memory requested.
fn oom_score(pod: &Desired, role: Role, container: &Container, node_memory: i64) -> i32 {
    if pod.spec().priority.unwrap_or(0) >= SYSTEM_CRITICAL {
        return GUARANTEED_SCORE as i32;
    }
    let class = qos(pod);
    let own = |c: &Container| -> i64 {
        match class {
            Qos::Guaranteed => GUARANTEED_SCORE,
            Qos::BestEffort => 1000,
            Qos::Burstable => {
                let (requests, limits) = lists(c.resources.as_ref());
                let request = positive(requests, "memory", amount::value)
                    .or(positive(limits, "memory", amount::value))
                    .unwrap_or(0);
                let score = 1000 - 1000 * request / node_memory.max(1);
                score.clamp(1000 + GUARANTEED_SCORE, 999)
            }
        }
    };
    let mut score = own(container);
    if role == Role::Sidecar {
        // A sidecar is not killed before the containers it serves.
        score = pod.main().iter().map(own).fold(score, i64::min);
    }
    i32::try_from(score).unwrap_or(1000)
}

/// The pod's own cgroup: sums over its containers; a limit only when every container has one.
pub fn pod_level(pod: &Desired) -> Resources {
    let read =
        |kind: fn(Option<&ResourceRequirements>) -> Option<&List>, name: &str, unit: fn(&Quantity) -> i64| {
            if let Some(v) = positive(kind(pod.spec().resources.as_ref()), name, unit) {
                return (v, true);
            }
            effective(pod, |c| positive(kind(c.resources.as_ref()), name, unit))
        };
    let (cpu_request, _) = read(requests_of, "cpu", amount::milli);
    let (cpu_limit, cpu_limited) = read(limits_of, "cpu", amount::milli);
    let (memory_limit, memory_limited) = read(limits_of, "memory", amount::value);
    let cpu_request = if cpu_request == 0 && cpu_limited {
        cpu_limit
    } else {
        cpu_request
    };
    let mut resources = Resources {
        cpu_shares: Some(shares(cpu_request)),
        ..Resources::default()
    };
    if qos(pod) == Qos::BestEffort {
        resources.cpu_shares = Some(MIN_SHARES.unsigned_abs());
    }
    if cpu_limited {
        resources.cpu_quota = Some(quota(cpu_limit));
        resources.cpu_period = Some(PERIOD.unsigned_abs());
    }
    if memory_limited {
        resources.memory_limit = Some(memory_limit);
    }
    resources
}

/// (the pod's effective amount: main containers and sidecars together, or the largest init
/// container with the sidecars before it; whether every container states it)
fn effective(pod: &Desired, amount: impl Fn(&Container) -> Option<i64>) -> (i64, bool) {
    let mut all = true;
    let mut read = |c: &Container| {
        let v = amount(c);
        all &= v.is_some();
        v.unwrap_or(0)
    };
    let mut sum: i64 = pod.main().iter().map(&mut read).sum();
    let (mut sidecars, mut peak) = (0, 0);
    for c in pod.init() {
        let v = read(c);
        if super::desired::init_role(c) == Role::Sidecar {
            sidecars += v;
            peak = peak.max(sidecars);
        } else {
            peak = peak.max(sidecars + v);
        }
    }
    sum += sidecars;
    (sum.max(peak), all)
}

/// The pod's cgroup below `root`: `/kubepods/burstable/pod<uid>`.
pub fn cgroup_path(root: &str, pod: &Desired) -> String {
    match qos(pod) {
        Qos::Guaranteed => format!("{root}/pod{}", pod.uid()),
        Qos::Burstable => format!("{root}/burstable/pod{}", pod.uid()),
        Qos::BestEffort => format!("{root}/besteffort/pod{}", pod.uid()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::desired::tests::pod;
    use super::*;
    use serde_json::json;

    fn with(resources: serde_json::Value) -> Desired {
        pod(json!({"spec": {"containers": [{"name": "a", "image": "x", "resources": resources}]}}))
    }

    #[test]
    fn the_class_follows_requests_and_limits() {
        assert_eq!(qos(&with(json!({}))), Qos::BestEffort);
        assert_eq!(qos(&with(json!({"requests": {"cpu": "1"}}))), Qos::Burstable);
        assert_eq!(
            qos(&with(json!({"limits": {"cpu": "1", "memory": "1Gi"}}))),
            Qos::Guaranteed
        );
        let less = json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}});
        assert_eq!(qos(&with(less)), Qos::Burstable);
    }

    #[test]
    fn cgroup_figures_are_the_kubelets() {
        let p = with(
            json!({"limits": {"cpu": "500m", "memory": "64Mi"}, "requests": {"cpu": "100m", "memory": "64Mi"}}),
        );
        let r = container(&p, Role::Main, &p.main()[0], 64 << 30);
        assert_eq!(r.cpu_shares, Some(102));
        assert_eq!((r.cpu_quota, r.cpu_period), (Some(50_000), Some(100_000)));
        assert_eq!(r.memory_limit, Some(64 << 20));
        assert_eq!(r.oom_score_adj, Some(999));
        let whole = pod_level(&p);
        assert_eq!(
            (whole.cpu_quota, whole.memory_limit),
            (Some(50_000), Some(64 << 20))
        );
        let p = with(json!({}));
        let r = container(&p, Role::Main, &p.main()[0], 64 << 30);
        assert_eq!(
            (r.cpu_shares, r.cpu_quota, r.oom_score_adj),
            (Some(2), None, Some(1000))
        );
    }

    #[test]
    fn a_pod_is_limited_only_when_each_container_is() {
        let p = pod(json!({"spec": {"containers": [
            {"name": "a", "image": "x", "resources": {"limits": {"memory": "1Gi"}}},
            {"name": "b", "image": "x"}]}}));
        assert_eq!(pod_level(&p).memory_limit, None);
    }

    #[test]
    fn a_critical_pod_is_killed_last() {
        let p = pod(json!({"spec": {"priority": 2_000_001_000}}));
        assert_eq!(
            container(&p, Role::Main, &p.main()[0], 1).oom_score_adj,
            Some(-997)
        );
    }

    #[test]
    fn cgroups_lie_under_their_class() {
        assert_eq!(
            cgroup_path("/kubepods", &with(json!({}))),
            "/kubepods/besteffort/podu1"
        );
    }
}
