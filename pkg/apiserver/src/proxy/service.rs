//! `services/{name}/proxy`: one of the Service's ready endpoints.

use kobune_api::status::Status;
use serde_json::Value;

use super::place::{Place, place, split_name, unavailable};
use crate::object::{elements, integer, text};
use crate::registry::call::Call;

/// Chooses an endpoint of the Service, by the port's name or number, at random.
pub fn endpoint(call: &Call<'_>) -> Result<Place, Status> {
    let (scheme, name, port) = split_name(call.info.name)?;
    let record = call.server.store.get(&call.row.key(call.info.namespace, name));
    let record = record.ok_or_else(|| Status::not_found(call.row.resource(), name))?;
    let service = call.read(&record.value)?;
    let port = port_name(&service, name, port)?;
    let found = endpoints(call, name, &port);
    let none = || unavailable(format!("no endpoints available for service {name:?}"));
    let count = u64::try_from(found.len()).unwrap_or(0);
    let at = call.server.random().checked_rem(count).ok_or_else(none)?;
    let (ip, number) = found.get(usize::try_from(at).unwrap_or(0)).ok_or_else(none)?;
    place(*ip, *number, scheme)
}

/// The name of the port that is meant, which its endpoints carry.
fn port_name(service: &Value, name: &str, asked: &str) -> Result<String, Status> {
    let ports = elements(service, &["spec", "ports"]);
    let number: Option<i64> = asked.parse().ok();
    let found = match (asked, ports) {
        ("", [only]) => Some(only),
        ("", _) => ports.iter().find(|port| text(port, &["name"]).is_empty()),
        _ => ports.iter().find(|port| {
            text(port, &["name"]) == asked || number.is_some() && integer(port, &["port"]) == number
        }),
    };
    let found = found.map(|port| text(port, &["name"]).to_owned());
    found.ok_or_else(|| unavailable(format!("no service port {asked:?} found for service {name:?}")))
}

fn endpoints(call: &Call<'_>, service: &str, port: &str) -> Vec<(std::net::IpAddr, i64)> {
    let prefix = format!(
        "/registry/discovery.k8s.io/endpointslices/{}/",
        call.info.namespace
    );
    let snapshot = call.server.store.snapshot();
    let slices = snapshot
        .range(&prefix, None)
        .filter_map(|record| serde_json::from_slice::<Value>(&record.value).ok())
        .filter(|slice| text(slice, &["metadata", "labels", "kubernetes.io/service-name"]) == service);
    let mut found = Vec::new();
    for slice in slices {
        let ports = elements(&slice, &["ports"]).iter();
        let number = ports
            .filter(|entry| text(entry, &["name"]) == port)
            .find_map(|entry| integer(entry, &["port"]));
        let Some(number) = number else { continue };
        for endpoint in elements(&slice, &["endpoints"]) {
            if endpoint["conditions"]["ready"] == false {
                continue;
            }
            let addresses = elements(endpoint, &["addresses"])
                .iter()
                .filter_map(Value::as_str);
            found.extend(addresses.filter_map(|ip| Some((ip.parse().ok()?, number))));
        }
    }
    found
}
