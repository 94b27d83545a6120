//! Changes to one table, in the order in which they are to be made.

use super::constants as c;
use super::elements::Element;
use super::rule::Rule;
use crate::netlink::{Messages, NLM_F_CREATE, NLM_F_EXCL};

const NLM_F_APPEND: u16 = 0x800;
/// The elements of one message, in bytes: their list's length must fit 16 bits.
const ELEMENTS_AT_MOST: usize = 48 * 1024;
pub(super) const ANONYMOUS_MAP: &str = "__map%d";
pub(super) const ANONYMOUS_SET: &str = "__set%d";

/// Where in the kernel's path of a packet a chain stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// Just arrived, before routing.
    Prerouting = 0,
    /// For a process of this node.
    Input = 1,
    /// On its way through.
    Forward = 2,
    /// From a process of this node.
    Output = 3,
    /// About to leave.
    Postrouting = 4,
}

/// What a base chain is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainKind {
    /// Decides on every packet.
    Filter,
    /// Decides on the first packet of a connection how its addresses are translated.
    Nat,
}

/// The shape of a named set or map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetKind {
    /// `ipv4_addr . inet_proto . inet_service : verdict`
    AddressProtocolPortVerdicts,
    /// `inet_proto . inet_service : verdict`
    ProtocolPortVerdicts,
    /// `ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service`
    AddressProtocolPortTargets,
    /// `inet_proto . inet_service : ipv4_addr . inet_service`
    ProtocolPortTargets,
    /// `ipv4_addr . inet_proto . inet_service`
    AddressProtocolPorts,
    /// `inet_proto . inet_service`
    ProtocolPorts,
    /// `ipv4_addr . ipv4_addr`
    AddressPairs,
}

const ADDRESS_PORT: (u32, u32) = (c::TYPE_IPV4 << 6 | c::TYPE_PORT, 8);

impl SetKind {
    /// Type and length of the key.
    fn key(self) -> (u32, u32) {
        match self {
            Self::AddressProtocolPortVerdicts
            | Self::AddressProtocolPortTargets
            | Self::AddressProtocolPorts => (c::TYPE_IPV4 << 12 | c::TYPE_PROTOCOL << 6 | c::TYPE_PORT, 12),
            Self::ProtocolPortVerdicts | Self::ProtocolPortTargets | Self::ProtocolPorts => {
                (c::TYPE_PROTOCOL << 6 | c::TYPE_PORT, 8)
            }
            Self::AddressPairs => (c::TYPE_IPV4 << 6 | c::TYPE_IPV4, 8),
        }
    }

    /// Type and length of the data, for a map.
    fn data(self) -> Option<(u32, u32)> {
        match self {
            Self::AddressProtocolPortVerdicts | Self::ProtocolPortVerdicts => Some((c::TYPE_VERDICT, 0)),
            Self::AddressProtocolPortTargets | Self::ProtocolPortTargets => Some(ADDRESS_PORT),
            Self::AddressProtocolPorts | Self::ProtocolPorts | Self::AddressPairs => None,
        }
    }
}

/// A map that lives as long as the one rule that uses it.
#[derive(Debug, Clone, Copy)]
pub struct AnonymousMap {
    pub(super) id: u32,
    pub(super) size: u32,
}

/// A set that lives as long as the one rule that uses it.
#[derive(Debug, Clone, Copy)]
pub struct AnonymousSet {
    pub(super) id: u32,
}

/// Changes to one table of the `ip` family, applied together by [`super::NftSocket::commit`].
#[derive(Debug)]
pub struct Batch {
    pub(super) table: String,
    pub(super) messages: Messages,
    maps: u32,
}

impl Batch {
    /// An empty batch for the table.
    pub fn new(table: impl Into<String>) -> Self {
        let mut messages = Messages::new();
        messages.push(c::BATCH_BEGIN, 0, |m| m.body(&boundary()));
        Self {
            table: table.into(),
            messages,
            maps: 0,
        }
    }

    /// No change yet?
    pub fn is_empty(&self) -> bool {
        self.messages.count() == 1
    }

    /// Bytes to be sent.
    pub fn bytes(&self) -> usize {
        self.messages.len()
    }

    fn command(&mut self, kind: u16, flags: u16, table_attribute: u16, write: impl FnOnce(&mut Messages)) {
        let table = &self.table;
        self.messages.push(kind, flags, |m| {
            m.body(&[libc::AF_INET as u8, 0, 0, 0]);
            m.text(table_attribute, table);
            write(m);
        });
    }

    /// Adds the table, if it is not there.
    pub fn add_table(&mut self) {
        self.command(c::NEW_TABLE, NLM_F_CREATE, c::TABLE_NAME, |_| {});
    }

    /// Deletes the table with all that is in it.
    pub fn delete_table(&mut self) {
        self.command(c::DEL_TABLE, 0, c::TABLE_NAME, |_| {});
    }

