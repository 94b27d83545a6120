//! Pods that may meet themselves behind a Service or a host port: their packets are masqueraded, or
//! the answer would not pass the translation.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::base::HAIRPIN;
use crate::nft::{Batch, Element, concat};

/// How often each address is an endpoint, and what the kernel's set does not have yet.
#[derive(Debug, Default)]
pub(super) struct Hairpins {
    uses: BTreeMap<Ipv4Addr, u32>,
    /// Addresses whose use changed, and whether the kernel has them.
    touched: BTreeMap<Ipv4Addr, bool>,
}

impl Hairpins {
    pub(super) fn add(&mut self, address: Ipv4Addr) {
        let uses = self.uses.entry(address).or_default();
        self.touched.entry(address).or_insert(*uses > 0);
        *uses += 1;
    }

    pub(super) fn remove(&mut self, address: Ipv4Addr) {
        let Some(uses) = self.uses.get_mut(&address) else {
            return;
        };
        self.touched.entry(address).or_insert(true);
        *uses -= 1;
        if *uses == 0 {
            self.uses.remove(&address);
        }
    }

    /// Writes what changed since the last time.
    pub(super) fn write(&mut self, batch: &mut Batch) {
        let mut added = Vec::new();
        let mut removed = Vec::new();
        for (address, there) in std::mem::take(&mut self.touched) {
            let key = concat::address_address(address, address);
            match (there, self.uses.contains_key(&address)) {
                (false, true) => added.push(key),
                (true, false) => removed.push(key),
                _ => {}
            }
        }
        batch.delete_elements(HAIRPIN, removed.iter().map(|key| Element::Key(key)));
        batch.add_elements(HAIRPIN, added.iter().map(|key| Element::Key(key)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_stays_while_it_is_used() {
        let mut hairpins = Hairpins::default();
        let address = Ipv4Addr::new(10, 42, 0, 2);
        let changes = |hairpins: &mut Hairpins| {
            let mut batch = Batch::new("t");
            hairpins.write(&mut batch);
            !batch.is_empty()
        };
        hairpins.add(address);
        hairpins.add(address);
        assert!(changes(&mut hairpins));
        hairpins.remove(address);
        assert!(!changes(&mut hairpins));
        hairpins.remove(address);
        hairpins.add(address);
        assert!(!changes(&mut hairpins));
        hairpins.remove(address);
        assert!(changes(&mut hairpins));
    }
}
