//! What an object counts for in quotas: upstream's evaluators. Pure.

use kobune_api::kinds::Kind;
use kobune_api::quantity::Quantity;
use serde_json::Value;

use crate::amounts::{Amounts, Side, of_container, of_pod, read};
use crate::object::{at, elements, text};
use crate::strategy::pods::quality;

/// What names of resources by storage class end in, before the resource.
const BY_CLASS: &str = ".storageclass.storage.k8s.io/";

/// The kinds whose objects count for more than one; their updates can change what they count for.
pub fn is_measured(kind: &Kind) -> bool {
    kind.group.is_empty() && matches!(&*kind.plural, "pods" | "services" | "persistentvolumeclaims")
}

/// `count/pods`, `count/deployments.apps`
pub fn count_name(group: &str, plural: &str) -> String {
    if group.is_empty() {
        format!("count/{plural}")
    } else {
        format!("count/{plural}.{group}")
    }
}

/// What a kind's objects are counted as beside `count/…`, where that is older than `count/…`.
pub fn alias<'k>(group: &str, plural: &'k str) -> Option<&'k str> {
    let aliased = matches!(
        plural,
        "configmaps" | "resourcequotas" | "replicationcontrollers" | "secrets"
    );
    (group.is_empty() && aliased).then_some(plural)
}

/// What one object counts for.
pub fn usage(kind: &Kind, object: &Value) -> Amounts {
    let mut usage = Amounts::from([(count_name(&kind.group, &kind.plural), Quantity::new(1))]);
    match (&*kind.group, &*kind.plural) {
        ("", "pods") => pod(object, &mut usage),
        ("", "services") => service(object, &mut usage),
        ("", "persistentvolumeclaims") => claim(object, &mut usage),
        (group, plural) => {
            if let Some(alias) = alias(group, plural) {
                usage.insert(alias.to_owned(), Quantity::new(1));
            }
        }
    }
    usage
}

/// A pod that has ended uses nothing, and is there.
fn pod(pod: &Value, usage: &mut Amounts) {
    if matches!(text(pod, &["status", "phase"]), "Failed" | "Succeeded") {
        return;
    }
    usage.insert("pods".to_owned(), Quantity::new(1));
    let overhead = read(at(pod, &["spec", "overhead"]));
    for side in [Side::Requests, Side::Limits] {
        let mut asked = of_pod(pod, side);
        for (name, amount) in &overhead {
            match asked.get_mut(name) {
                Some(own) => *own += *amount,
                None if side == Side::Requests => drop(asked.insert(name.clone(), *amount)),
                None => {}
            }
        }
        usage.extend(computed(&asked, side));
    }
}

/// The names under which quotas know what is asked for.
fn computed(asked: &Amounts, side: Side) -> Amounts {
    let mut named = Amounts::new();
    for (name, amount) in asked {
        let basic = matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage");
        let pages = name.starts_with("hugepages-");
        match side {
            Side::Limits if basic => drop(named.insert(format!("limits.{name}"), *amount)),
            Side::Limits => {}
            Side::Requests if basic || pages => {
                named.insert(name.clone(), *amount);
                named.insert(format!("requests.{name}"), *amount);
            }
            Side::Requests if is_extended(name) => drop(named.insert(format!("requests.{name}"), *amount)),
            Side::Requests => {}
        }
    }
    named
}

/// A resource of somebody else's making: `example.com/gpu`.
fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.contains("kubernetes.io/")
}

fn service(service: &Value, usage: &mut Amounts) {
    let ports = elements(service, &["spec", "ports"]);
    let balanced = text(service, &["spec", "type"]) == "LoadBalancer";
    let node_ports = match text(service, &["spec", "type"]) {
        "LoadBalancer" if service["spec"]["allocateLoadBalancerNodePorts"] == false => {
            let given = |port: &&Value| port["nodePort"].as_i64().is_some_and(|number| number != 0);
            ports.iter().filter(given).count()
        }
        "NodePort" | "LoadBalancer" => ports.len(),
        _ => 0,
    };
    let number = |count: usize| Quantity::new(i64::try_from(count).unwrap_or(i64::MAX));
    usage.insert("services".to_owned(), Quantity::new(1));
    usage.insert("services.nodeports".to_owned(), number(node_ports));
    usage.insert("services.loadbalancers".to_owned(), number(usize::from(balanced)));
}

