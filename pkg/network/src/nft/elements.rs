//! Elements of sets and maps.

use std::net::Ipv4Addr;

use super::constants as c;
use crate::Protocol;
use crate::netlink::Messages;

/// What happens to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// It vanishes.
    Drop,
    /// It passes this hook of this table.
    Accept,
    /// The calling chain goes on.
    Return,
    /// A chain decides; if it does not, the calling chain goes on.
    Jump(&'a str),
    /// A chain decides; if it does not, the base chain's policy does.
    Goto(&'a str),
}

impl Verdict<'_> {
    pub(super) fn write(self, m: &mut Messages) {
        let (code, chain) = match self {
            Verdict::Drop => (0, None),
            Verdict::Accept => (1, None),
            Verdict::Return => (-5, None),
            Verdict::Jump(chain) => (-3, Some(chain)),
            Verdict::Goto(chain) => (-4i32, Some(chain)),
        };
        m.nested(c::DATA_VERDICT, |m| {
            m.attribute(c::VERDICT_CODE, &code.to_be_bytes());
            if let Some(chain) = chain {
                m.text(c::VERDICT_CHAIN, chain);
            }
        });
    }
}

/// One element. Keys and values are bytes as in packets, each part of a concatenation padded to 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element<'a> {
    /// A set's, or a map's that is to be deleted.
    Key(&'a [u8]),
    /// A map's.
    Value(&'a [u8], &'a [u8]),
    /// A verdict map's.
    Verdict(&'a [u8], Verdict<'a>),
}

impl Element<'_> {
    pub(super) fn write(&self, m: &mut Messages) {
        let key = match self {
            Self::Key(key) | Self::Value(key, _) | Self::Verdict(key, _) => key,
        };
        m.nested(c::LIST_ELEMENT, |m| {
            m.nested(c::ELEMENT_KEY, |m| m.attribute(c::DATA_VALUE, key));
            match self {
                Self::Key(_) => {}
                Self::Value(_, value) => m.nested(c::ELEMENT_DATA, |m| m.attribute(c::DATA_VALUE, value)),
                Self::Verdict(_, verdict) => m.nested(c::ELEMENT_DATA, |m| verdict.write(m)),
            }
        });
    }
}

/// Concatenated keys and values.
pub mod concat {
    use super::{Ipv4Addr, Protocol};

    /// `inet_proto . inet_service`
    pub fn protocol_port(protocol: Protocol, port: u16) -> [u8; 8] {
        let [high, low] = port.to_be_bytes();
        [protocol.number(), 0, 0, 0, high, low, 0, 0]
    }

    /// `ipv4_addr . inet_service`
    pub fn address_port(address: Ipv4Addr, port: u16) -> [u8; 8] {
        let [a, b, c, d] = address.octets();
        let [high, low] = port.to_be_bytes();
        [a, b, c, d, high, low, 0, 0]
    }

    /// `ipv4_addr . inet_proto . inet_service`
    pub fn address_protocol_port(address: Ipv4Addr, protocol: Protocol, port: u16) -> [u8; 12] {
        let mut key = [0; 12];
        key[..4].copy_from_slice(&address.octets());
        key[4..].copy_from_slice(&protocol_port(protocol, port));
        key
    }

    /// `ipv4_addr . ipv4_addr`
    pub fn address_address(first: Ipv4Addr, second: Ipv4Addr) -> [u8; 8] {
        let mut key = [0; 8];
        key[..4].copy_from_slice(&first.octets());
        key[4..].copy_from_slice(&second.octets());
        key
    }
}
