//! Promises of the resolver's names.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::names;

fn authority() -> Authority {
    Authority::new("cluster.local", vec![[10, 43, 0, 10].into()]).unwrap()
}

fn add(zone: &mut Zone, name: &str, spec: Value, endpoints: Value) {
    let service = json!({"metadata": {"namespace": "shop", "name": name}, "spec": spec});
    let slice = json!({"metadata": {"name": name}, "addressType": "IPv4", "endpoints": endpoints,
        "ports": [{"name": "http", "port": 8080}]});
    let slice = serde_json::from_value(slice).unwrap();
    let names = names::of(&serde_json::from_value(service).unwrap(), &[&slice]);
    zone.set_service(&format!("shop/{name}"), names);
}

fn zone() -> Zone {
    let mut zone = Zone::default();
    zone.complete = true;
    zone.set_namespace("shop", true);
    let ports = json!([{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]);
    add(
        &mut zone,
        "web",
        json!({"clusterIP": "10.43.0.5", "ports": ports}),
        json!([{"addresses": ["10.42.0.2"]}, {"addresses": ["10.42.0.3"]}]),
    );
    add(
        &mut zone,
        "db",
        json!({"clusterIP": "None", "ports": [{"name": "http", "port": 8080}]}),
        json!([
        {"addresses": ["10.42.0.7"], "hostname": "db-0"}, {"addresses": ["10.42.0.8"]},
        {"addresses": ["10.42.0.9"], "hostname": "db-2", "conditions": {"ready": false}}]),
    );
    add(&mut zone, "lonely", json!({"clusterIP": "None"}), json!([]));
    add(
        &mut zone,
        "far",
        json!({"type": "ExternalName", "externalName": "Example.org."}),
        json!([]),
    );
    add(
        &mut zone,
        "near",
        json!({"type": "ExternalName", "externalName": "web.shop.svc.cluster.local"}),
        json!([]),
    );
    add(
        &mut zone,
        "ring",
        json!({"type": "ExternalName", "externalName": "ring.shop.svc.cluster.local"}),
        json!([]),
    );
    zone
}

fn ask_in(zone: &Zone, name: &str, kind: RecordType) -> Answer {
    answer(
        &Name::from_ascii(format!("{name}.")).unwrap(),
        kind,
        &authority(),
        zone,
        0,
    )
}

/// The answer's data as text, or in brackets why there is none.
fn ask(name: &str, kind: RecordType) -> Vec<String> {
    match ask_in(&zone(), name, kind) {
        Answer::Found { answers, .. } => answers.iter().map(|record| record.data.to_string()).collect(),
        other => vec![format!("[{other:?}]")],
    }
}

#[test]
fn a_service_has_its_cluster_address() {
    assert_eq!(ask("web.shop.svc.cluster.local", RecordType::A), ["10.43.0.5"]);
    assert_eq!(ask("WEB.Shop.svc.cluster.LOCAL", RecordType::A), ["10.43.0.5"]);
    assert_eq!(ask("web.shop.svc.cluster.local", RecordType::AAAA), ["[NoData]"]);
    assert_eq!(ask("web.shop.svc.cluster.local", RecordType::TXT), ["[NoData]"]);
}

#[test]
fn a_headless_service_has_its_ready_endpoints() {
    assert_eq!(ask("db.shop.svc.cluster.local", RecordType::A).len(), 2);
    assert_eq!(
        ask("db-0.db.shop.svc.cluster.local", RecordType::A),
        ["10.42.0.7"]
    );
    assert_eq!(
        ask("10-42-0-8.db.shop.svc.cluster.local", RecordType::A),
        ["10.42.0.8"]
    );
    assert_eq!(ask("db-2.db.shop.svc.cluster.local", RecordType::A), ["[NoName]"]);
    assert_eq!(ask("lonely.shop.svc.cluster.local", RecordType::A), ["[NoName]"]);
}

#[test]
fn the_endpoints_take_turns_at_being_first() {
    let name = Name::from_ascii("db.shop.svc.cluster.local.").unwrap();
    let first = |turn| match answer(&name, RecordType::A, &authority(), &zone(), turn) {
        Answer::Found { answers, .. } => answers[0].data.to_string(),
        other => panic!("{other:?}"),
    };
    assert_ne!(first(0), first(1));
    assert_eq!(first(0), first(2));
}

#[test]
fn named_ports_are_found_with_what_they_lead_to() {
    assert_eq!(
        ask("_http._tcp.web.shop.svc.cluster.local", RecordType::SRV),
        ["0 100 80 web.shop.svc.cluster.local."]
    );
    assert_eq!(
        ask("_dns._udp.web.shop.svc.cluster.local", RecordType::SRV).len(),
        1
    );
    assert_eq!(ask("web.shop.svc.cluster.local", RecordType::SRV).len(), 2);
    assert_eq!(
        ask("_http._tcp.db.shop.svc.cluster.local", RecordType::SRV),
        [
            "0 100 8080 10-42-0-8.db.shop.svc.cluster.local.",
            "0 100 8080 db-0.db.shop.svc.cluster.local."
        ]
    );
    assert_eq!(
        ask("_other._tcp.web.shop.svc.cluster.local", RecordType::SRV),
        ["[NoName]"]
    );
    assert_eq!(
        ask("_http._tcp.web.shop.svc.cluster.local", RecordType::A),
        ["[NoData]"]
    );
    assert_eq!(
        ask("_tcp.web.shop.svc.cluster.local", RecordType::SRV),
        ["[NoData]"]
    );
    match ask_in(&zone(), "_http._tcp.web.shop.svc.cluster.local", RecordType::SRV) {
        Answer::Found { additionals, .. } => assert_eq!(additionals[0].data.to_string(), "10.43.0.5"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_pod_is_named_by_its_address() {
    assert_eq!(
        ask("10-42-0-7.shop.pod.cluster.local", RecordType::A),
        ["10.42.0.7"]
    );
    assert_eq!(
        ask("10-42-0-7.nowhere.pod.cluster.local", RecordType::A),
        ["[NoName]"]
    );
    assert_eq!(ask("web-0.shop.pod.cluster.local", RecordType::A), ["[NoName]"]);
}

#[test]
fn an_external_name_is_an_alias() {
    match ask_in(&zone(), "far.shop.svc.cluster.local", RecordType::A) {
        Answer::Found {
            answers,
            alias: Some(alias),
            ..
        } => {
            assert_eq!((answers.len(), alias.to_string()), (1, "example.org.".to_owned()));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        ask("far.shop.svc.cluster.local", RecordType::CNAME),
        ["example.org."]
    );
    assert_eq!(
        ask("near.shop.svc.cluster.local", RecordType::A),
        ["web.shop.svc.cluster.local.", "10.43.0.5"]
    );
    assert!(ask("ring.shop.svc.cluster.local", RecordType::A).len() <= ALIASES_AT_MOST + 1);
}

#[test]
fn addresses_have_names() {
    assert_eq!(
        ask("5.0.43.10.in-addr.arpa", RecordType::PTR),
        ["web.shop.svc.cluster.local."]
    );
    assert_eq!(
        ask("7.0.42.10.in-addr.arpa", RecordType::PTR),
        ["db-0.db.shop.svc.cluster.local."]
    );
    assert_eq!(
        ask("2.0.42.10.in-addr.arpa", RecordType::PTR),
        ["10-42-0-2.web.shop.svc.cluster.local."]
    );
    assert_eq!(ask("9.9.9.9.in-addr.arpa", RecordType::PTR), ["[NotOurs]"]);
}

#[test]
fn what_is_between_names_is_there_but_empty() {
    for name in [
        "svc.cluster.local",
        "pod.cluster.local",
        "shop.svc.cluster.local",
        "shop.pod.cluster.local",
    ] {
        assert_eq!(ask(name, RecordType::A), ["[NoData]"], "{name}");
    }
    for name in [
        "nowhere.svc.cluster.local",
        "x.shop.svc.cluster.local",
        "x.cluster.local",
    ] {
        assert_eq!(ask(name, RecordType::A), ["[NoName]"], "{name}");
    }
    // What a search path makes of other names.
    assert_eq!(
        ask("example.org.shop.svc.cluster.local", RecordType::A),
        ["[NoName]"]
    );
    assert_eq!(ask("example.org", RecordType::A), ["[NotOurs]"]);
    assert_eq!(ask("xcluster.local", RecordType::A), ["[NotOurs]"]);
}

#[test]
fn the_zone_tells_of_itself() {
    assert_eq!(ask("dns-version.cluster.local", RecordType::TXT), ["1.1.0"]);
    assert_eq!(ask("cluster.local", RecordType::NS), ["ns.dns.cluster.local."]);
    assert_eq!(ask("ns.dns.cluster.local", RecordType::A), ["10.43.0.10"]);
    assert!(ask("cluster.local", RecordType::SOA)[0].starts_with("ns.dns.cluster.local. hostmaster"));
    assert_eq!(ask("cluster.local", RecordType::A), ["[NoData]"]);
}

#[test]
fn names_are_asked_again_until_all_is_known() {
    let zone = Zone::default();
    assert_eq!(
        ask_in(&zone, "web.shop.svc.cluster.local", RecordType::A),
        Answer::NotYet
    );
    assert_eq!(ask_in(&zone, "example.org", RecordType::A), Answer::NotOurs);
}

#[test]
fn a_service_that_goes_takes_its_names_along() {
    let mut zone = zone();
    for name in ["web", "db", "lonely", "far", "near", "ring"] {
        zone.set_service(&format!("shop/{name}"), None);
    }
    assert_eq!(
        ask_in(&zone, "web.shop.svc.cluster.local", RecordType::A),
        Answer::NoName
    );
    assert_eq!(
        ask_in(&zone, "7.0.42.10.in-addr.arpa", RecordType::PTR),
        Answer::NotOurs
    );
}

proptest! {
    #[test]
    fn no_question_is_too_strange(labels in proptest::collection::vec("[a-z0-9_-]{1,12}", 0..8), kind in 0u16..300) {
        let name = labels.join(".");
        if let Ok(name) = Name::from_ascii(format!("{name}.svc.cluster.local.")) {
            answer(&name, RecordType::from(kind), &authority(), &zone(), usize::from(kind));
        }
    }
}