fn claim(claim: &Value, usage: &mut Amounts) {
    let storage = |amounts: Amounts| amounts.get("storage").map(|amount| amount.round_up(0));
    let asked = storage(of_container(&claim["spec"], Side::Requests));
    let allocated = storage(read(at(claim, &["status", "allocatedResources"])));
    let asked = asked.map(|asked| allocated.map_or(asked, |allocated| asked.max(allocated)));
    let class = match kobune_api::meta::annotation(claim, "volume.beta.kubernetes.io/storage-class") {
        Some(class) => class,
        None => text(claim, &["spec", "storageClassName"]),
    };
    let of_claim = [
        ("persistentvolumeclaims", Some(Quantity::new(1))),
        ("requests.storage", asked),
    ];
    for (name, amount) in of_claim {
        let Some(amount) = amount else { continue };
        usage.insert(name.to_owned(), amount);
        if !class.is_empty() {
            usage.insert(format!("{class}{BY_CLASS}{name}"), amount);
        }
    }
}

/// The plural of the measured kind that a quota's resource is about, if it is about one.
pub fn measured_by(resource: &str) -> Option<&'static str> {
    let claims = ["persistentvolumeclaims", "requests.storage"];
    if claims.contains(&resource)
        || resource
            .split_once(BY_CLASS)
            .is_some_and(|(_, rest)| claims.contains(&rest))
    {
        return Some("persistentvolumeclaims");
    }
    let unprefixed = resource
        .strip_prefix("requests.")
        .or_else(|| resource.strip_prefix("limits."))
        .unwrap_or(resource);
    match resource {
        "services" | "services.nodeports" | "services.loadbalancers" => Some("services"),
        "pods" => Some("pods"),
        _ if matches!(unprefixed, "cpu" | "memory" | "ephemeral-storage") => Some("pods"),
        _ if unprefixed.starts_with("hugepages-") => Some("pods"),
        _ if resource.starts_with("requests.") && is_extended(unprefixed) => Some("pods"),
        _ => None,
    }
}

/// Whether an object is of those a quota is about, by the quota's scopes.
pub fn in_scope(kind: &Kind, quota: &Value, object: &Value) -> bool {
    let scopes = elements(quota, &["spec", "scopes"]);
    let selected = elements(quota, &["spec", "scopeSelector", "matchExpressions"]);
    let plain = scopes.iter().all(|scope| {
        let scope = scope.as_str().unwrap_or("");
        has_scope(kind, object, scope, "Exists", &[])
    });
    plain
        && selected.iter().all(|one| {
            let (scope, operator) = (text(one, &["scopeName"]), text(one, &["operator"]));
            has_scope(kind, object, scope, operator, elements(one, &["values"]))
        })
}

fn has_scope(kind: &Kind, object: &Value, scope: &str, operator: &str, values: &[Value]) -> bool {
    match (&*kind.group, &*kind.plural) {
        ("", "pods") => pod_has_scope(object, scope, operator, values),
        ("", "persistentvolumeclaims") if scope == "VolumeAttributesClass" => {
            let wanted = text(object, &["spec", "volumeAttributesClassName"]);
            let current = text(object, &["status", "currentVolumeAttributesClassName"]);
            let names: Vec<&str> = [wanted, current]
                .into_iter()
                .filter(|name| !name.is_empty())
                .collect();
            if names.is_empty() {
                return selects(operator, values, "");
            }
            names.into_iter().any(|name| selects(operator, values, name))
        }
        _ => false,
    }
}

fn pod_has_scope(pod: &Value, scope: &str, operator: &str, values: &[Value]) -> bool {
    let ends = || {
        pod["spec"]["activeDeadlineSeconds"]
            .as_i64()
            .is_some_and(|seconds| seconds >= 0)
    };
    match scope {
        "Terminating" => ends(),
        "NotTerminating" => !ends(),
        "BestEffort" => quality(pod) == "BestEffort",
        "NotBestEffort" => quality(pod) != "BestEffort",
        "PriorityClass" => selects(operator, values, text(pod, &["spec", "priorityClassName"])),
        "CrossNamespacePodAffinity" => crosses_namespaces(pod),
        _ => false,
    }
}

/// A selector on one name, which may be missing (empty).
fn selects(operator: &str, values: &[Value], name: &str) -> bool {
    match operator {
        "Exists" => !name.is_empty(),
        "DoesNotExist" => name.is_empty(),
        "In" => !name.is_empty() && values.iter().any(|value| value == name),
        "NotIn" => !values.iter().any(|value| value == name),
        _ => false,
    }
}

fn crosses_namespaces(pod: &Value) -> bool {
    ["podAffinity", "podAntiAffinity"].iter().any(|side| {
        let of = |list| elements(pod, &["spec", "affinity", side, list]);
        let required = of("requiredDuringSchedulingIgnoredDuringExecution").iter();
        let preferred = of("preferredDuringSchedulingIgnoredDuringExecution").iter();
        let mut terms = required.chain(preferred.filter_map(|weighted| weighted.get("podAffinityTerm")));
        terms.any(|term| {
            !elements(term, &["namespaces"]).is_empty()
                || term
                    .get("namespaceSelector")
                    .is_some_and(|selector| !selector.is_null())
        })
    })
}
