//! What a write does to a quota: the new `used`, or why it is refused. Pure.

use std::collections::BTreeMap;

use kobune_api::kinds::Kind;
use kobune_api::quantity::Quantity;
use serde_json::Value;

use super::usage::{in_scope, usage};
use crate::amounts::{Amounts, Side, of_container, read, show};
use crate::object::{at, elements};

/// A write, as quotas see it.
#[derive(Clone, Copy)]
pub struct Change<'a> {
    /// What is written.
    pub kind: &'a Kind,
    /// The object before; none for a create.
    pub old: Option<&'a Value>,
    /// The object after; none for a delete.
    pub new: Option<&'a Value>,
    /// Whether the write is refused if it exceeds a quota. What the cluster itself reports is not.
    pub enforced: bool,
}

/// What a quota's `used` becomes, or `None` if it stays. An error says why the write is refused, in
/// upstream's words without the quota's name.
pub fn charge(quota: &Value, change: Change<'_>) -> Result<Option<Amounts>, Refusal> {
    let hard = read(at(quota, &["status", "hard"]));
    let counts = |object: Option<&Value>| match object {
        Some(object) if in_scope(change.kind, quota, object) => usage(change.kind, object),
        _ => Amounts::new(),
    };
    let (before, after) = (counts(change.old), counts(change.new));
    if change.enforced && !after.is_empty() && (change.old.is_none() || before.is_empty()) {
        complete(change, &hard)?;
    }
    let mut used = read(at(quota, &["status", "used"]));
    let (mut requested, mut had) = (Amounts::new(), Amounts::new());
    for name in hard.keys() {
        let amount = |amounts: &Amounts| amounts.get(name).copied().unwrap_or(Quantity::ZERO);
        let more = amount(&after) - amount(&before);
        if more.is_zero() {
            continue;
        }
        had.insert(name.clone(), amount(&used));
        requested.insert(name.clone(), more);
        let sum = amount(&used) + more;
        used.insert(name.clone(), sum.max(Quantity::ZERO));
    }
    if requested.is_empty() {
        return Ok(None);
    }
    let exceeded = |name: &String| requested[name] > Quantity::ZERO && used[name] > hard[name];
    let exceeded: Vec<&String> = requested.keys().filter(|name| exceeded(name)).collect();
    if change.enforced && !exceeded.is_empty() {
        let of = |amounts: &Amounts| {
            exceeded
                .iter()
                .map(|name| ((*name).clone(), amounts[*name]))
                .collect()
        };
        return Err(Refusal::Exceeded {
            requested: of(&requested),
            used: of(&had),
            hard: of(&hard),
        });
    }
    Ok(Some(used))
}

/// Why a write is refused.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A container does not say what a quota counts; what, and which containers.
    Silent(String),
    /// There is not enough left.
    Exceeded {
        /// What the write needs beyond what was there.
        requested: Amounts,
        /// What was used before.
        used: Amounts,
        /// What there is.
        hard: Amounts,
    },
}

impl Refusal {
    /// Upstream's words for a quota of that name.
    pub fn text(&self, quota: &str) -> String {
        match self {
            Refusal::Silent(what) => format!("failed quota: {quota}: must specify {what}"),
            Refusal::Exceeded {
                requested,
                used,
                hard,
            } => format!(
                "exceeded quota: {quota}, requested: {}, used: {}, limited: {}",
                show(requested),
                show(used),
                show(hard)
            ),
        }
    }
}

