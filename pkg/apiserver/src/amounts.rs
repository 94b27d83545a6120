//! Amounts of resources by name, and what a pod asks for in sum. Pure.

use std::collections::BTreeMap;

use kobune_api::quantity::Quantity;
use serde_json::Value;

use crate::object::{at, elements, text};

/// Amounts by the name of the resource.
pub type Amounts = BTreeMap<String, Quantity>;

/// Which side of `resources` is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// `requests`
    Requests,
    /// `limits`
    Limits,
}

impl Side {
    /// The field's name.
    pub fn field(self) -> &'static str {
        match self {
            Side::Requests => "requests",
            Side::Limits => "limits",
        }
    }
}

/// Reads a resource list; what is no quantity counts as nothing (validation refuses it).
pub fn read(list: Option<&Value>) -> Amounts {
    let entries = list.and_then(Value::as_object).into_iter().flatten();
    entries
        .filter_map(|(name, amount)| Some((name.clone(), Quantity::from_json(amount).ok()?)))
        .collect()
}

/// One side of a container's (or of a whole pod's) `resources`.
pub fn of_container(container: &Value, side: Side) -> Amounts {
    read(at(container, &["resources", side.field()]))
}

/// Adds amounts.
pub fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        *sum.entry(name.clone()).or_insert(Quantity::ZERO) += *amount;
    }
}

/// Raises each amount to at least the other's.
pub fn raise(amounts: &mut Amounts, least: &Amounts) {
    for (name, amount) in least {
        let own = amounts.entry(name.clone()).or_insert(*amount);
        *own = (*own).max(*amount);
    }
}

/// What the containers of a pod ask for together: the sum of the containers and sidecars, or what one
/// init container needs beside the sidecars before it if that is more; what the pod says as a whole
/// replaces that.
pub fn of_pod(pod: &Value, side: Side) -> Amounts {
    let spec = &pod["spec"];
    let mut sum = Amounts::new();
    for container in elements(spec, &["containers"]) {
        add(&mut sum, &of_container(container, side));
    }
    let (mut sidecars, mut peak) = (Amounts::new(), Amounts::new());
    for container in elements(spec, &["initContainers"]) {
        let own = of_container(container, side);
        let mut at_once = sidecars.clone();
        add(&mut at_once, &own);
        raise(&mut peak, &at_once);
        if text(container, &["restartPolicy"]) == "Always" {
            sidecars = at_once;
        }
    }
    add(&mut sum, &sidecars);
    raise(&mut sum, &peak);
    let whole = of_container(spec, side);
    sum.extend(whole.into_iter().filter(|(name, _)| is_of_pods(name)));
    sum
}

/// The resources that a pod can ask for as a whole.
fn is_of_pods(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || name.starts_with("hugepages-")
}

/// `cpu=1,memory=1Gi`
pub fn show(amounts: &Amounts) -> String {
    let each = amounts.iter().map(|(name, amount)| format!("{name}={amount}"));
    each.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn container(cpu: &str) -> Value {
        json!({"resources": {"requests": {"cpu": cpu}}})
    }

    #[test]
    fn a_pods_sum_counts_sidecars_and_the_largest_init_container() {
        let mut sidecar = container("100m");
        sidecar["restartPolicy"] = "Always".into();
        let mut pod = json!({"spec": {"containers": [container("200m"), container("100m")],
            "initContainers": [sidecar, container("500m")]}});
        assert_eq!(show(&of_pod(&pod, Side::Requests)), "cpu=600m");
        pod["spec"]["resources"] = json!({"requests": {"cpu": "2"}});
        assert_eq!(show(&of_pod(&pod, Side::Requests)), "cpu=2");
        assert_eq!(show(&of_pod(&pod, Side::Limits)), "");
    }
}
