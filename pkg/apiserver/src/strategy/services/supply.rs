//! The addresses and node ports that Services share. What is taken is derived from the stored
//! Services when the server starts, so that nothing can leak across a restart.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::config::Cidr;

/// What one Service holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// Cluster addresses.
    pub addresses: BTreeSet<Ipv4Addr>,
    /// Node ports, also the one of health checks.
    pub ports: BTreeSet<u16>,
}

impl Held {
    /// What is here and not there.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        Self {
            addresses: self.addresses.difference(&other.addresses).copied().collect(),
            ports: self.ports.difference(&other.ports).copied().collect(),
        }
    }
}

/// Both supplies.
pub struct Supply {
    ports: RangeInclusive<u16>,
    used: Mutex<Held>,
}

impl Supply {
    /// Supplies of which the stored Services hold a part.
    pub fn new(ports: RangeInclusive<u16>, stored: impl Iterator<Item = Held>) -> Arc<Self> {
        let mut used = Held::default();
        for held in stored {
            used.addresses.extend(held.addresses);
            used.ports.extend(held.ports);
        }
        Arc::new(Self {
            ports,
            used: Mutex::new(used),
        })
    }

    fn used(&self) -> MutexGuard<'_, Held> {
        self.used
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Takes one address of these ranges.
    pub fn address(&self, ranges: &[Cidr], address: Ipv4Addr) -> Result<(), &'static str> {
        let inside = |range: &Cidr| {
            let at = range.offset_of(address);
            at.is_some_and(|at| at > 0 && at < range.size() - 1)
        };
        if !ranges.iter().any(inside) {
            return Err("the provided network does not match the current range");
        }
        if self.used().addresses.insert(address) {
            Ok(())
        } else {
            Err("provided IP is already allocated")
        }
    }

    /// Takes any address of these ranges that is free here and not `named` elsewhere. The lower part of
    /// a range, where people put the addresses they choose, is used only when the upper is full.
    pub fn any_address(
        &self,
        ranges: &[Cidr],
        named: impl Fn(Ipv4Addr) -> bool,
        random: u64,
    ) -> Option<Ipv4Addr> {
        let mut used = self.used();
        let address = ranges.iter().find_map(|range| {
            let is_free = |at| {
                let address = range.nth(at);
                !used.addresses.contains(&address) && !named(address)
            };
            let size = range.size();
            let band = (size / 16).clamp(16, 256).min(size / 2);
            let upper = pick(band, size - 1, random, is_free);
            upper
                .or_else(|| pick(1, band, random, is_free))
                .map(|at| range.nth(at))
        })?;
        used.addresses.insert(address);
        Some(address)
    }

    /// Takes one node port.
    pub fn port(&self, port: u16) -> Result<(), String> {
        if !self.ports.contains(&port) {
            let (low, high) = (self.ports.start(), self.ports.end());
            return Err(format!(
                "provided port is not in the valid range. The range of valid ports is {low}-{high}"
            ));
        }
        if self.used().ports.insert(port) {
            Ok(())
        } else {
            Err("provided port is already allocated".to_owned())
        }
    }

    /// Takes any free node port, the lower part of the range last.
    pub fn any_port(&self, random: u64) -> Option<u16> {
        let (low, high) = (u32::from(*self.ports.start()), u32::from(*self.ports.end()) + 1);
        let size = high - low;
        let band = low + (size / 32).clamp(16, 128).min(size / 2);
        let mut used = self.used();
        let is_free = |at: u32| u16::try_from(at).is_ok_and(|port| !used.ports.contains(&port));
        let free = pick(band, high, random, is_free).or_else(|| pick(low, band, random, is_free))?;
        let port = u16::try_from(free).ok()?;
        used.ports.insert(port);
        Some(port)
    }

    /// Gives back what a Service held.
    pub fn release(&self, held: &Held) {
        let mut used = self.used();
        used.addresses.retain(|address| !held.addresses.contains(address));
        used.ports.retain(|port| !held.ports.contains(port));
    }
}

