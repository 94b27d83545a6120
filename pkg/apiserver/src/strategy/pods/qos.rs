//! The quality of service that a pod's requests and limits promise.

use kobune_api::quantity::Quantity;
use serde_json::Value;

use crate::object::{at, elements};

/// `Guaranteed`: every container has limits for processor and memory and requests no less.
/// `BestEffort`: nothing is asked for. `Burstable`: all between.
pub fn class(pod: &Value) -> &'static str {
    let spec = &pod["spec"];
    let whole = at(spec, &["resources"]).filter(|resources| is_set(resources));
    let lists = [
        elements(spec, &["containers"]),
        elements(spec, &["initContainers"]),
    ];
    let single: Vec<&Value> = match whole {
        Some(resources) => vec![resources],
        None => lists
            .iter()
            .flat_map(|list| list.iter())
            .map(|container| &container["resources"])
            .collect(),
    };
    if single.iter().all(|resources| !is_set(resources)) {
        return "BestEffort";
    }
    if single.iter().all(|resources| is_guaranteed(resources)) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

/// Whether some processor or memory is asked for.
fn is_set(resources: &Value) -> bool {
    ["requests", "limits"].iter().any(|side| {
        ["cpu", "memory"]
            .iter()
            .any(|name| quantity(resources, side, name).is_some())
    })
}

fn is_guaranteed(resources: &Value) -> bool {
    ["cpu", "memory"].iter().all(|name| {
        let limit = quantity(resources, "limits", name);
        // A request that is not there is the limit.
        let request = quantity(resources, "requests", name).or(limit);
        limit.is_some() && limit == request
    })
}

/// A quantity above zero.
fn quantity(resources: &Value, side: &str, name: &str) -> Option<Quantity> {
    let text = at(resources, &[side, name])?.as_str()?;
    let quantity: Quantity = text.parse().ok()?;
    (quantity > Quantity::ZERO).then_some(quantity)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(resources: &Value) -> Value {
        json!({"spec": {"containers": [{"name": "c", "resources": resources}]}})
    }

    #[test]
    fn the_class_follows_requests_and_limits() {
        assert_eq!(class(&pod(&json!({}))), "BestEffort");
        assert_eq!(class(&pod(&json!({"requests": {"cpu": "1"}}))), "Burstable");
        let limits = json!({"cpu": "1", "memory": "1Gi"});
        assert_eq!(class(&pod(&json!({"limits": limits}))), "Guaranteed");
        let same = json!({"limits": limits, "requests": {"cpu": "1000m", "memory": "1024Mi"}});
        assert_eq!(class(&pod(&same)), "Guaranteed");
        let less = json!({"limits": limits, "requests": {"cpu": "500m", "memory": "1Gi"}});
        assert_eq!(class(&pod(&less)), "Burstable");
    }
}
