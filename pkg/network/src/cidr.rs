//! A range of IPv4 addresses.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// A range such as `10.42.0.0/24`. The address is the range's first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    network: u32,
    prefix: u8,
}

/// Why a text is not a range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an IPv4 range such as 10.42.0.0/16")]
pub struct CidrError(String);

impl Cidr {
    /// The range of `prefix` leading bits around `address`; a prefix above 32 counts as 32.
    pub fn new(address: Ipv4Addr, prefix: u8) -> Self {
        let prefix = prefix.min(32);
        Self {
            network: u32::from(address) & mask(prefix),
            prefix,
        }
    }

    /// The first address.
    pub fn network(&self) -> Ipv4Addr {
        self.network.into()
    }

    /// Leading bits.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// The mask, such as 255.255.255.0.
    pub fn mask(&self) -> Ipv4Addr {
        mask(self.prefix).into()
    }

    /// Is the address in the range?
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        u32::from(address) & mask(self.prefix) == self.network
    }

    /// How many addresses there are, at most `u32::MAX`.
    pub fn size(&self) -> u32 {
        1u32.checked_shl(32 - u32::from(self.prefix)).unwrap_or(u32::MAX)
    }

    /// The address at `index`, counted from the range's first.
    pub fn at(&self, index: u32) -> Option<Ipv4Addr> {
        (index < self.size()).then(|| (self.network + index).into())
    }

    /// Where in the range the address is.
    pub fn index(&self, address: Ipv4Addr) -> Option<u32> {
        self.contains(address).then(|| u32::from(address) - self.network)
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network(), self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let error = || CidrError(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(error)?;
        let prefix = prefix
            .parse()
            .ok()
            .filter(|prefix| *prefix <= 32)
            .ok_or_else(error)?;
        Ok(Self::new(address.parse().map_err(|_| error())?, prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_knows_its_addresses() {
        let range: Cidr = "10.42.1.9/24".parse().unwrap();
        assert_eq!(range.to_string(), "10.42.1.0/24");
        assert_eq!(range.size(), 256);
        assert_eq!(range.at(1), Some(Ipv4Addr::new(10, 42, 1, 1)));
        assert_eq!(range.at(256), None);
        assert_eq!(range.index(Ipv4Addr::new(10, 42, 1, 7)), Some(7));
        assert!(!range.contains(Ipv4Addr::new(10, 42, 2, 0)));
        assert_eq!(range.mask(), Ipv4Addr::new(255, 255, 255, 0));
    }

    #[test]
    fn the_ends_of_the_scale_work() {
        let all: Cidr = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains(Ipv4Addr::BROADCAST));
        let one: Cidr = "10.0.0.1/32".parse().unwrap();
        assert_eq!((one.size(), one.at(0)), (1, Some(Ipv4Addr::new(10, 0, 0, 1))));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in [
            "",
            "10.0.0.0",
            "10.0.0.0/33",
            "10.0.0/8",
            "fd00::/64",
            "10.0.0.0/-1",
        ] {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
    }
}