/// Where processor or memory is counted, each container must say how much it wants, unless the pod
/// does as a whole.
fn complete(change: Change<'_>, hard: &Amounts) -> Result<(), Refusal> {
    const COUNTED: [(&str, Side, &str); 6] = [
        ("cpu", Side::Requests, "cpu"),
        ("limits.cpu", Side::Limits, "cpu"),
        ("limits.memory", Side::Limits, "memory"),
        ("memory", Side::Requests, "memory"),
        ("requests.cpu", Side::Requests, "cpu"),
        ("requests.memory", Side::Requests, "memory"),
    ];
    let is_pod = change.kind.group.is_empty() && &*change.kind.plural == "pods";
    let Some(pod) = change.new.filter(|_| is_pod) else {
        return Ok(());
    };
    let spec = &pod["spec"];
    if [Side::Requests, Side::Limits]
        .iter()
        .any(|side| !of_container(spec, *side).is_empty())
    {
        return Ok(());
    }
    let mut missing: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let containers = elements(spec, &["containers"]).iter();
    for container in containers.chain(elements(spec, &["initContainers"])) {
        for (name, side, resource) in COUNTED.iter().filter(|(name, ..)| hard.contains_key(*name)) {
            if !of_container(container, *side).contains_key(*resource) {
                let containers = missing.entry(name).or_default();
                containers.push(container["name"].as_str().unwrap_or(""));
            }
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let each = missing.into_iter().map(|(name, mut containers)| {
        containers.sort_unstable();
        containers.dedup();
        format!("{name} for: {}", containers.join(","))
    });
    Err(Refusal::Silent(each.collect::<Vec<_>>().join("; ")))
}

#[cfg(test)]
mod tests {
    use kobune_api::kinds;
    use serde_json::json;

    use super::*;

    fn kind(plural: &str) -> &'static Kind {
        let mut all = kinds::builtin().iter();
        all.find(|kind| &*kind.plural == plural && kind.group.is_empty())
            .expect("a core kind")
    }

    fn quota(hard: Value, used: Value) -> Value {
        json!({"spec": {"hard": hard}, "status": {"hard": hard, "used": used}})
    }

    fn pod(cpu: &str) -> Value {
        json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}})
    }

    fn write<'a>(old: Option<&'a Value>, new: Option<&'a Value>) -> Change<'a> {
        Change {
            kind: kind("pods"),
            old,
            new,
            enforced: true,
        }
    }

    #[test]
    fn a_pod_is_charged_when_it_comes_and_refunded_when_it_goes_or_ends() {
        let quota = quota(
            json!({"pods": "5", "requests.cpu": "1"}),
            json!({"pods": "1", "requests.cpu": "500m"}),
        );
        let new = pod("250m");
        let used = charge(&quota, write(None, Some(&new)))
            .expect("there is room")
            .expect("it counts");
        assert_eq!(show(&used), "pods=2,requests.cpu=750m");
        let used = charge(&quota, write(Some(&new), None))
            .expect("always")
            .expect("it counts");
        assert_eq!(show(&used), "pods=0,requests.cpu=250m");
        let mut ended = new.clone();
        ended["status"] = json!({"phase": "Succeeded"});
        let used = charge(&quota, write(Some(&new), Some(&ended)))
            .expect("always")
            .expect("it counts");
        assert_eq!(show(&used), "pods=0,requests.cpu=250m");
        assert_eq!(charge(&quota, write(Some(&new), Some(&new))), Ok(None));
    }

    #[test]
    fn what_exceeds_a_quota_is_refused_in_upstreams_words() {
        let quota = quota(
            json!({"pods": "5", "cpu": "1"}),
            json!({"pods": "1", "cpu": "500m"}),
        );
        let refused = charge(&quota, write(None, Some(&pod("600m")))).expect_err("too much");
        assert_eq!(
            refused.text("q"),
            "exceeded quota: q, requested: cpu=600m, used: cpu=500m, limited: cpu=1"
        );
        let silent = json!({"spec": {"containers": [{"name": "b"}, {"name": "a"}]}});
        let refused = charge(&quota, write(None, Some(&silent))).expect_err("it says nothing");
        assert_eq!(refused.text("q"), "failed quota: q: must specify cpu for: a,b");
    }

    #[test]
    fn scopes_choose_the_pods() {
        let mut ending = pod("1");
        ending["spec"]["activeDeadlineSeconds"] = 60.into();
        for (scope, one, other) in [
            ("Terminating", &ending, &pod("1")),
            ("NotTerminating", &pod("1"), &ending),
            ("NotBestEffort", &pod("1"), &json!({"spec": {"containers": [{}]}})),
            ("BestEffort", &json!({"spec": {"containers": [{}]}}), &pod("1")),
        ] {
            let mut quota = quota(json!({"pods": "5"}), json!({"pods": "0"}));
            quota["spec"]["scopes"] = json!([scope]);
            assert!(
                charge(&quota, write(None, Some(one))).expect("room").is_some(),
                "{scope}"
            );
            assert_eq!(charge(&quota, write(None, Some(other))), Ok(None), "{scope}");
        }
    }

    #[test]
    fn services_and_claims_count_for_more_than_one() {
        let of = |plural, object: Value| show(&usage(kind(plural), &object));
        assert_eq!(
            of(
                "services",
                json!({"spec": {"type": "NodePort", "ports": [{}, {}]}})
            ),
            "count/services=1,services=1,services.loadbalancers=0,services.nodeports=2"
        );
        assert_eq!(
            of(
                "persistentvolumeclaims",
                json!({"spec": {"storageClassName": "gold",
                "resources": {"requests": {"storage": "1Gi"}}}})
            ),
            "count/persistentvolumeclaims=1,gold.storageclass.storage.k8s.io/persistentvolumeclaims=1,\
             gold.storageclass.storage.k8s.io/requests.storage=1Gi,persistentvolumeclaims=1,requests.storage=1Gi"
        );
        assert_eq!(of("secrets", json!({})), "count/secrets=1,secrets=1");
    }
}
