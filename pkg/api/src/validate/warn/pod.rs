//! A pod, or the template of one.

use std::collections::HashMap;

use super::{Warnings, address, annotation, fractional, node_label};
use crate::validate::at::At;

/// Annotations that fields have taken the place of.
const ANNOTATIONS: &[(&str, &str)] = &[
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        r#"non-functional in v1.16+; use the "priorityClassName" field instead"#,
    ),
    (
        "security.alpha.kubernetes.io/sysctls",
        r#"non-functional in v1.11+; use the "sysctls" field instead"#,
    ),
    (
        "security.alpha.kubernetes.io/unsafe-sysctls",
        r#"non-functional in v1.11+; use the "sysctls" field instead"#,
    ),
];

/// Volumes that no node mounts any more.
const VOLUMES: &[(&str, &str)] = &[
    (
        "photonPersistentDisk",
        "deprecated in v1.11, non-functional in v1.16+",
    ),
    (
        "gitRepo",
        "deprecated in v1.11, and disabled by default in v1.33+",
    ),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

const SECCOMP: &str = r#"non-functional in v1.27+; use the "seccompProfile" field instead"#;
const NO_SELECTOR: &str = "a null labelSelector results in matching no pod";

/// All there is to say; `at` is the pod or the template.
pub(super) fn pod(at: &At<'_, '_>, warnings: &mut Warnings) {
    let spec = at.child("spec");
    node_labels(&spec, warnings);
    spread(&spec, warnings);
    annotations(at, warnings);
    volumes(&spec, warnings);
    twice(&spec.child("hostAliases"), "ip", warnings);
    twice(&spec.child("imagePullSecrets"), "name", warnings);
    for secret in spec.child("imagePullSecrets").items() {
        let name = secret.child("name");
        if name.text().is_empty() {
            warnings.push(format!("{}: invalid empty name \"\"", name.path));
        }
    }
    amounts(&spec.child("overhead"), warnings);
    containers(&spec, &mut |container| self::container(at, container, warnings));
    ports(&spec, warnings);
    let grace = spec.child("terminationGracePeriodSeconds");
    if grace.number().is_some_and(|seconds| seconds < 0) {
        warnings.push(format!(
            "{}: must be >= 0; negative values are invalid and will be treated as 1",
            grace.path
        ));
    }
    pod_affinity(&spec, warnings);
    let dns = spec.child("dnsConfig");
    for server in dns.child("nameservers").items() {
        address(&server, warnings);
    }
    for alias in spec.child("hostAliases").items() {
        address(&alias.child("ip"), warnings);
    }
}

/// Every container, those that begin first.
fn containers<'v>(spec: &At<'v, '_>, each: &mut dyn FnMut(&At<'v, '_>)) {
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        spec.child(list).items().for_each(|container| each(&container));
    }
}

fn node_labels(spec: &At<'_, '_>, warnings: &mut Warnings) {
    for (key, at) in spec.child("nodeSelector").entries() {
        if let Some(message) = node_label(key) {
            warnings.push(format!("{}: {message}", at.path));
        }
    }
    let affinity = spec.child("affinity");
    let affinity = affinity.child("nodeAffinity");
    let required = affinity.child("requiredDuringSchedulingIgnoredDuringExecution");
    for term in required.child("nodeSelectorTerms").items() {
        node_term(&term, warnings);
    }
    let preferred = affinity.child("preferredDuringSchedulingIgnoredDuringExecution");
    for term in preferred.items() {
        node_term(&term.child("preference"), warnings);
    }
}

fn node_term(term: &At<'_, '_>, warnings: &mut Warnings) {
    for expression in term.child("matchExpressions").items() {
        deprecated_key(&expression.child("key"), warnings);
    }
}

fn deprecated_key(key: &At<'_, '_>, warnings: &mut Warnings) {
    if let Some(message) = node_label(key.text()) {
        warnings.push(format!("{}: {} is {message}", key.path, key.text()));
    }
}

fn spread(spec: &At<'_, '_>, warnings: &mut Warnings) {
    for constraint in spec.child("topologySpreadConstraints").items() {
        deprecated_key(&constraint.child("topologyKey"), warnings);
        selector(&constraint, warnings);
    }
}

fn selector(at: &At<'_, '_>, warnings: &mut Warnings) {
    let selector = at.child("labelSelector");
    if !selector.is_set() {
        warnings.push(format!("{}: {NO_SELECTOR}", selector.path));
    }
}

fn pod_affinity(spec: &At<'_, '_>, warnings: &mut Warnings) {
    let affinity = spec.child("affinity");
    for kind in ["podAffinity", "podAntiAffinity"] {
        let terms = affinity.child(kind);
        let required = terms.child("requiredDuringSchedulingIgnoredDuringExecution");
        required.items().for_each(|term| selector(&term, warnings));
        let preferred = terms.child("preferredDuringSchedulingIgnoredDuringExecution");
        preferred
            .items()
            .for_each(|term| selector(&term.child("podAffinityTerm"), warnings));
    }
}

