//! Nodes.

use super::at::At;
use super::{Errors, affinity, ip, resources};
use crate::fields::FieldError;

/// A new Node.
pub(super) fn create(root: &At<'_, '_>, errors: &mut Errors) {
    common(root, errors);
    let spec = root.child("spec");
    let ranges = spec.child("podCIDRs");
    for range in ranges.items() {
        ip::range(&range, range.text(), errors);
    }
    let sixes = ranges.items().filter(|r| r.text().contains(':')).count();
    if ranges.len() > 2 || (ranges.len() == 2 && sixes != 1) {
        ranges.invalid(errors, "may specify no more than one CIDR for each IP family");
    }
}

/// A changed Node, spec or status.
pub(super) fn update(root: &At<'_, '_>, old: &At<'_, '_>, errors: &mut Errors) {
    common(root, errors);
    let status = root.child("status");
    let addresses = status.child("addresses");
    let mut known = Vec::new();
    for address in addresses.items() {
        if known.contains(&address.value) {
            errors.push(FieldError::duplicate(address.path, address.shown()));
        }
        known.push(address.value);
    }
    let (spec, before) = (root.child("spec"), old.child("spec"));
    for (field, value) in [("podCIDRs", "podCIDR"), ("providerID", "providerID")] {
        let (new, old) = (spec.child(field), before.child(field));
        let was_set = old.len() > 0 || !old.text().is_empty();
        if was_set && new.value != old.value {
            let detail = format!("node updates may not change {value} except from \"\" to valid");
            new.forbid(errors, detail);
        }
    }
}

fn common(root: &At<'_, '_>, errors: &mut Errors) {
    let (spec, status) = (root.child("spec"), root.child("status"));
    let metadata = root.child("metadata");
    // Upstream tells taints' mistakes below the metadata.
    affinity::taints(&metadata.child("taints").with(spec.child("taints").value), errors);
    for list in ["capacity", "allocatable"] {
        let amounts = status.child(list);
        for (name, quantity) in amounts.entries() {
            let path = amounts.path;
            let at = quantity.at(path.child(name));
            resources::amount(name, &at, errors);
        }
    }
}
