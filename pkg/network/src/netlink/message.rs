//! Writing and reading netlink messages.
//!
//! ```text
//! | length u32 | type u16 | flags u16 | sequence u32 | port u32 | fixed body | attributes ... |
//! attribute: | length u16 | type u16 | payload, padded to 4 |
//! ```

pub(crate) const NLM_F_REQUEST: u16 = 0x1;
pub(crate) const NLM_F_ACK: u16 = 0x4;
pub(crate) const NLM_F_DUMP: u16 = 0x300;
pub(crate) const NLM_F_REPLACE: u16 = 0x100;
pub(crate) const NLM_F_EXCL: u16 = 0x200;
pub(crate) const NLM_F_CREATE: u16 = 0x400;
const NLA_F_NESTED: u16 = 0x8000;
const NLA_TYPE_MASK: u16 = 0x3fff;
/// Bytes of a message's header.
pub(crate) const HEADER: usize = 16;

/// Messages to be sent in one go. Their sequence numbers count from 1.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    buffer: Vec<u8>,
    starts: Vec<usize>,
}

impl Messages {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Appends one request; `write` fills its body and attributes. Returns its sequence number.
    pub(crate) fn push(&mut self, kind: u16, flags: u16, write: impl FnOnce(&mut Self)) -> u32 {
        let start = self.buffer.len();
        self.starts.push(start);
        let sequence = self.starts.len() as u32;
        self.buffer.extend_from_slice(&[0; 4]);
        self.buffer.extend_from_slice(&kind.to_ne_bytes());
        self.buffer
            .extend_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        self.buffer.extend_from_slice(&sequence.to_ne_bytes());
        self.buffer.extend_from_slice(&[0; 4]);
        write(self);
        let length = (self.buffer.len() - start) as u32;
        self.buffer[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        sequence
    }

    /// Appends raw bytes: a message's fixed body. Its length must be a multiple of 4.
    pub(crate) fn body(&mut self, bytes: &[u8]) {
        debug_assert_eq!(bytes.len() % 4, 0);
        self.buffer.extend_from_slice(bytes);
    }

    /// Appends an attribute.
    pub(crate) fn attribute(&mut self, kind: u16, payload: &[u8]) {
        self.attribute_parts(kind, &[payload]);
    }

    /// Appends an attribute whose payload is written in parts.
    pub(crate) fn attribute_parts(&mut self, kind: u16, parts: &[&[u8]]) {
        let length = 4 + parts.iter().map(|part| part.len()).sum::<usize>();
        debug_assert!(length <= usize::from(u16::MAX));
        self.buffer.extend_from_slice(&(length as u16).to_ne_bytes());
        self.buffer.extend_from_slice(&kind.to_ne_bytes());
        for part in parts {
            self.buffer.extend_from_slice(part);
        }
        self.pad();
    }

    /// Appends an attribute holding a text that ends in NUL.
    pub(crate) fn text(&mut self, kind: u16, text: &str) {
        self.attribute_parts(kind, &[text.as_bytes(), &[0]]);
    }

    /// Appends an attribute that holds other attributes. All of them together must stay under 64 KiB.
    pub(crate) fn nested(&mut self, kind: u16, write: impl FnOnce(&mut Self)) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[0; 2]);
        self.buffer
            .extend_from_slice(&(kind | NLA_F_NESTED).to_ne_bytes());
        write(self);
        let length = self.buffer.len() - start;
        debug_assert!(
            length <= usize::from(u16::MAX),
            "attribute {kind} holds {length} bytes"
        );
        self.buffer[start..start + 2].copy_from_slice(&(length as u16).to_ne_bytes());
    }

    /// Appends an attribute that holds other attributes, already written.
    pub(crate) fn nested_bytes(&mut self, kind: u16, attributes: &[u8]) {
        self.attribute(kind | NLA_F_NESTED, attributes);
    }

    fn pad(&mut self) {
        let rest = self.buffer.len() % 4;
        if rest != 0 {
            self.buffer.extend_from_slice(&[0; 4][rest..]);
        }
    }

    /// Asks the kernel for an acknowledgement of every message.
    pub(crate) fn acknowledge_all(&mut self) {
        for start in 0..self.starts.len() {
            self.acknowledge(start as u32 + 1);
        }
    }

    /// Asks the kernel for an acknowledgement of the message with this sequence number.
    pub(crate) fn acknowledge(&mut self, sequence: u32) {
        let at = self.starts[sequence as usize - 1] + 6;
        self.buffer[at] |= NLM_F_ACK as u8;
    }

    /// How many messages there are; also the last one's sequence number.
    pub(crate) fn count(&self) -> u32 {
        self.starts.len() as u32
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// The bytes to send.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// The message with this sequence number: its type and what follows its header.
    pub(crate) fn get(&self, sequence: u32) -> Option<(u16, &[u8])> {
        let index = (sequence as usize).checked_sub(1)?;
        let start = *self.starts.get(index)?;
        let end = self.starts.get(index + 1).copied().unwrap_or(self.buffer.len());
        let kind = u16::from_ne_bytes([self.buffer[start + 4], self.buffer[start + 5]]);
        Some((kind, &self.buffer[start + HEADER..end]))
    }
}

/// Iterates over attributes: (type without its flags, payload).
#[derive(Debug, Clone)]
pub(crate) struct Attributes<'a>(&'a [u8]);

/// The attributes in `bytes`.
pub(crate) fn attributes(bytes: &[u8]) -> Attributes<'_> {
    Attributes(bytes)
}

impl<'a> Attributes<'a> {
    /// The payload of the first attribute of this type.
    pub(crate) fn find(&self, kind: u16) -> Option<&'a [u8]> {
        self.clone()
            .find_map(|(found, payload)| (found == kind).then_some(payload))
    }

    /// The text (without its NUL) of the first attribute of this type.
    pub(crate) fn text(&self, kind: u16) -> Option<&'a str> {
        let payload = self.find(kind)?;
        let end = payload
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(payload.len());
        std::str::from_utf8(&payload[..end]).ok()
    }

    /// The first attribute of this type as a number in the machine's byte order.
    pub(crate) fn u32(&self, kind: u16) -> Option<u32> {
        Some(u32::from_ne_bytes(self.find(kind)?.get(..4)?.try_into().ok()?))
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let head: [u8; 4] = self.0.get(..4)?.try_into().ok()?;
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let kind = u16::from_ne_bytes([head[2], head[3]]) & NLA_TYPE_MASK;
        let payload = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut messages = Messages::new();
        messages.push(7, 0, |m| {
            m.body(&[1, 2, 3, 4]);
            m.text(3, "eth0");
            m.nested(9, |m| m.attribute(1, &5u32.to_ne_bytes()));
        });
        messages.push(8, 0, |m| m.body(&[0; 4]));
        let (kind, rest) = messages.get(1).unwrap();
        assert_eq!((kind, messages.count()), (7, 2));
        let found = attributes(&rest[4..]);
        assert_eq!(found.text(3), Some("eth0"));
        assert_eq!(attributes(found.find(9).unwrap()).u32(1), Some(5));
        assert_eq!(messages.get(3), None);
    }

    #[test]
    fn torn_attributes_end_the_reading() {
        assert_eq!(attributes(&[9, 0, 1, 0, 5]).count(), 0);
        assert_eq!(attributes(&[0, 0, 0, 0]).count(), 0);
    }
}
