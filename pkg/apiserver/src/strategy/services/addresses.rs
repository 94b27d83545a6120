//! The ranges that cluster addresses come from, and the IPAddress object of each that is taken. It is
//! written and removed in the commit of the Service itself, so that neither is there without the other.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use kobune_api::fields::FieldError;
use kobune_api::status::Status;
use kobune_api::{apply, meta};
use kobune_store::{Expect, Op};
use serde_json::{Value, json};

use super::{held, invalid};
use crate::config::Cidr;
use crate::object::{elements, text};
use crate::registry::call::Call;
use crate::registry::encode::encode;
use crate::server::Inner;

const RANGES: &str = "/registry/networking.k8s.io/servicecidrs/";
const ADDRESSES: &str = "/registry/networking.k8s.io/ipaddresses/";

/// Who takes addresses, as the objects say.
const ALLOCATOR: &str = "ipallocator.k8s.io";

/// The ranges to take addresses from: the server's own first, then those that were added and are ready.
pub fn ranges(server: &Inner) -> Vec<Cidr> {
    let own = server.config.service_cidr;
    let mut ranges = vec![own];
    for record in server.store.snapshot().range(RANGES, None) {
        let object: Value = serde_json::from_slice(&record.value).unwrap_or_default();
        let listed = elements(&object, &["spec", "cidrs"]).iter();
        // Ranges of IPv6 are none of ours.
        let parsed = listed.filter_map(|range| range.as_str()?.parse().ok());
        let usable = is_ready(&object) && meta::deletion_timestamp(&object).is_empty();
        for range in parsed {
            match ranges.contains(&range) {
                true if range == own && !meta::deletion_timestamp(&object).is_empty() => {
                    ranges.retain(|known| *known != own);
                }
                false if usable => ranges.push(range),
                _ => {}
            }
        }
    }
    ranges
}

fn is_ready(range: &Value) -> bool {
    let conditions = elements(range, &["status", "conditions"]).iter();
    conditions
        .filter(|condition| condition["type"] == "Ready")
        .any(|condition| condition["status"] == "True")
}

/// Whether an address has an object, whoever made it.
pub fn is_named(server: &Inner, address: Ipv4Addr) -> bool {
    server.store.get(&key(address)).is_some()
}

/// What the write of a Service means to the objects of its addresses.
pub fn writes(call: &Call<'_>, old: Option<&Value>, new: Option<&Value>) -> Result<Vec<Op>, Status> {
    let addresses = |service: Option<&Value>| service.map(|service| held(service).addresses);
    let had = addresses(old).unwrap_or_default();
    let has = addresses(new).unwrap_or_default();
    let mut ops = Vec::new();
    if let Some(service) = new {
        for address in has.difference(&had) {
            ops.push(taken(call, service, *address)?);
        }
    }
    if let Some(service) = old {
        ops.extend(left(call, service, had.difference(&has).copied().collect()));
    }
    Ok(ops)
}

fn taken(call: &Call<'_>, service: &Value, address: Ipv4Addr) -> Result<Op, Status> {
    let key = key(address);
    if call.server.store.get(&key).is_some() {
        let detail = format!("failed to allocate IP {address}: provided IP is already allocated");
        let error = FieldError::invalid("spec.clusterIPs", json!([address.to_string()]), detail);
        return Err(invalid(call, service, &[error]));
    }
    let mut object = object(service, address);
    meta::begin_life(&mut object, &call.server.new_uid(), call.now);
    let row = call.server.rows.named("networking.k8s.io", "ipaddresses");
    let schema = row.and_then(|row| row.kind.schema);
    let (by, how) = ("kube-apiserver", apply::Operation::Update);
    apply::track_update(schema, None, &mut object, by, how, "", call.now);
    Ok(Op::Put {
        key,
        value: encode(&object),
        expect: Expect::Absent,
    })
}

/// The objects of addresses that a Service no longer has, as far as they are its own.
fn left(call: &Call<'_>, service: &Value, addresses: BTreeSet<Ipv4Addr>) -> Vec<Op> {
    let mine = |object: &Value| {
        text(object, &["spec", "parentRef", "name"]) == meta::name(service)
            && text(object, &["spec", "parentRef", "namespace"]) == meta::namespace(service)
    };
    let records = addresses.into_iter().filter_map(|address| {
        let record = call.server.store.get(&key(address))?;
        let object: Value = serde_json::from_slice(&record.value).ok()?;
        mine(&object).then(|| Op::Delete {
            key: record.key.clone(),
            expect: Expect::Revision(record.revision),
            last: Some(encode(&object)),
        })
    });
    records.collect()
}

/// The object of an address of a Service.
pub fn object(service: &Value, address: Ipv4Addr) -> Value {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "IPAddress",
        "metadata": {"name": address.to_string(), "labels": {
            "ipaddress.kubernetes.io/ip-family": "IPv4", "ipaddress.kubernetes.io/managed-by": ALLOCATOR}},
        "spec": {"parentRef": {"group": "", "resource": "services",
            "namespace": meta::namespace(service), "name": meta::name(service)}}})
}

fn key(address: Ipv4Addr) -> Arc<str> {
    format!("{ADDRESSES}{address}").into()
}
