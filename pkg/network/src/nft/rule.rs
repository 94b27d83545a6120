//! A rule: expressions that load something into a register, compare it, or do something.

use std::net::Ipv4Addr;

use super::batch::{AnonymousMap, AnonymousSet};
use super::constants as c;
use super::elements::Verdict;
use crate::netlink::Messages;
use crate::{Cidr, Protocol};

const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;
const SOURCE_ADDRESS: u32 = 12;
const DESTINATION_ADDRESS: u32 = 16;
const META_MARK: u32 = 3;
const META_IN: u32 = 6;
const META_OUT: u32 = 7;
const META_PROTOCOL: u32 = 16;
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const CT_STATE: u32 = 0;
const FIB_ADDRESS_TYPE: u32 = 3;
const FIB_DESTINATION: u32 = 2;
const RTN_LOCAL: u32 = 2;
const RANDOM: u32 = 1;
const DESTINATION_NAT: u32 = 1;
const DYNSET_UPDATE: u32 = 1;
const DYNSET_DELETE: u32 = 2;
const RANDOM_FULLY: u32 = 16;
const ICMP_UNREACHABLE: u32 = 0;
const TCP_RESET: u32 = 1;
const ICMP_PORT: u8 = 3;

/// Writes one rule's expressions, in the order of the calls. A comparison that fails ends the rule.
#[derive(Debug)]
pub struct Rule<'a> {
    pub(super) messages: &'a mut Messages,
}

