//! What the cluster's names lead to, as known now.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::names::{Kind, Names};

/// Services by `namespace/name`, namespaces, and who has an address.
#[derive(Debug, Default)]
pub(crate) struct Zone {
    services: HashMap<Arc<str>, Names>,
    namespaces: HashSet<Box<str>>,
    owners: HashMap<IpAddr, Vec<Arc<str>>>,
    /// Is everything known that was there at the start?
    pub complete: bool,
    /// Counts the changes: the zone's serial number.
    pub serial: u32,
}

impl Zone {
    /// Sets or removes a Service.
    pub(crate) fn set_service(&mut self, key: &str, names: Option<Names>) {
        if self.services.get(key) == names.as_ref() {
            return;
        }
        self.serial = self.serial.wrapping_add(1);
        if let Some((key, old)) = self.services.remove_entry(key) {
            for address in addresses(&old) {
                if let Some(owners) = self.owners.get_mut(&address) {
                    owners.retain(|owner| *owner != key);
                    if owners.is_empty() {
                        self.owners.remove(&address);
                    }
                }
            }
        }
        let Some(names) = names else { return };
        let key: Arc<str> = key.into();
        for address in addresses(&names) {
            let owners = self.owners.entry(address).or_default();
            if !owners.contains(&key) {
                owners.push(Arc::clone(&key));
            }
        }
        self.services.insert(key, names);
    }

    /// Adds or removes a namespace.
    pub(crate) fn set_namespace(&mut self, name: &str, exists: bool) {
        if exists {
            self.namespaces.insert(name.into());
        } else {
            self.namespaces.remove(name);
        }
    }

    pub(crate) fn has_namespace(&self, name: &str) -> bool {
        self.namespaces.contains(name)
    }

    pub(crate) fn service(&self, namespace: &str, name: &str) -> Option<&Names> {
        self.services.get(format!("{namespace}/{name}").as_str())
    }

    /// The names of an address, relative to the cluster's domain: of the Service whose address it is, or
    /// of the endpoints.
    pub(crate) fn names_of(&self, address: IpAddr) -> Vec<String> {
        let owners = self.owners.get(&address).map(Vec::as_slice).unwrap_or_default();
        let mut services = Vec::new();
        let mut endpoints = Vec::new();
        for owner in owners {
            let (Some(names), Some((namespace, name))) = (self.services.get(owner), owner.split_once('/'))
            else {
                continue;
            };
            let service = format!("{name}.{namespace}.svc");
            if matches!(&names.kind, Kind::Cluster { addresses, .. } if addresses.contains(&address)) {
                services.push(service);
                continue;
            }
            let hosts = names
                .endpoints
                .iter()
                .filter(|endpoint| endpoint.address == address);
            endpoints.extend(hosts.map(|endpoint| format!("{}.{service}", endpoint.host)));
        }
        endpoints.dedup();
        if services.is_empty() { endpoints } else { services }
    }
}

fn addresses(names: &Names) -> impl Iterator<Item = IpAddr> {
    let own = match &names.kind {
        Kind::Cluster { addresses, .. } => &**addresses,
        _ => &[],
    };
    own.iter()
        .copied()
        .chain(names.endpoints.iter().map(|endpoint| endpoint.address))
}
