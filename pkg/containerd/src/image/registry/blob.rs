//! Downloading a blob into the content store. A connection that breaks is made anew, and the download
//! goes on where it stopped, also after a restart of this process: containerd keeps what has arrived.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use kobune_runtime::{Error, Result};

use super::http::Answer;
use super::{Place, Repository, worst};
use crate::image::content::{self, CHUNK_BYTES, Lease, Writer};
use crate::image::manifest::Descriptor;

/// Attempts that may fail one after another without a byte arriving.
const ATTEMPTS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// A connection that brings nothing for so long is broken.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);

impl Repository {
    /// Downloads a blob; `tell` hears how many bytes have arrived. Its digest is verified.
    pub(crate) async fn blob(
        &self,
        lease: &Lease,
        blob: &Descriptor,
        tell: &(dyn Fn(u64) + Sync),
    ) -> Result<()> {
        let mut failures = Vec::new();
        for place in &self.places {
            match place.blob(lease, blob, tell).await {
                Ok(()) => return Ok(()),
                Err(error) => failures.push(error),
            }
        }
        Err(worst(failures))
    }
}

impl Place {
    async fn blob(&self, lease: &Lease, blob: &Descriptor, tell: &(dyn Fn(u64) + Sync)) -> Result<()> {
        let (mut attempts, mut pause) = (0, FIRST_PAUSE);
        loop {
            let Some(mut writer) = Writer::begin(lease, &blob.digest, &blob.digest, blob.size).await? else {
                return lease.keep(&blob.digest).await;
            };
            let before = writer.offset;
            let error = match self.download(&mut writer, blob, tell).await {
                Ok(()) => match writer.commit(&blob.digest).await {
                    Ok(()) => return Ok(()),
                    Err(error) => {
                        // What arrived is not what was promised: nothing of it can be used.
                        content::abort(&lease.connection, &blob.digest).await;
                        error
                    }
                },
                Err(Failed { error, lasting: true }) => return Err(error),
                Err(Failed { error, .. }) => {
                    if writer.offset > before {
                        (attempts, pause) = (0, FIRST_PAUSE);
                    }
                    drop(writer);
                    error
                }
            };
            attempts += 1;
            if attempts >= ATTEMPTS {
                return Err(error);
            }
            tracing::info!(blob = blob.digest, %error, "a download broke off; going on with it");
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    /// Downloads what is missing of a blob.
    async fn download(
        &self,
        writer: &mut Writer,
        blob: &Descriptor,
        tell: &(dyn Fn(u64) + Sync),
    ) -> Result<(), Failed> {
        if writer.offset >= blob.size && blob.size > 0 {
            return Ok(());
        }
        let url = self.endpoint.url("blobs", &blob.digest);
        let answer = self.ask(&url, writer).await?;
        take(&url, answer.into_body(), writer, blob.size, tell).await
    }

    /// Asks for what the writer does not have yet; one that cannot go on begins anew.
    async fn ask(&self, url: &str, writer: &mut Writer) -> Result<Answer, Failed> {
        let mut headers = HeaderMap::new();
        if writer.offset > 0 {
            let range = HeaderValue::try_from(format!("bytes={}-", writer.offset));
            headers.insert(
                RANGE,
                range.map_err(|error| Failed::lasting(Error::other("asking for a range", error)))?,
            );
        }
        let answer = self
            .authorization
            .send(&self.client, url, &headers)
            .await
            .map_err(Failed::passing)?;
        let status = answer.status();
        if status == StatusCode::RANGE_NOT_SATISFIABLE {
            writer.restart().await.map_err(Failed::lasting)?;
            return Err(Failed::passing(Error::other(
                format!("GET {url}"),
                "the range is refused",
            )));
        }
        if !status.is_success() {
            let lasting = !status.is_server_error() && status != StatusCode::TOO_MANY_REQUESTS;
            let error = Error::other(format!("GET {url}"), super::refusal(status, answer).await);
            return Err(Failed { error, lasting });
        }
        if writer.offset > 0 && !continues(status, answer.headers(), writer.offset) {
            writer.restart().await.map_err(Failed::lasting)?;
        }
        Ok(answer)
    }
}

/// Writes what arrives, in large pieces; what came before the connection broke is written too.
async fn take(
    url: &str,
    mut body: Incoming,
    writer: &mut Writer,
    size: u64,
    tell: &(dyn Fn(u64) + Sync),
) -> Result<(), Failed> {
    let failed = |words: &str| Error::other(format!("GET {url}"), words.to_owned());
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    loop {
        let arrived = next(url, &mut body).await;
        if let Ok(Some(data)) = &arrived {
            chunk.extend_from_slice(data);
        }
        if writer.offset + chunk.len() as u64 > size {
            return Err(Failed::lasting(failed("more arrives than was promised")));
        }
        let ended = !matches!(arrived, Ok(Some(_)));
        while chunk.len() >= CHUNK_BYTES || (ended && !chunk.is_empty()) {
            let rest = chunk.split_off(chunk.len().min(CHUNK_BYTES));
            let full = std::mem::replace(&mut chunk, rest);
            writer.write(full).await.map_err(Failed::lasting)?;
            tell(writer.offset);
        }
        match arrived {
            Err(error) => return Err(Failed::passing(error)),
            Ok(None) if writer.offset < size => {
                return Err(Failed::passing(failed("the connection ended early")));
            }
            Ok(None) => return Ok(()),
            Ok(Some(_)) => {}
        }
    }
}

/// More of a body; `None` at its end.
async fn next(url: &str, body: &mut Incoming) -> Result<Option<Bytes>> {
    loop {
        match tokio::time::timeout(SILENCE_LIMIT, body.frame()).await {
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Ok(Some(Err(error))) => return Err(Error::other(format!("GET {url}"), error)),
            Ok(None) => return Ok(None),
            Err(_) => return Err(Error::other(format!("GET {url}"), "nothing arrives any more")),
        }
    }
}

/// True when the answer goes on at `offset`.
fn continues(status: StatusCode, headers: &HeaderMap, offset: u64) -> bool {
    let range = headers.get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
    let start = range.and_then(|range| {
        range
            .strip_prefix("bytes ")?
            .split('-')
            .next()?
            .parse::<u64>()
            .ok()
    });
    status == StatusCode::PARTIAL_CONTENT && start == Some(offset)
}

/// Why a download stopped, and whether it is worth another attempt.
struct Failed {
    error: Error,
    lasting: bool,
}

impl Failed {
    fn passing(error: Error) -> Self {
        Self {
            error,
            lasting: false,
        }
    }

    fn lasting(error: Error) -> Self {
        Self { error, lasting: true }
    }
}
