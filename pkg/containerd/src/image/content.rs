//! containerd's content store: blobs by digest, written under a lease.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use containerd_client::services::v1 as api;
use containerd_client::services::v1::{WriteAction, WriteContentRequest, WriteContentResponse};
use kobune_runtime::{Error, Result};
use tokio::sync::mpsc;
use tonic::{Code, Streaming};

use super::manifest::Descriptor;
use crate::connection::{Connection, Idempotent, failed};

/// Bytes of one message; containerd takes up to 16 MiB.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;
/// A manifest or configuration larger than this is an attack.
const SMALL_BLOB_LIMIT: u64 = 8 << 20;

/// A lease: what is made under it is kept from garbage collection until it ends.
pub(crate) struct Lease {
    /// The connection whose requests are under the lease.
    pub(crate) connection: Connection,
    id: String,
}

impl Lease {
    /// Begins a lease that ends by itself after a day, should we not end it.
    pub(crate) async fn begin(connection: &Connection) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let now = jiff::Timestamp::now();
        let id = format!(
            "kobune-{}-{}",
            now.as_nanosecond(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let expires = now + jiff::SignedDuration::from_hours(24);
        let labels = HashMap::from([("containerd.io/gc.expire".to_owned(), format!("{expires:.0}"))]);
        let request = api::CreateRequest {
            id: id.clone(),
            labels,
        };
        connection
            .leases()
            .create(request)
            .await
            .map_err(failed("making a lease"))?;
        Ok(Self {
            connection: connection.under_lease(&id),
            id,
        })
    }

    /// Keeps a blob that is there already.
    pub(crate) async fn keep(&self, digest: &str) -> Result<()> {
        let resource = api::Resource {
            id: digest.to_owned(),
            r#type: "content".into(),
        };
        let request = api::AddResourceRequest {
            id: self.id.clone(),
            resource: Some(resource),
        };
        let answer = self.connection.leases().add_resource(request).await;
        answer.or_exists().map_err(failed("keeping a blob"))
    }

    /// Ends it. With `collect` what nothing else holds is gone when this answers: after a failure it may
    /// be what fills the disk. An error is only logged: the lease would end by itself.
    pub(crate) async fn end(self, collect: bool) {
        let request = api::DeleteRequest {
            id: self.id,
            sync: collect,
        };
        if let Err(error) = self.connection.leases().delete(request).await {
            tracing::debug!(%error, "ending a lease");
        }
    }
}

/// The size of a blob, if it is there.
pub(crate) async fn size(connection: &Connection, digest: &str) -> Result<Option<u64>> {
    let request = api::InfoRequest {
        digest: digest.to_owned(),
    };
    match connection.content().info(request).await {
        Ok(answer) => Ok(answer.into_inner().info.map(|info| info.size.max(0) as u64)),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(failed(format!("looking for blob {digest}"))(status)),
    }
}

/// A whole blob; for manifests and configurations.
pub(crate) async fn read(connection: &Connection, digest: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut stream = open(connection, digest).await?;
    while let Some(part) = stream
        .message()
        .await
        .map_err(failed(format!("reading blob {digest}")))?
    {
        bytes.extend_from_slice(&part.data);
        if bytes.len() as u64 > SMALL_BLOB_LIMIT {
            return Err(Error::other(
                format!("reading blob {digest}"),
                "it is too large for a manifest",
            ));
        }
    }
    Ok(bytes)
}

/// A blob part by part.
pub(crate) async fn open(
    connection: &Connection,
    digest: &str,
) -> Result<Streaming<api::ReadContentResponse>> {
    let request = api::ReadContentRequest {
        digest: digest.to_owned(),
        ..Default::default()
    };
    let answer = connection.content().read(request).await;
    answer
        .map(tonic::Response::into_inner)
        .map_err(failed(format!("reading blob {digest}")))
}

/// Sets labels of a blob, leaving its others.
pub(crate) async fn label(
    connection: &Connection,
    digest: &str,
    labels: HashMap<String, String>,
) -> Result<()> {
    if labels.is_empty() {
        return Ok(());
    }
    let paths = labels.keys().map(|key| format!("labels.{key}")).collect();
    let request = api::UpdateRequest {
        info: Some(api::Info {
            digest: digest.to_owned(),
            labels,
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask { paths }),
    };
    let answer = connection.content().update(request).await;
    answer
        .map(drop)
        .map_err(failed(format!("labelling blob {digest}")))
}

/// Labels that keep what a manifest or index names.
pub(crate) fn reference_labels<'a>(
    children: impl Iterator<Item = &'a Descriptor>,
) -> HashMap<String, String> {
    children
        .enumerate()
        .map(|(number, child)| {
            (
                format!("containerd.io/gc.ref.content.{number}"),
                child.digest.clone(),
            )
        })
        .collect()
}

/// Writes a whole blob under its digest; fine if it is there.
pub(crate) async fn write(lease: &Lease, descriptor: &Descriptor, bytes: &[u8]) -> Result<()> {
    match Writer::begin(lease, &descriptor.digest, &descriptor.digest, descriptor.size).await? {
        None => lease.keep(&descriptor.digest).await,
        Some(mut writer) => {
            writer.restart().await?;
            for chunk in bytes.chunks(CHUNK_BYTES) {
                writer.write(chunk.to_vec()).await?;
            }
            writer.commit(&descriptor.digest).await
        }
    }
}

/// A blob being written.
pub(crate) struct Writer {
    requests: mpsc::Sender<WriteContentRequest>,
    answers: Streaming<WriteContentResponse>,
    reference: String,
    /// Its digest, when known before.
    expected: String,
    total: u64,
    /// Bytes written so far, also by an earlier attempt.
    pub(crate) offset: u64,
}

impl Writer {
    /// Begins, or goes on where an earlier attempt with the same reference stopped. `expected` may
    /// be empty. `None`: the blob is there.
    ///
    /// All bytes may be there at once: an earlier attempt got as far as that, or another namespace of
    /// this containerd has the blob and shares it. Then it only has to be committed; written to, it would
    /// be another's bytes with ours behind them.
    pub(crate) async fn begin(
        lease: &Lease,
        reference: &str,
        expected: &str,
        total: u64,
    ) -> Result<Option<Self>> {
        let begun = Self::open(lease, reference, expected, total).await?;
        let writer = match begun {
            Some(writer) if writer.is_whole() => writer,
            other => return Ok(other),
        };
        if writer.commit(expected).await.is_ok() {
            return Ok(None);
        }
        // Not the bytes that they should be.
        abort(&lease.connection, reference).await;
        Self::open(lease, reference, expected, total).await
    }

