//! Services, their endpoints, ingresses and policies.

use super::row::{Row, first_three};
use super::{AGE, Column, NAME};
use serde_json::Value;

/// The columns of a networking kind, if it has its own.
pub(super) fn columns(kind: &str) -> Option<&'static [Column]> {
    Some(match kind {
        "Service" => SERVICE,
        "Endpoints" => {
            const {
                &[
                    NAME,
                    Column::of("Endpoints", "Addresses and ports.", |row| endpoints(row).into()),
                    AGE,
                ]
            }
        }
        "EndpointSlice" => ENDPOINT_SLICE,
        "Ingress" => INGRESS,
        "IngressClass" => INGRESS_CLASS,
        "NetworkPolicy" => {
            const {
                &[
                    NAME,
                    Column::of("Pod-Selector", "Which pods it is about.", |row| {
                        row.selector("spec.podSelector").into()
                    }),
                    AGE,
                ]
            }
        }
        "ServiceCIDR" => {
            const {
                &[
                    NAME,
                    Column::of("CIDRs", "Ranges of addresses.", |row| {
                        row.texts("spec.cidrs").join(",").into()
                    }),
                    AGE,
                ]
            }
        }
        "IPAddress" => const { &[NAME, Column::of("ParentRef", "Whose address it is.", parent)] },
        _ => return None,
    })
}

const SERVICE: &[Column] = &[
    NAME,
    Column::text("Type", "How the service is reached.", "spec.type"),
    Column::of("Cluster-IP", "Address inside the cluster.", |row| {
        let first = row.texts("spec.clusterIPs").first().copied();
        first
            .unwrap_or_else(|| row.text_or("spec.clusterIP", "<none>"))
            .into()
    }),
    Column::of("External-IP", "Addresses outside the cluster.", |row| {
        external_ip(row).into()
    }),
    Column::of("Port(s)", "Ports and protocols.", |row| ports(row).into()),
    AGE,
    Column::of("Selector", "Which pods serve.", |row| {
        row.labels("spec.selector").into()
    })
    .wide(),
];

fn external_ip(row: &Row<'_>) -> String {
    let external = row.texts("spec.externalIPs");
    let none = |absent: &str| {
        if external.is_empty() {
            absent.to_owned()
        } else {
            external.join(",")
        }
    };
    match row.text("spec.type") {
        "ClusterIP" | "NodePort" => none("<none>"),
        "ExternalName" => row.text("spec.externalName").to_owned(),
        "LoadBalancer" => match ingress_addresses(row) {
            balancer if balancer.is_empty() => none("<pending>"),
            balancer if external.is_empty() => balancer,
            balancer => format!("{balancer},{}", external.join(",")),
        },
        _ => "<unknown>".to_owned(),
    }
}

fn ingress_addresses(row: &Row<'_>) -> String {
    let ingress = row.list("status.loadBalancer.ingress");
    let mut addresses: Vec<&str> = ingress
        .map(|i| i.text_or("ip", i.text("hostname")))
        .filter(|a| !a.is_empty())
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.join(",")
}

fn ports(row: &Row<'_>) -> String {
    let pieces = row.list("spec.ports").map(|port| {
        let (number, protocol) = (port.number("port"), port.text("protocol"));
        match port.number("nodePort") {
            node @ 1.. => format!("{number}:{node}/{protocol}"),
            _ => format!("{number}/{protocol}"),
        }
    });
    match pieces.collect::<Vec<_>>().join(",") {
        none if none.is_empty() => "<none>".to_owned(),
        ports => ports,
    }
}

fn endpoints(row: &Row<'_>) -> String {
    let mut all = Vec::new();
    for subset in row.list("subsets") {
        let ports: Vec<Option<i64>> = match subset.size("ports") {
            0 => vec![None],
            _ => subset
                .list("ports")
                .map(|port| Some(port.number("port")))
                .collect(),
        };
        for port in ports {
            all.extend(
                subset
                    .list("addresses")
                    .map(|address| match (address.text("ip"), port) {
                        (ip, None) => ip.to_owned(),
                        (ip, Some(port)) if ip.contains(':') => format!("[{ip}]:{port}"),
                        (ip, Some(port)) => format!("{ip}:{port}"),
                    }),
            );
        }
    }
    match all.len() {
        0 if row.size("subsets") == 0 => "<none>".to_owned(),
        n @ 4.. => format!("{} + {} more...", all[..3].join(","), n - 3),
        _ => all.join(","),
    }
}

const ENDPOINT_SLICE: &[Column] = &[
    NAME,
    Column::text("AddressType", "Family of the addresses.", "addressType"),
    Column::of("Ports", "Ports of every endpoint.", |row| {
        let show = |port: Row<'_>| match port.get("port") {
            Some(number) => number.to_string(),
            None if port.get("name").is_some() => port.text("name").to_owned(),
            None => "*".to_owned(),
        };
        first_three(&row.list("ports").map(show).collect::<Vec<_>>()).into()
    }),
    Column::of("Endpoints", "Addresses of the endpoints.", |row| {
        let addresses = row.list("endpoints").flat_map(|e| e.texts("addresses"));
        first_three(&addresses.map(str::to_owned).collect::<Vec<_>>()).into()
    }),
    AGE,
];

const INGRESS: &[Column] = &[
    NAME,
    Column::text_or("Class", "Who implements it.", "spec.ingressClassName", "<none>"),
    Column::of("Hosts", "Hosts it is for.", |row| hosts(row).into()),
    Column::of("Address", "Where it is reached.", |row| {
        ingress_addresses(row).into()
    }),
    Column::of("Ports", "Ports it listens on.", |row| {
        if row.size("spec.tls") > 0 {
            "80, 443".into()
        } else {
            "80".into()
        }
    }),
    AGE,
];

fn hosts(row: &Row<'_>) -> String {
    let mut list = Vec::new();
    let mut more = false;
    for rule in row.list("spec.rules") {
        more |= list.len() == 3;
        let host = rule.text("host");
        if !more && !host.is_empty() {
            list.push(host);
        }
    }
    match (list.is_empty(), more) {
        (true, _) => "*".to_owned(),
        (_, true) => format!("{} + {} more...", list.join(","), row.size("spec.rules") - 3),
        _ => list.join(","),
    }
}

const INGRESS_CLASS: &[Column] = &[
    Column::of("Name", "Name of the object.", |row| {
        let mark = if row.is_annotated("ingressclass.kubernetes.io/is-default-class") {
            " (default)"
        } else {
            ""
        };
        format!("{}{mark}", row.text("metadata.name")).into()
    })
    .naming(),
    Column::text("Controller", "Who implements it.", "spec.controller"),
    Column::of("Parameters", "Where its settings are.", |row| {
        match row.get("spec.parameters") {
            None => "<none>".into(),
            Some(parameters) => {
                let parameters = row.part(parameters);
                let group = parameters.get("apiGroup").and_then(Value::as_str);
                let group = group.map(|g| format!(".{g}")).unwrap_or_default();
                format!("{}{group}/{}", parameters.text("kind"), parameters.text("name")).into()
            }
        }
    }),
    AGE,
];

fn parent(row: &Row<'_>) -> Value {
    let Some(parent) = row.get("spec.parentRef") else {
        return "<none>".into();
    };
    let parent = row.part(parent);
    let mut text = parent.text("resource").to_lowercase();
    for (mark, field) in [('.', "group"), ('/', "namespace"), ('/', "name")] {
        let part = parent.text(field);
        if !part.is_empty() {
            text.push(mark);
            text.push_str(part);
        }
    }
    text.into()
}
