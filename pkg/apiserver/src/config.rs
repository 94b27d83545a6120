//! What the API server is told when it is made.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use kobune_pki::Authorities;
use rustls::{ClientConfig, ServerConfig};

/// The API server's configuration.
#[derive(Clone)]
pub struct Config {
    /// Where clients connect.
    pub bind: SocketAddr,
    /// The address that the `kubernetes` Service leads to.
    pub advertise: IpAddr,
    /// The addresses of Services.
    pub service_cidr: Cidr,
    /// The ports of Services on every node.
    pub node_port_range: RangeInclusive<u16>,
    /// The cluster's keys.
    pub authorities: Arc<Authorities>,
    /// How the server shows itself, and which client certificates it believes.
    pub tls: Arc<ServerConfig>,
    /// How the server shows itself to kubelets, and whom it believes there.
    pub kubelet_client_tls: Arc<ClientConfig>,
    /// The `gitVersion` that `/version` tells, for example `v1.36.2+kobune1`.
    pub version: String,
    /// The issuer of service-account tokens, for example `https://kubernetes.default.svc.cluster.local`.
    pub issuer: String,
}

/// A range of IPv4 addresses, for example `10.43.0.0/16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    /// The first address.
    pub first: std::net::Ipv4Addr,
    /// The number of leading bits that all addresses share.
    pub prefix: u8,
}

/// A text that is no IPv4 range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an IPv4 range such as 10.43.0.0/16")]
pub struct CidrError(String);

impl Cidr {
    /// How many addresses there are.
    pub fn size(&self) -> u32 {
        u32::MAX
            .checked_shr(u32::from(self.prefix))
            .unwrap_or(0)
            .saturating_add(1)
    }

    /// The address at a distance from the first.
    pub fn nth(&self, offset: u32) -> std::net::Ipv4Addr {
        u32::from(self.first).wrapping_add(offset).into()
    }

    /// The distance of an address from the first; `None` if it is not in the range.
    pub fn offset_of(&self, address: std::net::Ipv4Addr) -> Option<u32> {
        let offset = u32::from(address).checked_sub(u32::from(self.first))?;
        (offset < self.size()).then_some(offset)
    }
}

impl std::str::FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let wrong = || CidrError(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let address: std::net::Ipv4Addr = address.parse().map_err(|_| wrong())?;
        let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
        if !(8..=30).contains(&prefix) {
            return Err(wrong());
        }
        let mask = u32::MAX << (32 - u32::from(prefix));
        Ok(Self {
            first: (u32::from(address) & mask).into(),
            prefix,
        })
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_knows_its_addresses() {
        let range: Cidr = "10.43.0.7/16".parse().expect("a range");
        assert_eq!(range.to_string(), "10.43.0.0/16");
        assert_eq!(range.size(), 65536);
        assert_eq!(range.offset_of(range.nth(10)), Some(10));
        assert_eq!(range.offset_of("10.44.0.0".parse().expect("an address")), None);
        assert!("10.43.0.0".parse::<Cidr>().is_err());
    }
}
