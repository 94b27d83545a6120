//! Protobuf's wire format: tags, varints, lengths.

use super::ProtobufError;

/// Writes fields one after the other.
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LENGTH: u8 = 2;
const FIXED32: u8 = 5;

impl Writer {
    pub(crate) fn new(prefix: &[u8]) -> Writer {
        Writer {
            bytes: prefix.to_vec(),
        }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    fn tag(&mut self, number: u16, wire: u8) {
        self.raw_varint(u64::from(number) << 3 | u64::from(wire));
    }

    pub(crate) fn varint(&mut self, number: u16, value: u64) {
        self.tag(number, VARINT);
        self.raw_varint(value);
    }

    pub(crate) fn double(&mut self, number: u16, value: f64) {
        self.tag(number, FIXED64);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn bytes(&mut self, number: u16, value: &[u8]) {
        self.tag(number, LENGTH);
        self.raw_varint(value.len() as u64);
        self.bytes.extend_from_slice(value);
    }

    pub(crate) fn text(&mut self, number: u16, value: &str) {
        self.bytes(number, value.as_bytes());
    }

    /// A nested message. One byte is kept for its length; a longer length moves the message.
    pub(crate) fn message(&mut self, number: u16, write: impl FnOnce(&mut Writer)) {
        self.tag(number, LENGTH);
        let start = self.bytes.len();
        self.bytes.push(0);
        write(self);
        let length = self.bytes.len() - start - 1;
        if length < 0x80 {
            self.bytes[start] = length as u8;
            return;
        }
        let end = self.bytes.len();
        self.raw_varint(length as u64);
        let more = self.bytes.len() - end - 1;
        let prefix: [u8; 10] = {
            let mut prefix = [0; 10];
            prefix[..more + 1].copy_from_slice(&self.bytes[end..]);
            prefix
        };
        self.bytes.truncate(end + more);
        self.bytes.copy_within(start + 1..end, start + 1 + more);
        self.bytes[start..start + 1 + more].copy_from_slice(&prefix[..more + 1]);
    }
}

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Payload<'b> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'b [u8]),
    Fixed32,
}

impl<'b> Payload<'b> {
    pub(crate) fn bytes(self) -> Option<&'b [u8]> {
        match self {
            Payload::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub(crate) fn wire(self) -> u8 {
        match self {
            Payload::Varint(_) => VARINT,
            Payload::Fixed64(_) => FIXED64,
            Payload::Bytes(_) => LENGTH,
            Payload::Fixed32 => FIXED32,
        }
    }
}

/// Reads fields one after the other.
pub(crate) struct Reader<'b> {
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Reader<'b> {
        Reader { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn varint(&mut self) -> Result<u64, ProtobufError> {
        let mut value = 0;
        for (at, byte) in self.rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[at + 1..];
                return Ok(value);
            }
        }
        Err(if self.rest.len() < 10 {
            ProtobufError::Truncated
        } else {
            ProtobufError::Malformed
        })
    }

    fn take(&mut self, length: u64) -> Result<&'b [u8], ProtobufError> {
        if length > self.rest.len() as u64 {
            return Err(ProtobufError::Truncated);
        }
        let (taken, rest) = self.rest.split_at(length as usize);
        self.rest = rest;
        Ok(taken)
    }

    /// The next field's number and value; `None` at the end.
    pub(crate) fn next_field(&mut self) -> Result<Option<(u32, Payload<'b>)>, ProtobufError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| ProtobufError::Malformed)?;
        if number == 0 {
            return Err(ProtobufError::Malformed);
        }
        let payload = match (tag & 7) as u8 {
            VARINT => Payload::Varint(self.varint()?),
            FIXED64 => {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(self.take(8)?);
                Payload::Fixed64(bytes)
            }
            LENGTH => {
                let length = self.varint()?;
                Payload::Bytes(self.take(length)?)
            }
            FIXED32 => {
                self.take(4)?;
                Payload::Fixed32
            }
            _ => return Err(ProtobufError::Malformed),
        };
        Ok(Some((number, payload)))
    }
}
