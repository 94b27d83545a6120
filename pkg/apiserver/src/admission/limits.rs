//! LimitRanges: what a namespace's containers are given where they ask for nothing, and between which
//! bounds containers, pods and claims must be. The texts are upstream's.

use kobune_api::meta;
use kobune_api::quantity::Quantity;
use kobune_api::status::Status;
use serde_json::Value;

use crate::amounts::{Amounts, Side, of_container, of_pod, read};
use crate::object::{as_map, elements, fields, text};
use crate::registry::call::Call;

/// Where a pod says what it was given.
const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// The LimitRanges of the call's namespace.
fn ranges(call: &Call<'_>) -> Vec<Value> {
    let snapshot = call.server.store.snapshot();
    let prefix = format!("/registry/core/limitranges/{}/", call.info.namespace);
    let found = snapshot.range(&prefix, None);
    found
        .filter_map(|record| serde_json::from_slice(&record.value).ok())
        .collect()
}

/// A new pod: its containers get the defaults.
pub fn fill(call: &Call<'_>, pod: &mut Value) {
    for range in ranges(call) {
        give_defaults(&range, pod);
    }
}

/// A new pod or claim, or a resized pod, when all others have had their say.
pub fn check(call: &Call<'_>, object: &Value) -> Result<(), Status> {
    for range in ranges(call) {
        let mut wrong = Vec::new();
        for limit in elements(&range, &["spec", "limits"]) {
            if call.row.is("", "pods") {
                check_pod(limit, object, &mut wrong);
            } else {
                check_claim(limit, object, &mut wrong);
            }
        }
        let why = match wrong.as_slice() {
            [] => continue,
            [only] => only.clone(),
            several => format!("[{}]", several.join(", ")),
        };
        return Err(Status::forbidden(call.row.resource(), meta::name(object), why));
    }
    Ok(())
}

fn give_defaults(range: &Value, pod: &mut Value) {
    let (mut requests, mut limits) = (Amounts::new(), Amounts::new());
    for limit in elements(range, &["spec", "limits"]) {
        if text(limit, &["type"]) == "Container" {
            requests.extend(read(limit.get("defaultRequest")));
            limits.extend(read(limit.get("default")));
        }
    }
    let mut given = Vec::new();
    for (list, called) in [("containers", "container"), ("initContainers", "init container")] {
        let Some(containers) = pod["spec"].get_mut(list).and_then(Value::as_array_mut) else {
            continue;
        };
        for container in containers {
            let name = text(container, &["name"]).to_owned();
            for (side, defaults, word) in [
                (Side::Requests, &requests, "request"),
                (Side::Limits, &limits, "limit"),
            ] {
                let set = give(container, side, defaults);
                if !set.is_empty() {
                    given.push(format!("{} {word} for {called} {name}", set.join(", ")));
                }
            }
        }
    }
    if !given.is_empty() {
        let annotations = meta::metadata_mut(pod)
            .entry("annotations")
            .or_insert(Value::Null);
        let said = format!("LimitRanger plugin set: {}", given.join("; "));
        as_map(annotations).insert(ANNOTATION.to_owned(), said.into());
    }
}

/// Gives a container what it does not have; answers what that was.
fn give(container: &mut Value, side: Side, defaults: &Amounts) -> Vec<String> {
    let has = of_container(container, side);
    let missing: Vec<_> = defaults
        .iter()
        .filter(|(name, _)| !has.contains_key(*name))
        .collect();
    if missing.is_empty() {
        return Vec::new();
    }
    let list = fields(container, "resources")
        .entry(side.field())
        .or_insert(Value::Null);
    let list = as_map(list);
    let give = |(name, amount): (&String, &Quantity)| {
        list.insert(name.clone(), amount.to_string().into());
        name.clone()
    };
    missing.into_iter().map(give).collect()
}

fn check_pod(limit: &Value, pod: &Value, wrong: &mut Vec<String>) {
    match text(limit, &["type"]) {
        "Container" => {
            for list in ["containers", "initContainers"] {
                for container in elements(&pod["spec"], &[list]) {
                    let asked = Asked {
                        requests: of_container(container, Side::Requests),
                        limits: of_container(container, Side::Limits),
                    };
                    asked.check("Container", limit, wrong);
                }
            }
        }
        "Pod" => {
            let asked = Asked {
                requests: of_pod(pod, Side::Requests),
                limits: of_pod(pod, Side::Limits),
            };
            asked.check("Pod", limit, wrong);
        }
        _ => {}
    }
}

