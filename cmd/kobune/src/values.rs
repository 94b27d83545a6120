//! Values of flags that are more than text, each with an error that says what is expected.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::str::FromStr;

/// An IPv4 range in CIDR notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    /// The first address.
    pub network: Ipv4Addr,
    /// Leading bits that are the same for all addresses, 0 to 32.
    pub prefix: u8,
}

impl Cidr {
    fn mask(self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0)
    }

    /// True when `address` lies in the range.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & self.mask() == self.network.to_bits()
    }

    /// The address `offset` places after the first one.
    pub fn nth(self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits().wrapping_add(offset))
    }

    /// True when the two ranges share an address.
    pub fn overlaps(self, other: Cidr) -> bool {
        self.contains(other.network) || other.contains(self.network)
    }

    /// The first range of `prefix` bits in this one (the whole of it when it is no larger).
    pub fn first_subnet(self, prefix: u8) -> Cidr {
        Cidr {
            network: self.network,
            prefix: prefix.max(self.prefix),
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("{text:?} is not an IPv4 range such as 10.42.0.0/16");
        let (address, prefix) = text.split_once('/').ok_or_else(expected)?;
        let network: Ipv4Addr = address.parse().map_err(|_| expected())?;
        let prefix: u8 = prefix
            .parse()
            .ok()
            .filter(|prefix| *prefix <= 32)
            .ok_or_else(expected)?;
        let range = Cidr { network, prefix };
        if network.to_bits() & !range.mask() != 0 {
            let start = Ipv4Addr::from_bits(network.to_bits() & range.mask());
            return Err(format!(
                "{text:?} has bits set behind its prefix: did you mean {start}/{prefix}?"
            ));
        }
        Ok(range)
    }
}

/// A range of ports, both ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRange(pub RangeInclusive<u16>);

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0.start(), self.0.end())
    }
}

impl FromStr for PortRange {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("{text:?} is not a port range such as 30000-32767");
        let (low, high) = text.split_once('-').ok_or_else(expected)?;
        let low: u16 = low.trim().parse().map_err(|_| expected())?;
        let high: u16 = high.trim().parse().map_err(|_| expected())?;
        if low == 0 || low > high {
            Err(expected())
        } else {
            Ok(PortRange(low..=high))
        }
    }
}

/// A file mode in octal, such as 600 or 0644.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMode(pub u32);

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:o}", self.0)
    }
}

impl FromStr for FileMode {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        u32::from_str_radix(text, 8)
            .ok()
            .filter(|mode| *mode <= 0o777)
            .map(FileMode)
            .ok_or_else(|| format!("{text:?} is not a file mode in octal such as 600 or 0644"))
    }
}

/// `key=value`, with the syntax of a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeLabel {
    /// For example `example.com/rack`.
    pub key: String,
    /// May be empty.
    pub value: String,
}

impl FromStr for NodeLabel {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| format!("{text:?} is not a label such as rack=a7"))?;
        if let Some(problem) = kobune_api::names::qualified_name_errors(key).first() {
            return Err(format!("{text:?}: the key {key:?} is no label key: {problem}"));
        }
        if let Some(problem) = kobune_api::names::label_value_errors(value).first() {
            return Err(format!(
                "{text:?}: the value {value:?} is no label value: {problem}"
            ));
        }
        Ok(NodeLabel {
            key: key.to_owned(),
            value: value.to_owned(),
        })
    }
}

/// `key=value:effect` or `key:effect`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeTaint {
    /// For example `dedicated`.
    pub key: String,
    /// May be empty.
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

impl FromStr for NodeTaint {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("{text:?} is not a taint such as dedicated=db:NoSchedule");
        let (pair, effect) = text.rsplit_once(':').ok_or_else(expected)?;
        if !["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect) {
            return Err(format!(
                "{text:?}: the effect {effect:?} is none of NoSchedule, PreferNoSchedule and NoExecute"
            ));
        }
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let label: NodeLabel = format!("{key}={value}").parse()?;
        Ok(NodeTaint {
            key: label.key,
            value: label.value,
            effect: effect.to_owned(),
        })
    }
}

/// A name of a node: a DNS subdomain (RFC 1123).
pub fn node_name(text: &str) -> Result<String, String> {
    match kobune_api::names::dns1123_subdomain_errors(text).first() {
        Some(problem) => Err(format!("{text:?} is no node name: {problem}")),
        None => Ok(text.to_owned()),
    }
}

/// An IPv4 address; IPv6 is not served yet.
pub fn ipv4(text: &str) -> Result<Ipv4Addr, String> {
    match text.parse() {
        Ok(IpAddr::V4(address)) => Ok(address),
        Ok(IpAddr::V6(_)) => Err(format!("{text:?} is an IPv6 address; kobune serves IPv4 only")),
        Err(_) => Err(format!("{text:?} is not an IPv4 address such as 192.168.1.10")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_with_bits_behind_its_prefix_is_refused_with_the_right_one() {
        let error = "10.42.1.0/16".parse::<Cidr>().unwrap_err();
        assert!(error.contains("10.42.0.0/16"), "{error}");
        assert!("10.42.0.0/16".parse::<Cidr>().is_ok());
        assert!("10.42.0.0/33".parse::<Cidr>().is_err());
    }

    #[test]
    fn ranges_know_their_addresses() {
        let range: Cidr = "10.43.0.0/16".parse().unwrap();
        assert!(range.contains(range.nth(10)));
        assert!(!range.contains(Ipv4Addr::new(10, 44, 0, 1)));
        assert!(range.overlaps("10.43.7.0/24".parse().unwrap()));
        assert!(!range.overlaps("10.42.0.0/16".parse().unwrap()));
    }

    #[test]
    fn a_taint_needs_a_known_effect() {
        assert!("dedicated=db:NoSchedule".parse::<NodeTaint>().is_ok());
        assert!("dedicated:NoExecute".parse::<NodeTaint>().is_ok());
        assert!(
            "dedicated=db:Never"
                .parse::<NodeTaint>()
                .unwrap_err()
                .contains("Never")
        );
    }

    #[test]
    fn a_mode_is_octal() {
        assert_eq!("644".parse(), Ok(FileMode(0o644)));
        assert!("888".parse::<FileMode>().is_err());
    }

    #[test]
    fn a_port_range_has_a_lower_and_an_upper_end() {
        assert_eq!("30000-32767".parse(), Ok(PortRange(30000..=32767)));
        assert!("5-1".parse::<PortRange>().is_err());
    }
}
