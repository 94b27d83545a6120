//! What a response is made of: shared bytes, lazily joined pieces, or a stream.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

/// An error of a body's source, with its type erased: it only ever ends the connection.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request of any transport, read once.
pub type RequestBody = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;

/// How much of a joined body is handed to the connection at a time: a few TLS records, so that a
/// list of megabytes never exists in memory as one piece.
const JOIN_BYTES: usize = 64 * 1024;

/// A source of byte frames that ends when it returns `None`.
pub type Frames = Pin<Box<dyn Stream<Item = Result<Bytes, BoxError>> + Send>>;

/// The body of a response.
pub struct Body(Inner);

enum Inner {
    Empty,
    Full(Option<Bytes>),
    Joined(Joined),
    Stream(Frames),
    Passed(Box<Incoming>),
}

/// Pieces written one after another, with a total length known beforehand.
struct Joined {
    pieces: std::vec::IntoIter<Bytes>,
    left: u64,
    /// A piece that did not fit in the last frame.
    next: Option<Bytes>,
}

impl Body {
    /// No body at all.
    pub fn empty() -> Self {
        Self(Inner::Empty)
    }

    /// One piece of shared bytes.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() {
            Self::empty()
        } else {
            Self(Inner::Full(Some(bytes)))
        }
    }

    /// Many shared pieces, sent in frames of some 64 KiB; its length is known, so that HTTP/1.1
    /// needs no chunks.
    pub fn joined(pieces: Vec<Bytes>) -> Self {
        let left = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self(Inner::Joined(Joined {
            pieces: pieces.into_iter(),
            left,
            next: None,
        }))
    }

    /// Frames as they come, for watches and logs.
    pub fn stream(frames: Frames) -> Self {
        Self(Inner::Stream(frames))
    }

    /// Another server's answer, handed through.
    pub fn passed(body: Incoming) -> Self {
        Self(Inner::Passed(Box::new(body)))
    }

    /// The bytes, if they are all there in one piece already.
    pub fn as_full(&self) -> Option<&Bytes> {
        match &self.0 {
            Inner::Full(bytes) => bytes.as_ref(),
            _ => None,
        }
    }

    /// The number of bytes to come, where it is known.
    pub fn known_len(&self) -> Option<u64> {
        self.size_hint().exact()
    }

    /// Takes a body of known length apart into its pieces; a stream is given back.
    pub(crate) fn into_pieces(self) -> Result<Vec<Bytes>, Self> {
        match self.0 {
            Inner::Empty => Ok(Vec::new()),
            Inner::Full(bytes) => Ok(bytes.into_iter().collect()),
            Inner::Joined(joined) => Ok(joined.next.into_iter().chain(joined.pieces).collect()),
            other => Err(Self(other)),
        }
    }
}

impl Joined {
    fn frame(&mut self) -> Option<Bytes> {
        let first = self.next.take().or_else(|| self.pieces.next())?;
        if first.len() >= JOIN_BYTES {
            self.left -= first.len() as u64;
            return Some(first);
        }
        let mut frame = BytesMut::with_capacity(JOIN_BYTES.min(self.left as usize));
        frame.extend_from_slice(&first);
        for piece in self.pieces.by_ref() {
            if frame.len() + piece.len() > JOIN_BYTES {
                self.next = Some(piece);
                break;
            }
            frame.extend_from_slice(&piece);
        }
        self.left -= frame.len() as u64;
        Some(frame.freeze())
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Inner::Empty => Poll::Ready(None),
            Inner::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Inner::Joined(joined) => Poll::Ready(joined.frame().map(|bytes| Ok(Frame::data(bytes)))),
            Inner::Stream(frames) => frames
                .as_mut()
                .poll_next(cx)
                .map(|next| next.map(|frame| frame.map(Frame::data))),
            Inner::Passed(body) => Pin::new(body.as_mut())
                .poll_frame(cx)
                .map(|next| next.map(|frame| frame.map_err(Into::into))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Empty => true,
            Inner::Full(bytes) => bytes.is_none(),
            Inner::Joined(joined) => joined.left == 0,
            Inner::Stream(_) => false,
            Inner::Passed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Empty => SizeHint::with_exact(0),
            Inner::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Inner::Joined(joined) => SizeHint::with_exact(joined.left),
            Inner::Stream(_) => SizeHint::default(),
            Inner::Passed(body) => body.size_hint(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match &self.0 {
            Inner::Empty => "Empty",
            Inner::Full(_) => "Full",
            Inner::Joined(_) => "Joined",
            Inner::Stream(_) => "Stream",
            Inner::Passed(_) => "Passed",
        };
        f.debug_tuple("Body").field(&name).finish()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::full(bytes)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn joined_pieces_arrive_in_order_and_in_few_frames() {
        let pieces: Vec<Bytes> = (0..1000).map(|n| Bytes::from(format!("{n:0200};"))).collect();
        let whole: Vec<u8> = pieces.iter().flatten().copied().collect();
        let mut body = Body::joined(pieces);
        assert_eq!(body.known_len(), Some(whole.len() as u64));
        let (mut seen, mut frames) = (Vec::new(), 0);
        while let Some(frame) = body.frame().await {
            seen.extend_from_slice(&frame.expect("no source can fail").into_data().expect("data"));
            frames += 1;
        }
        assert_eq!(seen, whole);
        assert!(frames <= 5, "{frames}");
        assert!(body.is_end_stream());
    }
}
