//! Services: their addresses and node ports come from shared supplies.

pub mod addresses;
mod fields;
pub mod supply;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use kobune_api::defaults;
use kobune_api::fields::FieldError;
use kobune_api::meta;
use kobune_api::status::Status;
use kobune_store::Op;
use serde_json::{Value, json};

use super::{Reservation, Strategy};
use crate::object::{elements, fields as map_of, integer, text};
use crate::registry::call::Call;
use crate::server::Inner;
use supply::{Held, Supply, Taken};

/// See the module.
pub struct Services;

impl Strategy for Services {
    fn prepare_create(&self, call: &Call<'_>, service: &mut Value) -> Result<(), Status> {
        fields::families(None, service).map_err(|errors| invalid(call, service, &errors))
    }

    fn prepare_update(
        &self,
        call: &Call<'_>,
        part: &str,
        old: &Value,
        new: &mut Value,
    ) -> Result<(), Status> {
        if part.is_empty() {
            defaults::on_update(&call.row.kind, new, old);
            fields::drop_dependent(old, new);
            fields::families(Some(old), new).map_err(|errors| invalid(call, new, &errors))?;
        }
        Ok(())
    }

    fn reserve(
        &self,
        call: &Call<'_>,
        old: Option<&Value>,
        service: &mut Value,
    ) -> Result<Option<Box<dyn Reservation>>, Status> {
        let mut object = service.clone();
        let supply = &call.server.supply;
        let before = old.map(held).unwrap_or_default();
        let mut taken = Taken::new(supply.clone());
        let random = call.server.random();
        take_address(call.server, &before, &mut taken, &mut object, random)
            .map_err(|error| invalid(call, service, &[error]))?;
        take_ports(supply, &before, &mut taken, &mut object, random)
            .map_err(|error| invalid(call, service, &[error]))?;
        let now = held(&object);
        taken.frees(before.without(&now));
        *service = object;
        Ok(Some(Box::new(taken)))
    }

    fn beside(&self, call: &Call<'_>, old: Option<&Value>, new: Option<&Value>) -> Result<Vec<Op>, Status> {
        addresses::writes(call, old, new)
    }

    fn deleted(&self, call: &Call<'_>, service: &Value) {
        call.server.supply.release(&held(service));
    }
}

fn invalid(call: &Call<'_>, service: &Value, errors: &[FieldError]) -> Status {
    Status::invalid(call.row.group_kind(), meta::name(service), errors)
}

impl Reservation for Taken {
    fn keep(self: Box<Self>) {
        Taken::keep(*self);
    }
}

/// What a stored Service holds of the supplies.
pub fn held(service: &Value) -> Held {
    let addresses = elements(service, &["spec", "clusterIPs"])
        .iter()
        .filter_map(Value::as_str);
    let single = text(service, &["spec", "clusterIP"]);
    let port = |value: Option<i64>| {
        value
            .and_then(|port| u16::try_from(port).ok())
            .filter(|port| *port > 0)
    };
    let check = port(integer(service, &["spec", "healthCheckNodePort"]));
    let ports = elements(service, &["spec", "ports"]).iter();
    Held {
        addresses: addresses
            .chain([single])
            .filter_map(|ip| ip.parse().ok())
            .collect(),
        ports: ports
            .filter_map(|entry| port(integer(entry, &["nodePort"])))
            .chain(check)
            .collect(),
    }
}

fn kind(service: &Value) -> &str {
    text(service, &["spec", "type"])
}

