//! Frames of SPDY/3.1 (draft-mbelshe-httpbis-spdy-00, section 2.2), those that Kubernetes' clients use.

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::Error;

/// The largest frame accepted: clients send 32 KiB of data in one.
const LIMIT: usize = 1 << 20;
const VERSION: u16 = 3;

/// `FLAG_FIN`: the sender is done with the stream.
pub const FIN: u8 = 0x01;

/// A frame, its header block still compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Opens a stream.
    SynStream {
        /// Odd from a client.
        stream: u32,
        /// [`FIN`] or none.
        flags: u8,
        /// Compressed headers.
        block: Bytes,
    },
    /// Accepts a stream.
    SynReply {
        /// Which.
        stream: u32,
        /// Compressed headers.
        block: Bytes,
    },
    /// Ends a stream at once.
    RstStream {
        /// Which.
        stream: u32,
        /// Why.
        status: u32,
    },
    /// Asks whether the other side is alive; answered with the same number.
    Ping {
        /// Odd from a client.
        id: u32,
    },
    /// No more streams are accepted.
    GoAway {
        /// The last one that was.
        last: u32,
    },
    /// Data of a stream.
    Data {
        /// Which.
        stream: u32,
        /// [`FIN`] or none.
        flags: u8,
        /// The bytes.
        bytes: Bytes,
    },
    /// Settings, window updates, headers and what else may come: of no meaning here.
    Other,
}

fn number(bytes: &[u8], at: usize) -> Result<u32, Error> {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
    field
        .map(|field| u32::from_be_bytes(*field))
        .ok_or(Error::Malformed("a control frame ends early"))
}

impl Frame {
    /// The next frame; `None` when the other side has ended the connection between two frames.
    pub async fn read(from: &mut (impl AsyncRead + Unpin)) -> Result<Option<Frame>, Error> {
        let mut head = [0; 8];
        match from.read_exact(&mut head).await {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(source) => return Err(Error::Io(source)),
        }
        let flags = head[4];
        let length = u32::from_be_bytes([0, head[5], head[6], head[7]]) as usize;
        if length > LIMIT {
            return Err(Error::TooLarge);
        }
        let mut body = vec![0; length];
        from.read_exact(&mut body).await.map_err(Error::Io)?;
        if head[0] & 0x80 == 0 {
            let stream = number(&head, 0)?;
            return Ok(Some(Frame::Data {
                stream,
                flags,
                bytes: body.into(),
            }));
        }
        let version = u16::from_be_bytes([head[0] & 0x7f, head[1]]);
        if version != VERSION {
            return Err(Error::Malformed("a version of SPDY other than 3"));
        }
        control(u16::from_be_bytes([head[2], head[3]]), flags, &body.into()).map(Some)
    }

    /// Appends the frame's bytes.
    pub fn write(&self, to: &mut BytesMut) {
        match self {
            Frame::SynStream { stream, flags, block } => {
                head(to, 1, *flags, 10 + block.len());
                to.put_u32(*stream);
                to.put_u32(0);
                to.put_u16(0);
                to.put_slice(block);
            }
            Frame::SynReply { stream, block } => {
                head(to, 2, 0, 4 + block.len());
                to.put_u32(*stream);
                to.put_slice(block);
            }
            Frame::RstStream { stream, status } => {
                head(to, 3, 0, 8);
                to.put_u32(*stream);
                to.put_u32(*status);
            }
            Frame::Ping { id } => {
                head(to, 6, 0, 4);
                to.put_u32(*id);
            }
            Frame::GoAway { last } => {
                head(to, 7, 0, 8);
                to.put_u32(*last);
                to.put_u32(0);
            }
            Frame::Data { stream, flags, bytes } => {
                to.put_u32(*stream);
                // A frame's length has 24 bits; ours are 32 KiB.
                to.put_u32(u32::from(*flags) << 24 | bytes.len() as u32);
                to.put_slice(bytes);
            }
            Frame::Other => {}
        }
    }
}

fn head(to: &mut BytesMut, kind: u16, flags: u8, length: usize) {
    to.put_u16(0x8000 | VERSION);
    to.put_u16(kind);
    to.put_u32(u32::from(flags) << 24 | length as u32);
}

fn control(kind: u16, flags: u8, body: &Bytes) -> Result<Frame, Error> {
    let stream = |at| number(body, at).map(|id| id & 0x7fff_ffff);
    Ok(match kind {
        1 if body.len() >= 10 => Frame::SynStream {
            stream: stream(0)?,
            flags,
            block: body.slice(10..),
        },
        2 if body.len() >= 4 => Frame::SynReply {
            stream: stream(0)?,
            block: body.slice(4..),
        },
        1 | 2 => return Err(Error::Malformed("a control frame ends early")),
        3 => Frame::RstStream {
            stream: stream(0)?,
            status: number(body, 4)?,
        },
        6 => Frame::Ping { id: number(body, 0)? },
        7 => Frame::GoAway { last: stream(0)? },
        _ => Frame::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_frame_reads_as_it_was_written() {
        let frames = [
            Frame::SynStream {
                stream: 1,
                flags: FIN,
                block: Bytes::from_static(b"x"),
            },
            Frame::SynReply {
                stream: 1,
                block: Bytes::from_static(b"yz"),
            },
            Frame::RstStream { stream: 3, status: 5 },
            Frame::Ping { id: 7 },
            Frame::GoAway { last: 9 },
            Frame::Data {
                stream: 1,
                flags: 0,
                bytes: Bytes::from_static(b"hello"),
            },
        ];
        let mut bytes = BytesMut::new();
        frames.iter().for_each(|frame| frame.write(&mut bytes));
        let mut rest = &bytes[..];
        for frame in frames {
            assert_eq!(Frame::read(&mut rest).await.unwrap(), Some(frame));
        }
        assert_eq!(Frame::read(&mut rest).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_frame_that_is_too_large_is_refused_before_it_is_read() {
        let mut head: &[u8] = &[0, 0, 0, 1, 0, 0xff, 0xff, 0xff];
        assert!(matches!(Frame::read(&mut head).await, Err(Error::TooLarge)));
    }
}
