//! What a pod asks of a node, and sums of it.

use std::collections::BTreeMap;

use kobune_api::quantity::Quantity;
use kobune_client::k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use kobune_client::k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

/// What scoring counts for a container that asks for nothing, so that such pods spread too.
const UNASKED_CPU: i64 = 100;
const UNASKED_MEMORY: i64 = 200 * 1024 * 1024;

/// Amounts of resources: CPU in thousandths, memory and ephemeral storage in bytes, others in their unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Thousandths of a CPU.
    pub milli_cpu: i64,
    /// Bytes.
    pub memory: i64,
    /// Bytes.
    pub ephemeral_storage: i64,
    /// Extended resources and huge pages.
    pub others: BTreeMap<String, i64>,
}

impl Amounts {
    /// Reads a resource list; what does not parse counts as nothing (the API server refuses it).
    pub fn of(list: &BTreeMap<String, Text>) -> Self {
        let mut amounts = Amounts::default();
        for (name, text) in list {
            let Ok(quantity) = Quantity::parse(&text.0) else {
                continue;
            };
            match name.as_str() {
                "cpu" => amounts.milli_cpu = quantity.milli_value(),
                "memory" => amounts.memory = quantity.value(),
                "ephemeral-storage" => amounts.ephemeral_storage = quantity.value(),
                "pods" => {}
                _ => {
                    amounts.others.insert(name.clone(), quantity.value());
                }
            }
        }
        amounts
    }

    /// Adds `other`.
    pub fn add(&mut self, other: &Amounts) {
        self.combine(other, |a, b| a.saturating_add(b));
    }

    /// Takes `other` away.
    pub fn subtract(&mut self, other: &Amounts) {
        self.combine(other, |a, b| a.saturating_sub(b));
    }

    /// The larger of each amount.
    pub fn raise_to(&mut self, other: &Amounts) {
        self.combine(other, i64::max);
    }

    fn combine(&mut self, other: &Amounts, with: fn(i64, i64) -> i64) {
        self.milli_cpu = with(self.milli_cpu, other.milli_cpu);
        self.memory = with(self.memory, other.memory);
        self.ephemeral_storage = with(self.ephemeral_storage, other.ephemeral_storage);
        for (name, amount) in &other.others {
            let mine = self.others.entry(name.clone()).or_default();
            *mine = with(*mine, *amount);
        }
    }

    /// True when nothing is asked.
    pub fn is_nothing(&self) -> bool {
        self.milli_cpu == 0
            && self.memory == 0
            && self.ephemeral_storage == 0
            && self.others.values().all(|amount| *amount == 0)
    }
}

/// What a pod asks for: once exactly, once with the assumed amounts that scoring uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// What must fit.
    pub exact: Amounts,
    /// CPU (thousandths) and memory (bytes) for scoring.
    pub assumed: (i64, i64),
}

/// The request of a pod: the sum of its containers and sidecars, or what one init container needs if that
/// is more, plus the overhead; pod-level requests replace the sums.
pub fn of(pod: &Pod) -> Request {
    let exact = total(pod, |container| {
        requests(container.resources.as_ref())
            .map(Amounts::of)
            .unwrap_or_default()
    });
    let assumed = total(pod, |container| {
        let list = requests(container.resources.as_ref());
        let mut amounts = list.map(Amounts::of).unwrap_or_default();
        let asks = |name: &str| list.is_some_and(|list| list.contains_key(name));
        if !asks("cpu") {
            amounts.milli_cpu = UNASKED_CPU;
        }
        if !asks("memory") {
            amounts.memory = UNASKED_MEMORY;
        }
        amounts
    });
    Request {
        exact,
        assumed: (assumed.milli_cpu, assumed.memory),
    }
}

fn requests(resources: Option<&ResourceRequirements>) -> Option<&BTreeMap<String, Text>> {
    resources?.requests.as_ref()
}

fn total(pod: &Pod, of: impl Fn(&Container) -> Amounts) -> Amounts {
    let Some(spec) = &pod.spec else {
        return Amounts::default();
    };
    let mut sum = Amounts::default();
    spec.containers
        .iter()
        .for_each(|container| sum.add(&of(container)));
    // Init containers run one at a time beside the sidecars started before them.
    let (mut sidecars, mut peak) = (Amounts::default(), Amounts::default());
    for container in spec.init_containers.iter().flatten() {
        let amounts = of(container);
        let mut at_once = sidecars.clone();
        at_once.add(&amounts);
        peak.raise_to(&at_once);
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars.add(&amounts);
        }
    }
    sum.add(&sidecars);
    sum.raise_to(&peak);
    if let Some(list) = requests(spec.resources.as_ref()) {
        let whole = Amounts::of(list);
        if list.contains_key("cpu") {
            sum.milli_cpu = whole.milli_cpu;
        }
        if list.contains_key("memory") {
            sum.memory = whole.memory;
        }
    }
    if let Some(overhead) = &spec.overhead {
        sum.add(&Amounts::of(overhead));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn request(spec: Value) -> Request {
        of(&serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap())
    }

    fn container(cpu: &str) -> Value {
        json!({"name": "c", "resources": {"requests": {"cpu": cpu, "memory": "1Mi"}}})
    }

    #[test]
    fn the_largest_init_container_counts_if_it_exceeds_the_sum() {
        let spec =
            json!({"containers": [container("100m"), container("200m")], "initContainers": [container("1")]});
        assert_eq!(request(spec).exact.milli_cpu, 1000);
        let spec = json!({"containers": [container("100m"), container("200m")], "initContainers": [container("50m")]});
        assert_eq!(request(spec).exact.milli_cpu, 300);
    }

    #[test]
    fn a_sidecar_runs_beside_everything_after_it() {
        let mut sidecar = container("100m");
        sidecar["restartPolicy"] = json!("Always");
        let spec = json!({"containers": [container("200m")], "initContainers": [sidecar, container("500m")]});
        assert_eq!(request(spec).exact.milli_cpu, 600);
    }

    #[test]
    fn overhead_is_added() {
        let spec = json!({"containers": [container("100m")], "overhead": {"cpu": "10m", "memory": "1Ki"}});
        let exact = request(spec).exact;
        assert_eq!((exact.milli_cpu, exact.memory), (110, 1024 * 1024 + 1024));
    }

    #[test]
    fn a_pod_that_asks_for_nothing_still_weighs_something_for_scoring() {
        let request = request(json!({"containers": [{"name": "c"}]}));
        assert!(request.exact.is_nothing());
        assert_eq!(request.assumed, (100, 200 << 20));
    }
}
