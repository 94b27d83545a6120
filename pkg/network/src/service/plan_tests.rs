//! Promises of the Service plan.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn node() -> NodeView {
    NodeView {
        pod_cidr: "10.42.0.0/24".parse().unwrap(),
        node_ip: Ipv4Addr::new(192, 0, 2, 2),
        answered_here: Some(Ipv4Addr::new(10, 43, 0, 10)),
    }
}

fn service(spec: Value) -> Service {
    serde_json::from_value(json!({"metadata": {"namespace": "shop", "name": "web"}, "spec": spec})).unwrap()
}

fn slice(port: u16, endpoints: Value) -> EndpointSlice {
    serde_json::from_value(json!({
        "metadata": {"namespace": "shop", "name": "web-x"}, "addressType": "IPv4",
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}], "endpoints": endpoints,
    }))
    .unwrap()
}

fn cluster_ip(more: Value) -> Service {
    let mut spec = json!({"clusterIP": "10.43.0.5", "clusterIPs": ["10.43.0.5"],
        "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]});
    spec.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    service(spec)
}

fn front(last: u8) -> Front {
    Front::Address(Ipv4Addr::new(10, 43, 0, last), Protocol::Tcp, 80)
}

fn of(service: &Service, slices: &[EndpointSlice]) -> ServicePlan {
    plan(service, &slices.iter().collect::<Vec<_>>(), &node())
}

#[test]
fn packets_to_the_cluster_address_go_to_the_ready_endpoints() {
    let slices = [slice(
        8080,
        json!([
            {"addresses": ["10.42.0.3"], "conditions": {"ready": true}},
            {"addresses": ["10.42.0.4"], "conditions": {"ready": false}},
            {"addresses": ["10.42.1.5"]},
        ]),
    )];
    let plan = of(&cluster_ip(json!({})), &slices);
    assert_eq!(
        plan.fronts[&front(5)],
        Target::Chain("service/shop/web/tcp/80".into())
    );
    let endpoints: Vec<_> = plan
        .endpoints(&front(5))
        .iter()
        .map(|e| (e.address.to_string(), e.port))
        .collect();
    assert_eq!(
        endpoints,
        [("10.42.0.3".to_owned(), 8080), ("10.42.1.5".to_owned(), 8080)]
    );
}

#[test]
fn endpoints_that_end_serve_only_when_no_other_is_left() {
    let ending = json!({"addresses": ["10.42.0.3"],
        "conditions": {"ready": false, "serving": true, "terminating": true}});
    let ready = json!({"addresses": ["10.42.0.4"], "conditions": {"ready": true}});
    let count = |endpoints| {
        of(&cluster_ip(json!({})), &[slice(80, endpoints)])
            .endpoints(&front(5))
            .to_vec()
    };
    assert_eq!(count(json!([ending]))[0].address, Ipv4Addr::new(10, 42, 0, 3));
    assert_eq!(
        count(json!([ending, ready]))[0].address,
        Ipv4Addr::new(10, 42, 0, 4)
    );
}

#[test]
fn without_endpoints_everything_is_rejected() {
    let service = cluster_ip(json!({"type": "NodePort", "externalIPs": ["198.51.100.7"],
        "ports": [{"name": "http", "port": 80, "nodePort": 30080}]}));
    let plan = of(&service, &[]);
    assert_eq!(plan.fronts.len(), 3);
    assert!(plan.fronts.values().all(|target| *target == Target::Reject));
    assert!(plan.chains.is_empty());
}

#[test]
fn a_node_port_marks_what_comes_from_outside() {
    let service = cluster_ip(json!({"ports": [{"name": "http", "port": 80, "nodePort": 30080}]}));
    let plan = of(&service, &[slice(8080, json!([{"addresses": ["10.42.1.3"]}]))]);
    let node_port = Front::NodePort(Protocol::Tcp, 30080);
    assert_eq!(
        plan.fronts[&node_port],
        Target::Chain("external/shop/web/tcp/80".into())
    );
    assert_eq!(plan.endpoints(&node_port), plan.endpoints(&front(5)));
}

#[test]
fn a_local_policy_keeps_to_this_node_and_drops_without_an_endpoint() {
    let service = cluster_ip(
        json!({"externalTrafficPolicy": "Local", "internalTrafficPolicy": "Local",
        "ports": [{"name": "http", "port": 80, "nodePort": 30080}]}),
    );
    let here = of(
        &service,
        &[slice(
            8080,
            json!([{"addresses": ["10.42.1.3"]}, {"addresses": ["10.42.0.3"]}]),
        )],
    );
    let node_port = Front::NodePort(Protocol::Tcp, 30080);
    assert_eq!(
        here.fronts[&node_port],
        Target::Chain("local/shop/web/tcp/80".into())
    );
    assert_eq!(
        here.endpoints(&front(5)),
        [Endpoint {
            address: Ipv4Addr::new(10, 42, 0, 3),
            port: 8080
        }]
    );
    let elsewhere = of(&service, &[slice(8080, json!([{"addresses": ["10.42.1.3"]}]))]);
    assert!(elsewhere.fronts.values().all(|target| *target == Target::Drop));
}

#[test]
fn headless_and_external_name_services_are_names_only() {
    let slices = [slice(8080, json!([{"addresses": ["10.42.0.3"]}]))];
    for service in [
        cluster_ip(json!({"clusterIP": "None", "clusterIPs": ["None"]})),
        cluster_ip(json!({"type": "ExternalName", "externalName": "example.org"})),
    ] {
        assert_eq!(of(&service, &slices), ServicePlan::default());
    }
}

#[test]
fn the_address_this_node_answers_itself_is_left_alone() {
    let dns = cluster_ip(json!({"clusterIP": "10.43.0.10", "clusterIPs": ["10.43.0.10"]}));
    assert_eq!(of(&dns, &[]).fronts, BTreeMap::new());
}

#[test]
fn clients_are_remembered_when_asked_for() {
    let affinity = |more| {
        let plan = of(
            &cluster_ip(more),
            &[slice(8080, json!([{"addresses": ["10.42.0.3"]}]))],
        );
        plan.chains["service/shop/web/tcp/80"].affinity()
    };
    assert_eq!(affinity(json!({"sessionAffinity": "None"})), None);
    assert_eq!(affinity(json!({"sessionAffinity": "ClientIP"})), Some(10_800));
    let config =
        json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 5}}});
    assert_eq!(affinity(config), Some(5));
}