/// The first free number from a random place in `from..to`, around its end.
fn pick(from: u32, to: u32, random: u64, is_free: impl Fn(u32) -> bool) -> Option<u32> {
    let size = to.checked_sub(from).filter(|size| *size > 0)?;
    let start = u32::try_from(random % u64::from(size)).unwrap_or(0);
    (0..size)
        .map(|step| from + (start + step) % size)
        .find(|at| is_free(*at))
}

/// What was taken for a write that is not done yet.
pub struct Taken {
    supply: Arc<Supply>,
    taken: Held,
    freed: Held,
}

impl Taken {
    /// Nothing yet.
    pub fn new(supply: Arc<Supply>) -> Self {
        Self {
            supply,
            taken: Held::default(),
            freed: Held::default(),
        }
    }

    /// Remembers an address that was taken.
    pub fn address(&mut self, address: Ipv4Addr) {
        self.taken.addresses.insert(address);
    }

    /// Remembers a port that was taken.
    pub fn port(&mut self, port: u16) {
        self.taken.ports.insert(port);
    }

    /// What the write makes free.
    pub fn frees(&mut self, held: Held) {
        self.freed = held;
    }

    /// The write is done.
    pub fn keep(mut self) {
        self.taken = std::mem::take(&mut self.freed);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.supply.release(&self.taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn supply() -> Arc<Supply> {
        Supply::new(30000..=30063, std::iter::empty())
    }

    fn ranges(all: &[&str]) -> Vec<Cidr> {
        let parsed = all.iter().map(|range| range.parse().expect("a range"));
        parsed.collect()
    }

    #[test]
    fn every_address_but_the_ends_can_be_had_once() {
        let (supply, ranges) = (supply(), ranges(&["10.0.0.0/27"]));
        let any = |n: u64| supply.any_address(&ranges, |_| false, n);
        let mut all: Vec<_> = (0..30).filter_map(|n| any(n * 7)).collect();
        assert!(all[0] >= "10.0.0.16".parse::<Ipv4Addr>().expect("an address"));
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 30);
        assert_eq!(any(1), None);
        supply.release(&Held {
            addresses: [all[3]].into(),
            ..Held::default()
        });
        assert_eq!(any(1), Some(all[3]));
    }

    #[test]
    fn a_full_range_is_followed_by_the_next() {
        let (supply, ranges) = (supply(), ranges(&["10.0.0.0/30", "10.9.0.0/30"]));
        let taken_elsewhere: Ipv4Addr = "10.9.0.1".parse().expect("an address");
        let any = || supply.any_address(&ranges, |address| address == taken_elsewhere, 0);
        let mut all: Vec<_> = std::iter::from_fn(any).map(|ip| ip.to_string()).collect();
        all.sort();
        assert_eq!(all, ["10.0.0.1", "10.0.0.2", "10.9.0.2"]);
        assert!(supply.address(&ranges, taken_elsewhere).is_ok());
        let outside = "10.1.0.1".parse().expect("an address");
        assert!(supply.address(&ranges, outside).is_err());
    }

    #[test]
    fn a_write_that_is_not_done_gives_back_what_it_took() {
        let (supply, ranges) = (supply(), ranges(&["10.0.0.0/27"]));
        let wanted = "10.0.0.5".parse().expect("an address");
        assert!(supply.address(&ranges, wanted).is_ok());
        let mut taken = Taken::new(supply.clone());
        taken.address(wanted);
        assert!(supply.address(&ranges, wanted).is_err());
        drop(taken);
        assert!(supply.address(&ranges, wanted).is_ok());
        let mut taken = Taken::new(supply.clone());
        taken.frees(Held {
            addresses: [wanted].into(),
            ..Held::default()
        });
        taken.keep();
        assert!(supply.address(&ranges, wanted).is_ok());
    }

    #[test]
    fn ports_outside_the_range_are_refused() {
        let supply = supply();
        assert!(supply.port(80).is_err());
        assert!(supply.port(30001).is_ok());
        assert!(supply.port(30001).is_err());
    }
}