fn take_address(
    server: &Inner,
    before: &Held,
    taken: &mut Taken,
    service: &mut Value,
    random: u64,
) -> Result<(), FieldError> {
    if !matches!(kind(service), "" | "ClusterIP" | "NodePort" | "LoadBalancer") {
        return Ok(());
    }
    let listed = elements(service, &["spec", "clusterIPs"])
        .first()
        .and_then(Value::as_str)
        .unwrap_or("");
    let single = text(service, &["spec", "clusterIP"]);
    let wanted = if single.is_empty() { listed } else { single }.to_owned();
    let given = match wanted.as_str() {
        "None" => wanted,
        "" => {
            let none = "failed to allocate a serviceIP: range is full";
            let named = |address| addresses::is_named(server, address);
            let ranges = addresses::ranges(server);
            let address = server
                .supply
                .any_address(&ranges, named, random)
                .ok_or_else(|| FieldError::internal("spec.clusterIPs", none))?;
            taken.address(address);
            address.to_string()
        }
        chosen => {
            let refuse = |why: &str| {
                let detail = format!("failed to allocate IP {chosen}: {why}");
                FieldError::invalid("spec.clusterIPs", json!([chosen]), detail)
            };
            let address: Ipv4Addr = chosen.parse().map_err(|_| refuse("it is no IPv4 address"))?;
            if !before.addresses.contains(&address) {
                let ranges = addresses::ranges(server);
                server.supply.address(&ranges, address).map_err(refuse)?;
                taken.address(address);
            }
            wanted
        }
    };
    let spec = map_of(service, "spec");
    spec.insert("clusterIP".to_owned(), given.as_str().into());
    spec.insert("clusterIPs".to_owned(), json!([given]));
    Ok(())
}

fn take_ports(
    supply: &Supply,
    before: &Held,
    taken: &mut Taken,
    service: &mut Value,
    random: u64,
) -> Result<(), FieldError> {
    let balanced = kind(service) == "LoadBalancer";
    let automatic = service["spec"]["allocateLoadBalancerNodePorts"] != false;
    let wants = kind(service) == "NodePort" || balanced && automatic;
    if !wants && !balanced {
        return Ok(());
    }
    let mut own = BTreeSet::new();
    let ports = service["spec"]["ports"]
        .as_array_mut()
        .map_or(&mut [][..], Vec::as_mut_slice);
    for (at, port) in ports.iter_mut().enumerate() {
        let given = integer(port, &["nodePort"]).unwrap_or(0);
        let field = format!("spec.ports[{at}].nodePort");
        if given == 0 {
            if wants {
                let none = "failed to allocate a nodePort: range is full";
                let number = supply.any_port(random.wrapping_add(at as u64));
                let number = number.ok_or_else(|| FieldError::internal(&field, none))?;
                taken.port(number);
                own.insert(number);
                port["nodePort"] = number.into();
            }
            continue;
        }
        let number = u16::try_from(given).unwrap_or(0);
        // The same number for TCP and UDP is one port of the supply.
        if !before.ports.contains(&number) && own.insert(number) {
            supply
                .port(number)
                .map_err(|why| FieldError::invalid(&field, given, why))?;
            taken.port(number);
        }
    }
    take_check_port(supply, before, taken, service, random)
}

/// A balancer that keeps the clients' addresses asks every node for its health on a port of its own.
fn take_check_port(
    supply: &Supply,
    before: &Held,
    taken: &mut Taken,
    service: &mut Value,
    random: u64,
) -> Result<(), FieldError> {
    let local = text(service, &["spec", "externalTrafficPolicy"]) == "Local";
    if kind(service) != "LoadBalancer" || !local {
        return Ok(());
    }
    let field = "spec.healthCheckNodePort";
    let given = integer(service, &["spec", "healthCheckNodePort"]).unwrap_or(0);
    if given == 0 {
        let number = supply.any_port(random.rotate_left(17));
        let number = number.ok_or_else(|| FieldError::internal(field, "range is full"))?;
        taken.port(number);
        map_of(service, "spec").insert("healthCheckNodePort".to_owned(), number.into());
        return Ok(());
    }
    let number = u16::try_from(given).unwrap_or(0);
    if !before.ports.contains(&number) {
        supply
            .port(number)
            .map_err(|why| FieldError::invalid(field, given, why))?;
        taken.port(number);
    }
    Ok(())
}