#[test]
fn ports_are_matched_by_name_and_protocol() {
    let service = cluster_ip(json!({"ports": [{"name": "other", "port": 80}]}));
    let plan = of(&service, &[slice(8080, json!([{"addresses": ["10.42.0.3"]}]))]);
    assert_eq!(plan.fronts[&front(5)], Target::Reject);
}

proptest! {
    #[test]
    fn every_chain_is_led_to_and_every_lead_has_its_chain(
        endpoints in proptest::collection::vec((0u8..3, 2u8..20, any::<bool>(), any::<bool>()), 0..12),
        local in any::<(bool, bool)>(),
        node_port in proptest::option::of(30000u16..30010),
    ) {
        let policy = |local| if local { "Local" } else { "Cluster" };
        let service = cluster_ip(json!({
            "internalTrafficPolicy": policy(local.0), "externalTrafficPolicy": policy(local.1),
            "ports": [{"name": "http", "port": 80, "nodePort": node_port}]}));
        let endpoints: Vec<_> = endpoints.into_iter().map(|(net, host, ready, ending)| json!({
            "addresses": [format!("10.42.{net}.{host}")],
            "conditions": {"ready": ready, "serving": ready || ending, "terminating": ending}})).collect();
        let plan = of(&service, &[slice(8080, json!(endpoints))]);
        let mut led: BTreeSet<&str> = BTreeSet::new();
        for target in plan.fronts.values() {
            if let Target::Chain(name) = target {
                led.insert(name);
                prop_assert!(plan.chains.contains_key(name));
            }
        }
        for chain in plan.chains.values() {
            match chain {
                Chain::External { to } => { led.insert(to); }
                Chain::Balance { endpoints, .. } => prop_assert!(!endpoints.is_empty()),
            }
        }
        prop_assert_eq!(led.len(), plan.chains.len());
    }
}
