//! Pods and pod templates.

use super::rule::{Rule, fill};
use super::{child, fill_missing, text};
use serde_json::{Map, Value, json};

/// The lists of containers in a pod's spec.
pub(super) const CONTAINER_LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

const POD_SPEC: &[Rule] = &[
    Rule::zero("dnsPolicy", "ClusterFirst"),
    Rule::zero("restartPolicy", "Always"),
    Rule::object("securityContext"),
    Rule::nil_number("terminationGracePeriodSeconds", 30),
    Rule::zero("schedulerName", "default-scheduler"),
    Rule::quantities("overhead"),
    Rule::quantities("resources?.limits"),
    Rule::quantities("resources?.requests"),
];

const VOLUME: &[Rule] = &[
    Rule::nil_number("secret?.defaultMode", 0o644),
    Rule::nil_number("configMap?.defaultMode", 0o644),
    Rule::nil_number("downwardAPI?.defaultMode", 0o644),
    Rule::zero("downwardAPI?.items[].fieldRef?.apiVersion", "v1"),
    Rule::nil_number("projected?.defaultMode", 0o644),
    Rule::nil_number(
        "projected?.sources[].serviceAccountToken?.expirationSeconds",
        3600,
    ),
    Rule::zero(
        "projected?.sources[].downwardAPI?.items[].fieldRef?.apiVersion",
        "v1",
    ),
    Rule::nil("hostPath?.type", ""),
    Rule::quantity("emptyDir?.sizeLimit"),
    Rule::nil("ephemeral?.volumeClaimTemplate?.spec.volumeMode", "Filesystem"),
    Rule::object("ephemeral?.volumeClaimTemplate?.spec.resources"),
    Rule::quantities("ephemeral?.volumeClaimTemplate?.spec.resources.requests"),
    Rule::zero("iscsi?.iscsiInterface", "default"),
    Rule::zero("rbd?.pool", "rbd"),
    Rule::zero("rbd?.user", "admin"),
    Rule::zero("rbd?.keyring", "/etc/ceph/keyring"),
    Rule::zero("scaleIO?.storageMode", "ThinProvisioned"),
    Rule::zero("scaleIO?.fsType", "xfs"),
    Rule::nil("azureDisk?.cachingMode", "ReadWrite"),
    Rule::nil("azureDisk?.fsType", "ext4"),
    Rule::nil_flag("azureDisk?.readOnly", false),
    Rule::nil("azureDisk?.kind", "Shared"),
];

const CONTAINER: &[Rule] = &[
    Rule::zero("terminationMessagePath", "/dev/termination-log"),
    Rule::zero("terminationMessagePolicy", "File"),
    Rule::zero("ports[].protocol", "TCP"),
    Rule::zero("env[].valueFrom?.fieldRef?.apiVersion", "v1"),
    Rule::nil_flag("env[].valueFrom?.fileKeyRef?.optional", false),
    Rule::quantity("env[].valueFrom?.resourceFieldRef?.divisor"),
    Rule::zero("env[].valueFrom?.resourceFieldRef?.divisor", "0"),
    Rule::object("resources"),
    Rule::quantities("resources.limits"),
    Rule::quantities("resources.requests"),
    Rule::zero("lifecycle?.postStart?.httpGet?.path", "/"),
    Rule::zero("lifecycle?.postStart?.httpGet?.scheme", "HTTP"),
    Rule::zero("lifecycle?.preStop?.httpGet?.path", "/"),
    Rule::zero("lifecycle?.preStop?.httpGet?.scheme", "HTTP"),
];

const PROBE: &[Rule] = &[
    Rule::zero_number("timeoutSeconds", 1),
    Rule::zero_number("periodSeconds", 10),
    Rule::zero_number("successThreshold", 1),
    Rule::zero_number("failureThreshold", 3),
    Rule::zero("httpGet?.path", "/"),
    Rule::zero("httpGet?.scheme", "HTTP"),
    Rule::nil("grpc?.service", ""),
];

/// A Pod.
pub(super) fn pod(object: &mut Map<String, Value>) {
    let Some(spec) = child(object, "spec") else { return };
    pod_spec(spec);
    for list in ["containers", "initContainers"] {
        each(spec, list, requests_from_limits);
    }
    pod_level_requests(spec);
    fill(spec, const { &[Rule::nil_flag("enableServiceLinks", true)] });
    if spec.get("hostNetwork") == Some(&Value::Bool(true)) {
        for list in ["containers", "initContainers"] {
            each(spec, list, host_ports);
        }
    }
    let Some(status) = child(object, "status") else {
        return;
    };
    // The first of `podIPs` is `podIP`; either may be given alone.
    match (
        status.get("podIP").cloned(),
        status
            .get("podIPs")
            .and_then(|ips| ips.get(0)?.get("ip"))
            .cloned(),
    ) {
        (Some(ip), None) => drop(status.insert("podIPs".to_owned(), json!([{ "ip": ip }]))),
        (None, Some(first)) => drop(status.insert("podIP".to_owned(), first)),
        _ => {}
    }
}