fn annotations(at: &At<'_, '_>, warnings: &mut Warnings) {
    let meta = at.child("metadata");
    let path = meta.child("annotations").path;
    for (key, message) in ANNOTATIONS {
        if annotation(at, key).is_some() {
            warnings.push(format!("{}: {message}", path.key(key)));
        }
    }
    let key = "seccomp.security.alpha.kubernetes.io/pod";
    if annotation(at, key).is_some() && !has_seccomp(&at.child("spec")) {
        warnings.push(format!("{}: {SECCOMP}", path.key(key)));
    }
}

fn has_seccomp(at: &At<'_, '_>) -> bool {
    let context = at.child("securityContext");
    context.child("seccompProfile").is_set()
}

fn volumes(spec: &At<'_, '_>, warnings: &mut Warnings) {
    for volume in spec.child("volumes").items() {
        for (source, message) in VOLUMES {
            if let Some(at) = volume.get(source) {
                warnings.push(format!("{}: {message}", at.path));
            }
        }
    }
}

/// Entries of a list that have the same value in a field.
fn twice(list: &At<'_, '_>, field: &str, warnings: &mut Warnings) {
    let mut seen: Vec<&str> = Vec::new();
    for item in list.items() {
        let at = item.child(field);
        if seen.contains(&at.text()) {
            warnings.push(format!("{}: duplicate {field} {:?}", at.path, at.text()));
        } else {
            seen.push(at.text());
        }
    }
}

fn amounts(list: &At<'_, '_>, warnings: &mut Warnings) {
    for (name, amount) in list.entries() {
        if matches!(name, "memory" | "ephemeral-storage") {
            fractional(&amount, warnings);
        }
    }
}

fn container(pod: &At<'_, '_>, container: &At<'_, '_>, warnings: &mut Warnings) {
    let name = container.child("name").text();
    let meta = pod.child("metadata");
    let key = format!("container.seccomp.security.alpha.kubernetes.io/{name}");
    if annotation(pod, &key).is_some() && !has_seccomp(container) {
        warnings.push(format!("{}: {SECCOMP}", meta.child("annotations").path.key(&key)));
    }
    let resources = container.child("resources");
    amounts(&resources.child("limits"), warnings);
    amounts(&resources.child("requests"), warnings);
    let mut seen: Vec<&str> = Vec::new();
    for variable in container.child("env").items() {
        let (name, value) = (variable.child("name").text(), variable.child("value").text());
        // X="$(X)more" adds to what is there; anything else hides it.
        let before = format!("$({name})");
        let adds = value.contains(&before) && value != before && !variable.child("valueFrom").is_set();
        match seen.contains(&name) {
            true if !adds => warnings.push(format!(
                "{}: hides previous definition of {name:?}, which may be dropped when using apply",
                variable.path
            )),
            true => {}
            false => seen.push(name),
        }
    }
}

/// A port of a container, and where it stands.
struct Port<'v> {
    path: String,
    host_ip: &'v str,
    host_port: i64,
}

/// How two definitions of one port go together.
fn clash(one: &Port<'_>, other: &Port<'_>) -> Option<&'static str> {
    if one.host_ip == other.host_ip && one.host_port == other.host_port {
        Some("duplicate")
    } else if one.host_port == 0 || other.host_port == 0 {
        Some("overlapping")
    } else if one.host_port == other.host_port && one.host_ip.is_empty() != other.host_ip.is_empty() {
        Some("dangerously ambiguous")
    } else {
        None
    }
}

fn ports(spec: &At<'_, '_>, warnings: &mut Warnings) {
    let mut numbers: HashMap<(i64, &str), Vec<Port<'_>>> = HashMap::new();
    let mut names: HashMap<&str, String> = HashMap::new();
    let mut of_names = Vec::new();
    containers(spec, &mut |container| {
        for port in container.child("ports").items() {
            let key = (
                port.child("containerPort").number().unwrap_or(0),
                port.child("protocol").text(),
            );
            let this = Port {
                path: port.path.to_string(),
                host_ip: port.child("hostIP").text(),
                host_port: port.child("hostPort").number().unwrap_or(0),
            };
            let name = port.child("name").text();
            match names.get(name) {
                Some(first) => of_names.push(format!(
                    "{}: duplicate port name {name:?} with {first}, services and probes that select ports by name will use {first}",
                    this.path
                )),
                None if !name.is_empty() => drop(names.insert(name, this.path.clone())),
                None => {}
            }
            let same = numbers.entry(key).or_default();
            for other in &*same {
                if let Some(how) = clash(&this, other) {
                    let (path, with) = (&this.path, &other.path);
                    warnings.push(format!("{path}: {how} port definition with {with}"));
                }
            }
            same.push(this);
        }
    });
    warnings.append(&mut of_names);
}
