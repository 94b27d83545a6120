//! Header blocks of SPDY/3: names and values, compressed by one zlib stream for each direction.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use super::Error;
use super::dictionary::dictionary;

/// A header block is never this large in practice; more is an attack (bytes, uncompressed).
const LIMIT: usize = 64 << 10;

/// Names (lower case) and values.
pub type Headers = Vec<(String, String)>;

/// Reads the header blocks of one direction, in order.
pub struct Decoder {
    zlib: Decompress,
    dictionary_set: bool,
}

impl Decoder {
    /// At the beginning of a connection.
    pub fn new() -> Self {
        Decoder {
            zlib: Decompress::new(true),
            dictionary_set: false,
        }
    }

    /// The headers of a block.
    pub fn decode(&mut self, block: &[u8]) -> Result<Headers, Error> {
        parse(&self.inflate(block)?)
    }

    fn inflate(&mut self, block: &[u8]) -> Result<Vec<u8>, Error> {
        let mut plain = Vec::with_capacity(4 * block.len().max(256));
        let mut rest = block;
        loop {
            let (read, written) = (self.zlib.total_in(), self.zlib.total_out());
            let step = self.zlib.decompress_vec(rest, &mut plain, FlushDecompress::Sync);
            rest = &rest[(self.zlib.total_in() - read) as usize..];
            match step {
                Err(error) if error.needs_dictionary().is_some() && !self.dictionary_set => {
                    self.zlib
                        .set_dictionary(&dictionary())
                        .map_err(|_| Error::Compression)?;
                    self.dictionary_set = true;
                    continue;
                }
                Err(_) => return Err(Error::Compression),
                Ok(_) => {}
            }
            let full = plain.len() == plain.capacity();
            if rest.is_empty() && !full {
                return Ok(plain);
            }
            if full {
                if plain.len() > LIMIT {
                    return Err(Error::TooLarge);
                }
                plain.reserve(plain.len().max(1024));
            } else if self.zlib.total_in() == read && self.zlib.total_out() == written {
                return Err(Error::Compression);
            }
        }
    }
}

/// Writes the header blocks of one direction, in order.
pub struct Encoder {
    zlib: Compress,
}

impl Encoder {
    /// At the beginning of a connection.
    pub fn new() -> Result<Self, Error> {
        let mut zlib = Compress::new(Compression::fast(), true);
        zlib.set_dictionary(&dictionary())
            .map_err(|_| Error::Compression)?;
        Ok(Encoder { zlib })
    }

    /// The block for headers.
    pub fn encode(&mut self, headers: &Headers) -> Result<Vec<u8>, Error> {
        let mut plain = Vec::new();
        put_length(&mut plain, headers.len());
        for (name, value) in headers {
            for text in [name, value] {
                put_length(&mut plain, text.len());
                plain.extend_from_slice(text.as_bytes());
            }
        }
        let mut block = Vec::with_capacity(plain.len() + 64);
        let mut rest = plain.as_slice();
        loop {
            let read = self.zlib.total_in();
            self.zlib
                .compress_vec(rest, &mut block, FlushCompress::Sync)
                .map_err(|_| Error::Compression)?;
            rest = &rest[(self.zlib.total_in() - read) as usize..];
            if rest.is_empty() && block.len() < block.capacity() {
                return Ok(block);
            }
            block.reserve(256);
        }
    }
}

fn put_length(block: &mut Vec<u8>, length: usize) {
    // Our own headers are a few hundred bytes.
    block.extend_from_slice(&(length as u32).to_be_bytes());
}

fn parse(plain: &[u8]) -> Result<Headers, Error> {
    let mut rest = plain;
    let count = take_length(&mut rest)?;
    let mut headers = Headers::new();
    for _ in 0..count {
        let name = take_text(&mut rest)?;
        let value = take_text(&mut rest)?;
        headers.push((name.to_lowercase(), value));
    }
    Ok(headers)
}

fn take_length(rest: &mut &[u8]) -> Result<usize, Error> {
    let (bytes, after) = rest
        .split_first_chunk::<4>()
        .ok_or(Error::Malformed("a header block ends early"))?;
    *rest = after;
    Ok(u32::from_be_bytes(*bytes) as usize)
}

fn take_text(rest: &mut &[u8]) -> Result<String, Error> {
    let length = take_length(rest)?;
    let (text, after) = rest
        .split_at_checked(length)
        .ok_or(Error::Malformed("a header block ends early"))?;
    *rest = after;
    Ok(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_one_connection_are_read_in_order() {
        let (mut encoder, mut decoder) = (Encoder::new().unwrap(), Decoder::new());
        for port in ["80", "8080", "443"] {
            let headers = vec![
                ("streamtype".to_owned(), "data".to_owned()),
                ("port".to_owned(), port.to_owned()),
            ];
            let block = encoder.encode(&headers).unwrap();
            assert_eq!(decoder.decode(&block).unwrap(), headers);
        }
    }

    #[test]
    fn large_blocks_are_whole() {
        let (mut encoder, mut decoder) = (Encoder::new().unwrap(), Decoder::new());
        let value: String = (0..20_000_u32)
            .map(|n| char::from(b'a' + (n.wrapping_mul(2_654_435_761) >> 27) as u8 % 26))
            .collect();
        let headers = vec![("long".to_owned(), value)];
        let block = encoder.encode(&headers).unwrap();
        assert_eq!(decoder.decode(&block).unwrap(), headers);
    }

    #[test]
    fn garbage_is_an_error() {
        assert!(Decoder::new().decode(b"not a zlib stream").is_err());
        assert!(parse(&[0, 0, 0, 9, 0]).is_err());
    }
}