    /// Adds a chain that other chains lead to, if it is not there.
    pub fn add_chain(&mut self, name: &str) {
        self.command(c::NEW_CHAIN, NLM_F_CREATE, c::CHAIN_TABLE, |m| {
            m.text(c::CHAIN_NAME, name)
        });
    }

    /// Adds a chain that packets meet at a hook; lower priorities come first. What it does not decide
    /// passes.
    pub fn add_base_chain(&mut self, name: &str, kind: ChainKind, hook: Hook, priority: i32) {
        self.command(c::NEW_CHAIN, NLM_F_CREATE, c::CHAIN_TABLE, |m| {
            m.text(c::CHAIN_NAME, name);
            m.nested(c::CHAIN_HOOK, |m| {
                m.attribute(c::HOOK_NUMBER, &(hook as u32).to_be_bytes());
                m.attribute(c::HOOK_PRIORITY, &priority.to_be_bytes());
            });
            m.text(
                c::CHAIN_TYPE,
                match kind {
                    ChainKind::Filter => "filter",
                    ChainKind::Nat => "nat",
                },
            );
        });
    }

    /// Deletes all rules of a chain.
    pub fn flush_chain(&mut self, name: &str) {
        self.command(c::DEL_RULE, 0, c::RULE_TABLE, |m| m.text(c::RULE_CHAIN, name));
    }

    /// Deletes a chain that nothing leads to any more, with its rules.
    pub fn delete_chain(&mut self, name: &str) {
        self.flush_chain(name);
        self.command(c::DEL_CHAIN, 0, c::CHAIN_TABLE, |m| m.text(c::CHAIN_NAME, name));
    }

    /// Appends a rule to a chain.
    pub fn add_rule(&mut self, chain: &str, write: impl FnOnce(&mut Rule<'_>)) {
        self.command(c::NEW_RULE, NLM_F_CREATE | NLM_F_APPEND, c::RULE_TABLE, |m| {
            m.text(c::RULE_CHAIN, chain);
            m.nested(c::RULE_EXPRESSIONS, |messages| write(&mut Rule { messages }));
        });
    }

    /// Adds a named set or map.
    pub fn add_set(&mut self, name: &str, kind: SetKind) {
        self.maps += 1;
        let id = self.maps;
        self.command(c::NEW_SET, NLM_F_CREATE, c::SET_TABLE, |m| {
            m.text(c::SET_NAME, name);
            let flags = if kind.data().is_some() { c::FLAG_MAP } else { 0 };
            m.attribute(c::SET_FLAGS, &flags.to_be_bytes());
            shape(m, kind.key(), kind.data());
            m.attribute(c::SET_ID, &id.to_be_bytes());
        });
    }

    /// Adds a map from 0, 1, 2… to addresses and ports, to be used by the one rule added next.
    pub fn add_targets<'a>(&mut self, targets: impl ExactSizeIterator<Item = &'a [u8; 8]>) -> AnonymousMap {
        self.maps += 1;
        let map = AnonymousMap {
            id: self.maps,
            size: targets.len() as u32,
        };
        self.command(c::NEW_SET, NLM_F_CREATE, c::SET_TABLE, |m| {
            m.text(c::SET_NAME, ANONYMOUS_MAP);
            let flags = c::FLAG_ANONYMOUS | c::FLAG_CONSTANT | c::FLAG_MAP;
            m.attribute(c::SET_FLAGS, &flags.to_be_bytes());
            shape(m, (c::TYPE_INTEGER, 4), Some(ADDRESS_PORT));
            m.nested(c::SET_DESCRIPTION, |m| {
                m.attribute(c::DESCRIPTION_SIZE, &map.size.to_be_bytes())
            });
            m.attribute(c::SET_ID, &map.id.to_be_bytes());
        });
        let numbered: Vec<_> = targets
            .enumerate()
            .map(|(index, target)| ((index as u32).to_ne_bytes(), target))
            .collect();
        let elements = numbered
            .iter()
            .map(|(index, target)| Element::Value(index, *target));
        self.elements(
            c::NEW_ELEMENTS,
            NLM_F_CREATE,
            ANONYMOUS_MAP,
            Some(map.id),
            elements,
        );
        map
    }