/// A claim has requests only.
fn check_claim(limit: &Value, claim: &Value, wrong: &mut Vec<String>) {
    const KIND: &str = "PersistentVolumeClaim";
    if text(limit, &["type"]) != KIND {
        return;
    }
    let asked = Asked {
        requests: of_container(&claim["spec"], Side::Requests),
        limits: Amounts::new(),
    };
    for (name, least) in read(limit.get("min")) {
        wrong.extend(asked.below(KIND, &name, least));
    }
    for (name, most) in read(limit.get("max")) {
        let bound = format!("maximum {name} usage per {KIND} is {most}");
        match asked.requests.get(&name) {
            None => wrong.push(format!("{bound}.  No request is specified")),
            Some(request) if *request > most => wrong.push(format!("{bound}, but request is {request}")),
            Some(_) => {}
        }
    }
}

/// What a container or pod asks for.
struct Asked {
    requests: Amounts,
    limits: Amounts,
}

impl Asked {
    fn check(&self, kind: &str, limit: &Value, wrong: &mut Vec<String>) {
        for (name, least) in read(limit.get("min")) {
            wrong.extend(self.below(kind, &name, least));
        }
        for (name, most) in read(limit.get("max")) {
            wrong.extend(self.above(kind, &name, most));
        }
        for (name, ratio) in read(limit.get("maxLimitRequestRatio")) {
            wrong.extend(self.stretched(kind, &name, ratio));
        }
    }

    fn below(&self, kind: &str, name: &str, least: Quantity) -> Option<String> {
        let bound = format!("minimum {name} usage per {kind} is {least}");
        match (self.requests.get(name), self.limits.get(name)) {
            (None, _) => Some(format!("{bound}.  No request is specified")),
            (Some(request), _) if *request < least => Some(format!("{bound}, but request is {request}")),
            (_, Some(limit)) if *limit < least => Some(format!("{bound}, but limit is {limit}")),
            _ => None,
        }
    }

    fn above(&self, kind: &str, name: &str, most: Quantity) -> Option<String> {
        let bound = format!("maximum {name} usage per {kind} is {most}");
        match (self.requests.get(name), self.limits.get(name)) {
            (_, None) => Some(format!("{bound}.  No limit is specified")),
            (_, Some(limit)) if *limit > most => Some(format!("{bound}, but limit is {limit}")),
            (Some(request), _) if *request > most => Some(format!("{bound}, but request is {request}")),
            _ => None,
        }
    }

    fn stretched(&self, kind: &str, name: &str, most: Quantity) -> Option<String> {
        let bound = format!("{name} max limit to request ratio per {kind} is {most}");
        let some = |amounts: &Amounts| amounts.get(name).copied().filter(|amount| !amount.is_zero());
        let Some(request) = some(&self.requests) else {
            return Some(format!("{bound}, but no request is specified or request is 0"));
        };
        let Some(limit) = some(&self.limits) else {
            return Some(format!("{bound}, but no limit is specified or limit is 0"));
        };
        let ratio = limit.as_f64() / request.as_f64();
        (ratio > most.as_f64()).then(|| format!("{bound}, but provided ratio is {ratio:.6}"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn range() -> Value {
        json!({"spec": {"limits": [{"type": "Container", "min": {"cpu": "50m"}, "max": {"cpu": "500m"},
            "default": {"cpu": "400m"}, "defaultRequest": {"cpu": "100m"},
            "maxLimitRequestRatio": {"cpu": "4"}}]}})
    }

    fn wrong(pod: &Value) -> Vec<String> {
        let mut wrong = Vec::new();
        check_pod(&range()["spec"]["limits"][0], pod, &mut wrong);
        wrong
    }

    fn pod(resources: &Value) -> Value {
        json!({"spec": {"containers": [{"name": "c", "resources": resources}]}})
    }

    #[test]
    fn a_container_gets_what_it_does_not_ask_for() {
        let mut asked = pod(&json!({"limits": {"memory": "1Gi"}}));
        give_defaults(&range(), &mut asked);
        let resources = &asked["spec"]["containers"][0]["resources"];
        assert_eq!(
            *resources,
            json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "400m", "memory": "1Gi"}})
        );
        assert_eq!(
            asked["metadata"]["annotations"][ANNOTATION],
            "LimitRanger plugin set: cpu request for container c; cpu limit for container c"
        );
        assert_eq!(wrong(&asked), Vec::<String>::new());
    }

    #[test]
    fn what_is_out_of_bounds_is_told_in_upstreams_words() {
        let small = pod(&json!({"requests": {"cpu": "10m"}, "limits": {"cpu": "1"}}));
        assert_eq!(
            wrong(&small),
            [
                "minimum cpu usage per Container is 50m, but request is 10m",
                "maximum cpu usage per Container is 500m, but limit is 1",
                "cpu max limit to request ratio per Container is 4, but provided ratio is 100.000000",
            ]
        );
        assert_eq!(
            wrong(&pod(&json!({})))[0],
            "minimum cpu usage per Container is 50m.  No request is specified"
        );
    }
}
