//! Building responses, and compressing the large ones.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::stream;
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::body::{Body, BoxError};

/// Answers of at least this many bytes are compressed for who accepts it; upstream's limit.
const GZIP_FROM: u64 = 128 * 1024;

/// How much is compressed before the connection gets a turn.
const GZIP_STEP: usize = 64 * 1024;

/// A response with a media type, not to be cached.
pub fn response(status: StatusCode, media_type: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// A response of plain text, as health checks and unknown paths give it.
pub fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    response(status, "text/plain; charset=utf-8", text.into())
}

/// Compresses a large answer when the client accepts gzip; streams are left as they are.
pub fn compress(accepts: bool, response: Response<Body>) -> Response<Body> {
    let large = response
        .body()
        .known_len()
        .is_some_and(|length| length >= GZIP_FROM);
    if !accepts || !large || response.headers().contains_key(CONTENT_ENCODING) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    match body.into_pieces() {
        Ok(pieces) => {
            parts
                .headers
                .insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            parts
                .headers
                .insert(VARY, HeaderValue::from_static("Accept-Encoding"));
            Response::from_parts(parts, gzip(pieces))
        }
        Err(body) => Response::from_parts(parts, body),
    }
}

/// Whether a client accepts gzip.
pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT_ENCODING)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| coding.split(';').next().is_some_and(|name| name.trim() == "gzip"))
}

/// Compresses pieces as the connection takes them, so that neither the whole answer nor a long
/// stretch of processor time is held at once.
fn gzip(pieces: Vec<Bytes>) -> Body {
    let encoder = GzEncoder::new(Vec::with_capacity(GZIP_STEP), Compression::fast());
    let state = Some((pieces.into_iter(), encoder));
    let frames = stream::unfold(state, |state| async move {
        let (mut pieces, mut encoder) = state?;
        let mut taken = 0;
        while taken < GZIP_STEP {
            let Some(piece) = pieces.next() else {
                let last = encoder.finish().map(Bytes::from).map_err(BoxError::from);
                return Some((last, None));
            };
            taken += piece.len();
            if let Err(error) = encoder.write_all(&piece) {
                return Some((Err(error.into()), None));
            }
        }
        let frame = Bytes::from(std::mem::replace(
            encoder.get_mut(),
            Vec::with_capacity(GZIP_STEP),
        ));
        Some((Ok(frame), Some((pieces, encoder))))
    });
    Body::stream(Box::pin(frames))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_large_answer_survives_compression() {
        let pieces: Vec<Bytes> = (0..20_000).map(|n| Bytes::from(format!("item {n},"))).collect();
        let whole: Vec<u8> = pieces.iter().flatten().copied().collect();
        let response = response(StatusCode::OK, "application/json", Body::joined(pieces));
        let response = compress(true, response);
        assert_eq!(response.headers()[CONTENT_ENCODING], "gzip");
        let packed = response
            .into_body()
            .collect()
            .await
            .expect("no source can fail")
            .to_bytes();
        assert!(packed.len() < whole.len() / 2);
        let mut seen = Vec::new();
        flate2::read::GzDecoder::new(&packed[..])
            .read_to_end(&mut seen)
            .expect("gzip");
        assert_eq!(seen, whole);
    }

    #[test]
    fn a_small_answer_is_left_alone() {
        let response = compress(true, text(StatusCode::OK, "ok"));
        assert!(!response.headers().contains_key(CONTENT_ENCODING));
    }
}
