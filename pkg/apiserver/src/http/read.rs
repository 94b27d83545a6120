//! Reading a request's body, at most so much of it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt;

use super::body::RequestBody;

/// The largest body of a request, in bytes; upstream's limit.
pub const MAX_BODY: usize = 3 * 1024 * 1024;

/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// How much more is taken of a body that is refused, and for how long: a client that sends all before it
/// listens would else see its connection break, not the answer.
const DRAINED: usize = 32 * 1024 * 1024;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Answered with 413.
    #[error("limit is {limit}")]
    TooLarge {
        /// In bytes.
        limit: usize,
    },
    /// The client's connection failed, or it sent something that is not HTTP.
    #[error("cannot read the body of the request")]
    Broken(#[source] super::body::BoxError),
    /// The client was too slow.
    #[error("the body of the request did not arrive in time")]
    TimedOut,
}

/// Reads a whole body of at most [`MAX_BODY`] bytes.
pub async fn read(body: RequestBody) -> Result<Bytes, ReadError> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(too_large(body));
    }
    tokio::time::timeout(BODY_TIMEOUT, collect(body))
        .await
        .unwrap_or(Err(ReadError::TimedOut))
}

async fn collect(mut body: RequestBody) -> Result<Bytes, ReadError> {
    // Most bodies are one frame, which is then not copied.
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(ReadError::Broken)?.into_data() else {
            continue;
        };
        length += data.len();
        if length > MAX_BODY {
            return Err(too_large(body));
        }
        match first.take() {
            None if rest.is_empty() => first = Some(data),
            None => rest.extend_from_slice(&data),
            Some(first) => {
                rest.extend_from_slice(&first);
                rest.extend_from_slice(&data);
            }
        }
    }
    Ok(first.unwrap_or_else(|| rest.freeze()))
}

/// Refuses a body; what still comes of it is dropped while the answer is on its way.
fn too_large(mut body: RequestBody) -> ReadError {
    let drain = async move {
        let mut length = 0;
        while let Some(Ok(frame)) = body.frame().await {
            length += frame.data_ref().map_or(0, Bytes::len);
            if length > DRAINED {
                return;
            }
        }
    };
    // Nobody waits for it: it ends with the body, the connection or the time.
    drop(tokio::spawn(tokio::time::timeout(DRAIN_TIMEOUT, drain)));
    ReadError::TooLarge { limit: MAX_BODY }
}

#[cfg(test)]
mod tests {
    use http_body_util::{Full, StreamBody};

    use super::*;

    #[tokio::test]
    async fn a_body_of_many_frames_is_joined() {
        let frames = ["a", "b", "c"]
            .map(|text| Ok::<_, super::super::body::BoxError>(http_body::Frame::data(Bytes::from(text))));
        let body = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
        assert_eq!(read(body).await.expect("small").as_ref(), b"abc");
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused() {
        let body = Full::new(Bytes::from(vec![b' '; MAX_BODY + 1]));
        let body = body.map_err(|never| match never {}).boxed_unsync();
        assert!(matches!(read(body).await, Err(ReadError::TooLarge { .. })));
    }

    #[tokio::test]
    async fn what_still_comes_of_a_refused_body_is_taken() {
        let (send, frames) = tokio::sync::mpsc::channel::<Bytes>(1);
        let frames = futures_util::stream::unfold(frames, |mut frames| async {
            let data = frames.recv().await?;
            Some((
                Ok::<_, super::super::body::BoxError>(http_body::Frame::data(data)),
                frames,
            ))
        });
        let body = StreamBody::new(frames).boxed_unsync();
        let large = Bytes::from(vec![b' '; MAX_BODY + 1]);
        send.send(large).await.expect("it is read");
        assert!(matches!(read(body).await, Err(ReadError::TooLarge { .. })));
        for _ in 0..4 {
            let more = Bytes::from_static(b"more");
            assert!(send.send(more).await.is_ok(), "nobody reads on");
        }
    }
}