    /// Adds a set of addresses and ports, to be used by the one rule added next.
    pub fn add_target_set<'a>(
        &mut self,
        targets: impl ExactSizeIterator<Item = &'a [u8; 8]>,
    ) -> AnonymousSet {
        self.maps += 1;
        let (id, size) = (self.maps, targets.len() as u32);
        self.command(c::NEW_SET, NLM_F_CREATE, c::SET_TABLE, |m| {
            m.text(c::SET_NAME, ANONYMOUS_SET);
            m.attribute(
                c::SET_FLAGS,
                &(c::FLAG_ANONYMOUS | c::FLAG_CONSTANT).to_be_bytes(),
            );
            shape(m, ADDRESS_PORT, None);
            m.nested(c::SET_DESCRIPTION, |m| {
                m.attribute(c::DESCRIPTION_SIZE, &size.to_be_bytes())
            });
            m.attribute(c::SET_ID, &id.to_be_bytes());
        });
        let elements = targets.map(|target| Element::Key(target));
        self.elements(c::NEW_ELEMENTS, NLM_F_CREATE, ANONYMOUS_SET, Some(id), elements);
        AnonymousSet { id }
    }

    /// Adds a map from clients' addresses to addresses and ports that rules fill
    /// ([`Rule::translate_and_remember`]) and that forgets what was not used for so long.
    pub fn add_client_map(&mut self, name: &str, seconds: u32) {
        self.maps += 1;
        let id = self.maps;
        self.command(c::NEW_SET, NLM_F_CREATE, c::SET_TABLE, |m| {
            m.text(c::SET_NAME, name);
            let flags = c::FLAG_MAP | c::FLAG_TIMEOUT | c::FLAG_EVALUATED;
            m.attribute(c::SET_FLAGS, &flags.to_be_bytes());
            shape(m, (c::TYPE_IPV4, 4), Some(ADDRESS_PORT));
            m.attribute(c::SET_TIMEOUT, &(u64::from(seconds) * 1000).to_be_bytes());
            m.attribute(c::SET_ID, &id.to_be_bytes());
        });
    }

    /// Deletes a named set or map that no rule uses any more.
    pub fn delete_set(&mut self, name: &str) {
        self.command(c::DEL_SET, 0, c::SET_TABLE, |m| m.text(c::SET_NAME, name));
    }

    /// Adds elements to a named set or map. One that is there with other data is a failure.
    pub fn add_elements<'a>(&mut self, set: &str, elements: impl IntoIterator<Item = Element<'a>>) {
        self.elements(c::NEW_ELEMENTS, NLM_F_CREATE, set, None, elements.into_iter());
    }

    /// Adds elements that must not be there yet.
    pub fn add_new_elements<'a>(&mut self, set: &str, elements: impl IntoIterator<Item = Element<'a>>) {
        self.elements(
            c::NEW_ELEMENTS,
            NLM_F_CREATE | NLM_F_EXCL,
            set,
            None,
            elements.into_iter(),
        );
    }

    /// Deletes elements, which must be there.
    pub fn delete_elements<'a>(&mut self, set: &str, elements: impl IntoIterator<Item = Element<'a>>) {
        self.elements(c::DEL_ELEMENTS, 0, set, None, elements.into_iter());
    }

    /// Deletes all elements of a set.
    pub fn flush_set(&mut self, set: &str) {
        self.command(c::DEL_ELEMENTS, 0, c::ELEMENTS_TABLE, |m| {
            m.text(c::ELEMENTS_SET, set)
        });
    }

    fn elements<'a>(
        &mut self,
        kind: u16,
        flags: u16,
        set: &str,
        id: Option<u32>,
        elements: impl Iterator<Item = Element<'a>>,
    ) {
        let mut elements = elements.peekable();
        while elements.peek().is_some() {
            self.command(kind, flags, c::ELEMENTS_TABLE, |m| {
                m.text(c::ELEMENTS_SET, set);
                if let Some(id) = id {
                    m.attribute(c::ELEMENTS_SET_ID, &id.to_be_bytes());
                }
                m.nested(c::ELEMENTS_LIST, |m| {
                    let start = m.len();
                    while m.len() - start < ELEMENTS_AT_MOST
                        && let Some(element) = elements.next()
                    {
                        element.write(m);
                    }
                });
            });
        }
    }

    /// Ends the batch; returns the last change's sequence number.
    pub(super) fn finish(&mut self) -> u32 {
        let last = self.messages.count();
        self.messages.acknowledge(last);
        self.messages.push(c::BATCH_END, 0, |m| m.body(&boundary()));
        last
    }
}

fn shape(m: &mut Messages, key: (u32, u32), data: Option<(u32, u32)>) {
    m.attribute(c::SET_KEY_TYPE, &key.0.to_be_bytes());
    m.attribute(c::SET_KEY_LENGTH, &key.1.to_be_bytes());
    if let Some((kind, length)) = data {
        m.attribute(c::SET_DATA_TYPE, &kind.to_be_bytes());
        m.attribute(c::SET_DATA_LENGTH, &length.to_be_bytes());
    }
}

/// `struct nfgenmsg` of a batch's begin and end.
fn boundary() -> [u8; 4] {
    let [high, low] = c::SUBSYSTEM.to_be_bytes();
    [0, 0, high, low]
}
