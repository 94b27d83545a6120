//! Endpoints and EndpointSlices.

use super::at::{At, same};
use super::container::PROTOCOLS;
use super::{Errors, ip};
use crate::fields::FieldError;
use crate::names;
use std::net::IpAddr;

/// An Endpoints object; subsets that did not change are not checked again.
pub(super) fn endpoints(root: &At<'_, '_>, old: Option<&At<'_, '_>>, errors: &mut Errors) {
    let subsets = root.child("subsets");
    if old.is_some_and(|old| same(old.child("subsets").value, subsets.value)) {
        return;
    }
    for subset in subsets.items() {
        let lists = [subset.child("addresses"), subset.child("notReadyAddresses")];
        if lists.iter().all(|list| list.len() == 0) {
            let detail = "must specify `addresses` or `notReadyAddresses`";
            errors.push(FieldError::required(subset.path, detail));
        }
        for list in &lists {
            for address in list.items() {
                let at = address.child("ip");
                if ip::address(&at, errors) {
                    ip::endpoint(&at, errors);
                }
                address
                    .child("hostname")
                    .valid_if_set(errors, names::dns1123_label_errors);
                address
                    .child("nodeName")
                    .valid_if_set(errors, names::dns1123_subdomain_errors);
            }
        }
        let ports = subset.child("ports");
        for port in ports.items() {
            let name = port.child("name");
            if ports.len() > 1 {
                name.require_valid(errors, names::dns1123_label_errors);
            } else {
                name.valid_if_set(errors, names::dns1123_label_errors);
            }
            let number = port.child("port");
            for message in names::port_number_errors(number.number().unwrap_or_default()) {
                number.invalid_number(errors, &message);
            }
            port.child("protocol").require_one_of(errors, PROTOCOLS);
            port.child("appProtocol")
                .valid_if_set(errors, names::qualified_name_errors);
        }
    }
}

/// An EndpointSlice; endpoints that did not change are not checked again.
pub(super) fn slice(root: &At<'_, '_>, old: Option<&At<'_, '_>>, errors: &mut Errors) {
    let kind = root.child("addressType");
    kind.require_one_of(errors, &["FQDN", "IPv4", "IPv6"]);
    slice_ports(&root.child("ports"), errors);
    let endpoints = root.child("endpoints");
    if old.is_some_and(|old| same(old.child("endpoints").value, endpoints.value)) {
        return;
    }
    if endpoints.len() > 1000 {
        return errors.push(FieldError::too_many(endpoints.path, endpoints.len(), 1000));
    }
    for endpoint in endpoints.items() {
        let addresses = endpoint.child("addresses");
        if addresses.len() > 100 {
            errors.push(FieldError::too_many(addresses.path, addresses.len(), 100));
        }
        addresses.require(errors, "must contain at least 1 address");
        for address in addresses.items() {
            slice_address(&address, &addresses, kind.text(), errors);
        }
        let (node, host) = (endpoint.child("nodeName"), endpoint.child("hostname"));
        if node.is_set() {
            node.invalid_each(errors, names::dns1123_subdomain_errors(node.text()));
        }
        if host.is_set() {
            host.invalid_each(errors, names::dns1123_label_errors(host.text()));
        }
    }
}

fn slice_address(address: &At<'_, '_>, list: &At<'_, '_>, kind: &str, errors: &mut Errors) {
    let ip = address.text().parse::<IpAddr>();
    match (kind, ip) {
        ("IPv4", Ok(IpAddr::V6(_))) => {
            errors.push(FieldError::invalid(
                list.path,
                address.text(),
                "must be an IPv4 address",
            ));
        }
        ("IPv6", Ok(IpAddr::V4(_))) => {
            errors.push(FieldError::invalid(
                list.path,
                address.text(),
                "must be an IPv6 address",
            ));
        }
        ("IPv4" | "IPv6", Ok(_)) => ip::endpoint(address, errors),
        ("IPv4" | "IPv6", Err(_)) => {
            ip::address(address, errors);
        }
        ("FQDN", _) => {
            let name = address.text().strip_suffix('.').unwrap_or(address.text());
            let messages = names::dns1123_subdomain_errors(name);
            if !messages.is_empty() {
                address.invalid(errors, messages.join(","));
            } else if !name.contains('.') {
                let detail = "should be a domain with at least two segments separated by dots";
                address.invalid(errors, detail);
            }
        }
        _ => {}
    }
}

fn slice_ports(ports: &At<'_, '_>, errors: &mut Errors) {
    if ports.len() > 20_000 {
        return errors.push(FieldError::too_many(ports.path, ports.len(), 20_000));
    }
    let mut known = Vec::new();
    for port in ports.items() {
        let name = port.child("name");
        name.valid_if_set(errors, names::dns1123_label_errors);
        if known.contains(&name.text()) {
            errors.push(FieldError::duplicate(name.path, name.text()));
        }
        known.push(name.text());
        port.child("protocol").require_one_of(errors, PROTOCOLS);
        port.child("appProtocol")
            .valid_if_set(errors, names::qualified_name_errors);
    }
}