    fn is_whole(&self) -> bool {
        !self.expected.is_empty() && self.total > 0 && self.offset == self.total
    }

    async fn open(lease: &Lease, reference: &str, expected: &str, total: u64) -> Result<Option<Self>> {
        let (requests, mut receiver) = mpsc::channel::<WriteContentRequest>(2);
        let reference = format!("kobune-{reference}");
        let first = WriteContentRequest {
            action: WriteAction::Stat.into(),
            r#ref: reference.clone(),
            total: total as i64,
            expected: expected.to_owned(),
            ..Default::default()
        };
        // The answer's headers come with the answer to the first request: it must be there before.
        let _ = requests.try_send(first);
        let stream = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context));
        let doing = || format!("writing blob {expected}");
        let answers = match lease.connection.content().write(stream).await {
            Ok(answers) => answers.into_inner(),
            Err(status) if status.code() == Code::AlreadyExists => return Ok(None),
            Err(status) => return Err(failed(doing())(status)),
        };
        let expected = expected.to_owned();
        let mut writer = Self {
            requests,
            answers,
            reference,
            expected,
            total,
            offset: 0,
        };
        match writer.answers.message().await {
            Ok(Some(answer)) => writer.offset = answer.offset.max(0) as u64,
            Ok(None) => return Err(Error::other(doing(), "containerd ended the stream")),
            Err(status) if status.code() == Code::AlreadyExists => return Ok(None),
            Err(status) => return Err(failed(doing())(status)),
        }
        Ok(Some(writer))
    }

    async fn ask(
        &mut self,
        action: WriteAction,
        data: Vec<u8>,
    ) -> Result<WriteContentResponse, tonic::Status> {
        let request = WriteContentRequest {
            action: action.into(),
            r#ref: self.reference.clone(),
            total: self.total as i64,
            expected: self.expected.clone(),
            offset: self.offset as i64,
            data,
            ..Default::default()
        };
        let _ = self.requests.send(request).await;
        let answer = self.answers.message().await?;
        answer.ok_or_else(|| tonic::Status::unavailable("containerd ended the stream"))
    }

    /// Throws away what an earlier attempt wrote.
    pub(crate) async fn restart(&mut self) -> Result<()> {
        if self.offset > 0 {
            self.offset = 0;
            let answer = self.ask(WriteAction::Write, Vec::new()).await;
            answer.map_err(failed(format!("writing blob {} anew", self.expected)))?;
        }
        Ok(())
    }

    /// Appends; at most [`CHUNK_BYTES`].
    pub(crate) async fn write(&mut self, data: Vec<u8>) -> Result<()> {
        let length = data.len() as u64;
        self.ask(WriteAction::Write, data)
            .await
            .map_err(failed(format!("writing blob {}", self.expected)))?;
        self.offset += length;
        Ok(())
    }

    /// Makes the blob appear, if its bytes are those of the digest.
    pub(crate) async fn commit(mut self, digest: &str) -> Result<()> {
        self.total = self.offset;
        self.expected = digest.to_owned();
        self.ask(WriteAction::Commit, Vec::new())
            .await
            .or_exists()
            .map_err(failed(format!("committing blob {digest}")))
    }
}

/// Throws away a begun blob.
pub(crate) async fn abort(connection: &Connection, reference: &str) {
    let request = api::AbortRequest {
        r#ref: format!("kobune-{reference}"),
    };
    let _ = connection.content().abort(request).await;
}