impl Rule<'_> {
    fn expression(&mut self, name: &str, write: impl FnOnce(&mut Messages)) -> &mut Self {
        self.messages.nested(c::LIST_ELEMENT, |m| {
            m.text(c::EXPRESSION_NAME, name);
            m.nested(c::EXPRESSION_DATA, write);
        });
        self
    }

    fn payload(&mut self, base: u32, offset: u32, length: u32, register: u32) -> &mut Self {
        self.expression("payload", |m| {
            for (kind, value) in [(1, register), (2, base), (3, offset), (4, length)] {
                m.attribute(kind, &value.to_be_bytes());
            }
        })
    }

    fn meta(&mut self, key: u32, register: u32) -> &mut Self {
        self.expression("meta", |m| {
            m.attribute(1, &register.to_be_bytes());
            m.attribute(2, &key.to_be_bytes());
        })
    }

    fn compare(&mut self, operation: u32, bytes: &[u8]) -> &mut Self {
        self.expression("cmp", |m| {
            m.attribute(1, &c::REGISTER_1.to_be_bytes());
            m.attribute(2, &operation.to_be_bytes());
            m.nested(3, |m| m.attribute(c::DATA_VALUE, bytes));
        })
    }

    /// register 1 = register 1 & mask ^ xor, of four bytes
    fn bitwise(&mut self, mask: [u8; 4], xor: [u8; 4]) -> &mut Self {
        self.expression("bitwise", |m| {
            m.attribute(1, &c::REGISTER_1.to_be_bytes());
            m.attribute(2, &c::REGISTER_1.to_be_bytes());
            m.attribute(3, &4u32.to_be_bytes());
            m.nested(4, |m| m.attribute(c::DATA_VALUE, &mask));
            m.nested(5, |m| m.attribute(c::DATA_VALUE, &xor));
        })
    }

    fn address(&mut self, offset: u32, range: Cidr, operation: u32) -> &mut Self {
        self.payload(NETWORK, offset, 4, c::REGISTER_1);
        if range.prefix() < 32 {
            self.bitwise(range.mask().octets(), [0; 4]);
        }
        self.compare(operation, &range.network().octets())
    }

    /// `ip saddr RANGE`
    pub fn source_in(&mut self, range: Cidr) -> &mut Self {
        self.address(SOURCE_ADDRESS, range, EQUAL)
    }

    /// `ip daddr RANGE`
    pub fn destination_in(&mut self, range: Cidr) -> &mut Self {
        self.address(DESTINATION_ADDRESS, range, EQUAL)
    }

    /// `ip daddr != RANGE`
    pub fn destination_not_in(&mut self, range: Cidr) -> &mut Self {
        self.address(DESTINATION_ADDRESS, range, NOT_EQUAL)
    }

    /// `ip saddr ADDRESS`
    pub fn source(&mut self, address: Ipv4Addr) -> &mut Self {
        self.address(SOURCE_ADDRESS, Cidr::new(address, 32), EQUAL)
    }

    fn interface(&mut self, key: u32, name: &str, operation: u32) -> &mut Self {
        let mut padded = [0; 16];
        let length = name.len().min(15);
        padded[..length].copy_from_slice(&name.as_bytes()[..length]);
        self.meta(key, c::REGISTER_1).compare(operation, &padded)
    }

    /// `iifname NAME`
    pub fn comes_in_by(&mut self, name: &str) -> &mut Self {
        self.interface(META_IN, name, EQUAL)
    }

    /// `oifname NAME`
    pub fn leaves_by(&mut self, name: &str) -> &mut Self {
        self.interface(META_OUT, name, EQUAL)
    }

    /// `oifname != NAME`
    pub fn does_not_leave_by(&mut self, name: &str) -> &mut Self {
        self.interface(META_OUT, name, NOT_EQUAL)
    }

    /// `meta l4proto PROTOCOL`
    pub fn protocol(&mut self, protocol: Protocol) -> &mut Self {
        self.protocol_number(protocol.number())
    }

    /// `icmp type TYPE`
    pub fn icmp_type(&mut self, kind: u8) -> &mut Self {
        self.protocol_number(libc::IPPROTO_ICMP as u8);
        self.payload(TRANSPORT, 0, 1, c::REGISTER_1)
            .compare(EQUAL, &[kind])
    }

    fn protocol_number(&mut self, number: u8) -> &mut Self {
        self.meta(META_PROTOCOL, c::REGISTER_1).compare(EQUAL, &[number])
    }

    /// `meta mark & BIT == BIT`
    pub fn marked(&mut self, bit: u32) -> &mut Self {
        self.meta(META_MARK, c::REGISTER_1)
            .bitwise(bit.to_ne_bytes(), [0; 4])
            .compare(EQUAL, &bit.to_ne_bytes())
    }

    /// `meta mark set mark | BIT`
    pub fn mark(&mut self, bit: u32) -> &mut Self {
        self.meta(META_MARK, c::REGISTER_1)
            .bitwise((!bit).to_ne_bytes(), bit.to_ne_bytes())
            .expression("meta", |m| {
                m.attribute(2, &META_MARK.to_be_bytes());
                m.attribute(3, &c::REGISTER_1.to_be_bytes());
            })
    }

    fn connection_state(&mut self, bit: u32) -> &mut Self {
        self.expression("ct", |m| {
            m.attribute(1, &c::REGISTER_1.to_be_bytes());
            m.attribute(2, &CT_STATE.to_be_bytes());
        })
        .bitwise(bit.to_ne_bytes(), [0; 4])
        .compare(NOT_EQUAL, &[0; 4])
    }

    /// `ct state invalid`
    pub fn invalid(&mut self) -> &mut Self {
        self.connection_state(1)
    }

    /// `ct state new`
    pub fn new_connection(&mut self) -> &mut Self {
        self.connection_state(8)
    }

    /// `fib daddr type local`: the packet is for one of the node's own addresses.
    pub fn destination_is_local(&mut self) -> &mut Self {
        self.expression("fib", |m| {
            m.attribute(1, &c::REGISTER_1.to_be_bytes());
            m.attribute(2, &FIB_ADDRESS_TYPE.to_be_bytes());
            m.attribute(3, &FIB_DESTINATION.to_be_bytes());
        })
        .compare(EQUAL, &RTN_LOCAL.to_ne_bytes())
    }

    fn load_address_protocol_port(&mut self) -> &mut Self {
        let [first, second, third, _] = c::REGISTER_1_PARTS;
        self.payload(NETWORK, DESTINATION_ADDRESS, 4, first)
            .meta(META_PROTOCOL, second)
            .payload(TRANSPORT, 2, 2, third)
    }

    fn load_protocol_port(&mut self) -> &mut Self {
        let [first, second, ..] = c::REGISTER_1_PARTS;
        self.meta(META_PROTOCOL, first).payload(TRANSPORT, 2, 2, second)
    }

    fn lookup(&mut self, set: &str, id: Option<u32>, result: Option<u32>) -> &mut Self {
        self.expression("lookup", |m| {
            m.text(1, set);
            m.attribute(2, &c::REGISTER_1.to_be_bytes());
            if let Some(register) = result {
                m.attribute(3, &register.to_be_bytes());
            }
            if let Some(id) = id {
                m.attribute(4, &id.to_be_bytes());
            }
        })
    }

    /// `ip daddr . meta l4proto . th dport vmap @MAP`
    pub fn verdict_by_address_protocol_port(&mut self, map: &str) -> &mut Self {
        self.load_address_protocol_port()
            .lookup(map, None, Some(c::REGISTER_VERDICT))
    }

    /// `meta l4proto . th dport vmap @MAP`
    pub fn verdict_by_protocol_port(&mut self, map: &str) -> &mut Self {
        self.load_protocol_port()
            .lookup(map, None, Some(c::REGISTER_VERDICT))
    }

    /// `ip daddr . meta l4proto . th dport @SET`
    pub fn address_protocol_port_in(&mut self, set: &str) -> &mut Self {
        self.load_address_protocol_port().lookup(set, None, None)
    }

    /// `meta l4proto . th dport @SET`
    pub fn protocol_port_in(&mut self, set: &str) -> &mut Self {
        self.load_protocol_port().lookup(set, None, None)
    }

    /// `ip saddr . ip daddr @SET`
    pub fn source_destination_in(&mut self, set: &str) -> &mut Self {
        let [first, second, ..] = c::REGISTER_1_PARTS;
        self.payload(NETWORK, SOURCE_ADDRESS, 4, first)
            .payload(NETWORK, DESTINATION_ADDRESS, 4, second)
            .lookup(set, None, None)
    }

    fn translate_destination(&mut self) -> &mut Self {
        self.expression("nat", |m| {
            m.attribute(1, &DESTINATION_NAT.to_be_bytes());
            m.attribute(2, &(libc::AF_INET as u32).to_be_bytes());
            m.attribute(3, &c::REGISTER_1_PARTS[0].to_be_bytes());
            m.attribute(5, &c::REGISTER_1_PARTS[1].to_be_bytes());
        })
    }

    /// `dnat to meta l4proto . th dport map @MAP`
    pub fn translate_by_protocol_port(&mut self, map: &str) -> &mut Self {
        self.load_protocol_port()
            .lookup(map, None, Some(c::REGISTER_1))
            .translate_destination()
    }

    /// `dnat to ip daddr . meta l4proto . th dport map @MAP`
    pub fn translate_by_address_protocol_port(&mut self, map: &str) -> &mut Self {
        self.load_address_protocol_port()
            .lookup(map, None, Some(c::REGISTER_1))
            .translate_destination()
    }

    /// `dnat to numgen random mod N map { 0: ADDRESS . PORT, … }`
    pub fn translate_to_random(&mut self, map: &AnonymousMap) -> &mut Self {
        self.choose(map).translate_destination()
    }

    fn choose(&mut self, map: &AnonymousMap) -> &mut Self {
        self.expression("numgen", |m| {
            m.attribute(1, &c::REGISTER_1.to_be_bytes());
            m.attribute(2, &map.size.to_be_bytes());
            m.attribute(3, &RANDOM.to_be_bytes());
            m.attribute(4, &0u32.to_be_bytes());
        })
        .lookup(super::batch::ANONYMOUS_MAP, Some(map.id), Some(c::REGISTER_1))
    }

    /// `dnat to ADDRESS:PORT`
    pub fn translate_to(&mut self, address: Ipv4Addr, port: u16) -> &mut Self {
        let registers = c::REGISTER_1_PARTS;
        self.immediate(registers[0], &address.octets())
            .immediate(registers[1], &port.to_be_bytes());
        self.translate_destination()
    }

    fn immediate(&mut self, register: u32, bytes: &[u8]) -> &mut Self {
        self.expression("immediate", |m| {
            m.attribute(1, &register.to_be_bytes());
            m.nested(2, |m| m.attribute(c::DATA_VALUE, bytes));
        })
    }

    fn load_client(&mut self) -> &mut Self {
        self.payload(NETWORK, SOURCE_ADDRESS, 4, c::REGISTER_2)
    }

    /// Changes this packet's client's entry in a map of clients; an update of one that is there only
    /// makes it live longer.
    fn change_client(&mut self, map: &str, operation: u32) -> &mut Self {
        self.expression("dynset", |m| {
            m.text(1, map);
            m.attribute(3, &operation.to_be_bytes());
            m.attribute(4, &c::REGISTER_2.to_be_bytes());
            m.attribute(5, &c::REGISTER_1.to_be_bytes());
        })
    }

    /// Goes where this client went before, if that is still among the endpoints.
    pub fn translate_as_remembered(&mut self, map: &str, endpoints: &AnonymousSet) -> &mut Self {
        self.load_client()
            .expression("lookup", |m| {
                m.text(1, map);
                m.attribute(2, &c::REGISTER_2.to_be_bytes());
                m.attribute(3, &c::REGISTER_1.to_be_bytes());
            })
            .lookup(super::batch::ANONYMOUS_SET, Some(endpoints.id), None)
            .change_client(map, DYNSET_UPDATE)
            .translate_destination()
    }

    /// Goes to one of the endpoints by chance, and remembers it for this client.
    pub fn translate_and_remember(&mut self, map: &str, endpoints: &AnonymousMap) -> &mut Self {
        self.load_client()
            .choose(endpoints)
            .change_client(map, DYNSET_DELETE)
            .change_client(map, DYNSET_UPDATE)
            .translate_destination()
    }

    /// `masquerade`, optionally `fully-random`
    pub fn masquerade(&mut self, random: bool) -> &mut Self {
        self.expression("masq", |m| {
            if random {
                m.attribute(1, &RANDOM_FULLY.to_be_bytes());
            }
        })
    }

    /// `reject with tcp reset`
    pub fn reset(&mut self) -> &mut Self {
        self.expression("reject", |m| {
            m.attribute(1, &TCP_RESET.to_be_bytes());
            m.attribute(2, &[0]);
        })
    }

    /// `reject with icmp port-unreachable`
    pub fn reject(&mut self) -> &mut Self {
        self.expression("reject", |m| {
            m.attribute(1, &ICMP_UNREACHABLE.to_be_bytes());
            m.attribute(2, &[ICMP_PORT]);
        })
    }

    /// The rule's end.
    pub fn verdict(&mut self, verdict: Verdict<'_>) -> &mut Self {
        self.expression("immediate", |m| {
            m.attribute(1, &c::REGISTER_VERDICT.to_be_bytes());
            m.nested(2, |m| verdict.write(m));
        })
    }
}
