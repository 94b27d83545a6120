//! Arrows point one way, and each outside crate has its homes.

use std::collections::BTreeSet;

use crate::manifest::{dependencies, rooms};

/// Which rooms each room may know.
const ARROWS: &[(&str, &[&str])] = &[
    ("api", &[]),
    ("store", &[]),
    ("pki", &[]),
    ("runtime", &[]),
    ("client", &["api", "pki"]),
    ("apiserver", &["api", "pki", "store"]),
    ("controllers", &["api", "client"]),
    ("scheduler", &["api", "client"]),
    ("dns", &["api", "client"]),
    ("network", &["api", "client"]),
    ("kubelet", &["api", "client", "network", "pki", "runtime"]),
    ("containerd", &["pki", "runtime"]),
];

/// Outside crates that one room (or the few named) keeps to itself.
const HOMES: &[(&str, &[&str])] = &[
    ("anyhow", &["cmd/kobune"]),
    ("clap", &["cmd/kobune"]),
    ("clap_complete", &["cmd/kobune"]),
    ("indicatif", &["cmd/kobune"]),
    ("tracing-subscriber", &["cmd/kobune"]),
    ("containerd-client", &["pkg/containerd"]),
    ("tonic", &["pkg/containerd"]),
    ("prost", &["pkg/containerd"]),
    ("tar", &["pkg/containerd"]),
    ("hickory-proto", &["pkg/dns"]),
    ("crc32fast", &["pkg/store"]),
    ("imbl", &["pkg/store"]),
    ("sled", &["pkg/store"]),
    ("json-patch", &["pkg/api"]),
    ("k8s-openapi", &["pkg/api", "pkg/client"]),
    ("kube", &["pkg/client"]),
    ("rcgen", &["pkg/pki"]),
    ("ring", &["pkg/pki"]),
    ("x509-parser", &["pkg/pki"]),
    ("tokio-tungstenite", &["pkg/kubelet"]),
];

#[test]
fn rooms_know_only_whom_they_may() {
    for room in rooms("pkg") {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == room) else {
            panic!("pkg/{room} has no line in ARROWS: say which rooms it may know");
        };
        let known: BTreeSet<String> = dependencies(&format!("pkg/{room}"))
            .into_iter()
            .filter_map(|name| name.strip_prefix("kobune-").map(str::to_owned))
            .collect();
        for other in known {
            assert!(
                allowed.contains(&other.as_str()),
                "pkg/{room} must not know pkg/{other}"
            );
        }
    }
}

#[test]
fn outside_crates_have_one_home() {
    let folders = rooms("pkg").into_iter().map(|room| format!("pkg/{room}"));
    for folder in folders.chain(["cmd/kobune".to_owned()]) {
        for name in dependencies(&folder) {
            if let Some((_, homes)) = HOMES.iter().find(|(home, _)| *home == name) {
                assert!(
                    homes.contains(&folder.as_str()),
                    "{folder} uses {name}, whose home is {}",
                    homes.join(", ")
                );
            }
        }
    }
}

#[test]
fn every_home_is_lived_in() {
    for (name, homes) in HOMES {
        for home in *homes {
            assert!(
                dependencies(home).contains(*name),
                "HOMES says that {name} lives in {home}, but {home} does not use it"
            );
        }
    }
}

#[test]
fn there_is_no_common_or_util_room() {
    for room in rooms("pkg") {
        assert!(
            !["common", "util", "utils", "shared", "misc"].contains(&room.as_str()),
            "pkg/{room}"
        );
    }
}