/// A pod template (`{metadata, spec}`).
pub(super) fn template(template: Option<&mut Map<String, Value>>) {
    let Some(template) = template else { return };
    child(template, "metadata");
    if let Some(spec) = child(template, "spec") {
        pod_spec(spec);
    }
}

fn pod_spec(spec: &mut Map<String, Value>) {
    fill(spec, POD_SPEC);
    // Two names of one field; the old one follows the new one.
    match (text(spec, "serviceAccountName"), text(spec, "serviceAccount")) {
        ("", "") => {}
        ("", old) => drop(spec.insert("serviceAccountName".to_owned(), json!(old.to_owned()))),
        (name, old) if name != old => drop(spec.insert("serviceAccount".to_owned(), json!(name.to_owned()))),
        _ => {}
    }
    each(spec, "volumes", volume);
    for list in CONTAINER_LISTS {
        each(spec, list, container);
    }
}

fn each(object: &mut Map<String, Value>, list: &str, mut apply: impl FnMut(&mut Map<String, Value>)) {
    let elements = object.get_mut(list).and_then(Value::as_array_mut);
    for element in elements.into_iter().flatten().filter_map(Value::as_object_mut) {
        apply(element);
    }
}

fn volume(volume: &mut Map<String, Value>) {
    if volume.iter().all(|(key, value)| key == "name" || value.is_null()) {
        volume.insert("emptyDir".to_owned(), json!({}));
    }
    if let Some(Value::Object(image)) = volume.get_mut("image") {
        let policy = pull_policy(text(image, "reference"));
        image.entry("pullPolicy").or_insert_with(|| policy.into());
    }
    fill(volume, VOLUME);
}

fn container(container: &mut Map<String, Value>) {
    if text(container, "imagePullPolicy").is_empty() {
        let policy = pull_policy(text(container, "image"));
        container.insert("imagePullPolicy".to_owned(), policy.into());
    }
    fill(container, CONTAINER);
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(Value::Object(probe)) = container.get_mut(probe) {
            fill(probe, PROBE);
        }
    }
}

/// `Always` for the tag `latest`, given or meant; `IfNotPresent` for other tags and for digests.
fn pull_policy(image: &str) -> &'static str {
    if image.contains('@') {
        return "IfNotPresent";
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    match last.rsplit_once(':') {
        None | Some((_, "latest")) if !image.is_empty() => "Always",
        _ => "IfNotPresent",
    }
}

fn requests_from_limits(container: &mut Map<String, Value>) {
    let Some(Value::Object(resources)) = container.get_mut("resources") else {
        return;
    };
    let limits = resources
        .get("limits")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    fill_missing(resources, "requests", limits);
}

/// Where the pod as a whole has limits: a request it lacks is what its containers ask for together, or
/// else the limit.
fn pod_level_requests(spec: &mut Map<String, Value>) {
    let limits = spec
        .get("resources")
        .and_then(|r| r.get("limits"))
        .and_then(Value::as_object);
    let Some(limits) = limits.filter(|l| !l.is_empty()).cloned() else {
        return;
    };
    let mut requests = Map::new();
    for resource in ["cpu", "memory"] {
        if let Some(sum) = containers_request(spec, resource) {
            requests.insert(resource.to_owned(), json!(sum.to_string()));
        }
    }
    let supported = |key: &str| key == "cpu" || key == "memory" || key.starts_with("hugepages-");
    for (key, limit) in limits {
        if supported(&key) {
            requests.entry(key).or_insert(limit);
        }
    }
    if let Some(Value::Object(resources)) = spec.get_mut("resources") {
        fill_missing(resources, "requests", requests);
    }
}

/// What the containers ask for together: the running ones and side-cars at once, or an init container
/// beside the side-cars started before it, whichever is more.
fn containers_request(spec: &Map<String, Value>, resource: &str) -> Option<crate::quantity::Quantity> {
    use crate::quantity::Quantity;
    let request = |container: &Value| {
        let value = container.get("resources")?.get("requests")?.get(resource)?;
        Quantity::from_json(value).ok()
    };
    let list = |key: &str| spec.get(key).and_then(Value::as_array).into_iter().flatten();
    let mut found = false;
    let mut running = Quantity::ZERO;
    for quantity in list("containers").filter_map(request) {
        (found, running) = (true, running + quantity);
    }
    let (mut sidecars, mut peak) = (Quantity::ZERO, Quantity::ZERO);
    for container in list("initContainers") {
        let Some(quantity) = request(container) else {
            continue;
        };
        found = true;
        if container.get("restartPolicy").and_then(Value::as_str) == Some("Always") {
            sidecars += quantity;
            peak = peak.max(sidecars);
        } else {
            peak = peak.max(sidecars + quantity);
        }
    }
    found.then(|| (running + sidecars).max(peak))
}

fn host_ports(container: &mut Map<String, Value>) {
    each(container, "ports", |port| {
        let silent = port
            .get("hostPort")
            .is_none_or(|p| p.is_null() || p.as_i64() == Some(0));
        if let (true, Some(number)) = (silent, port.get("containerPort").cloned()) {
            port.insert("hostPort".to_owned(), number);
        }
    });
}
