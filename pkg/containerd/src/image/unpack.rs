//! From layers to snapshots: each layer is applied on the one below and committed under its chain id.

use std::collections::HashMap;

use containerd_client::services::v1 as api;
use containerd_client::services::v1::snapshots as snapshot_api;
use kobune_runtime::{Error, Result};
use tonic::Code;

use super::manifest::Descriptor;
use crate::connection::{Connection, Idempotent, failed};

/// Where layers go.
pub(crate) struct Unpacker<'a> {
    /// Under a lease.
    pub(crate) connection: &'a Connection,
    pub(crate) snapshotter: &'a str,
}

/// One layer.
pub(crate) struct Layer<'a> {
    pub(crate) blob: &'a Descriptor,
    /// Digest of its unpacked tar.
    pub(crate) diff_id: &'a str,
    /// Chain id of the layer below; empty for the lowest.
    pub(crate) parent: &'a str,
    pub(crate) chain_id: &'a str,
}

impl Unpacker<'_> {
    /// True when the snapshot of this chain id is committed.
    pub(crate) async fn is_there(&self, chain_id: &str) -> Result<bool> {
        let request = snapshot_api::StatSnapshotRequest {
            snapshotter: self.snapshotter.to_owned(),
            key: chain_id.to_owned(),
        };
        match self.connection.snapshots().stat(request).await {
            Ok(_) => Ok(true),
            Err(status) if status.code() == Code::NotFound => Ok(false),
            Err(status) => Err(failed(format!("looking for snapshot {chain_id}"))(status)),
        }
    }

    /// Applies one layer; the one below must be there.
    pub(crate) async fn apply(&self, layer: &Layer<'_>) -> Result<()> {
        if self.is_there(layer.chain_id).await? {
            return Ok(());
        }
        let key = format!("extract-{} {}", uuid::Uuid::new_v4().simple(), layer.chain_id);
        let applied = self.apply_to(&key, layer).await;
        if applied.is_err() {
            let request = snapshot_api::RemoveSnapshotRequest {
                snapshotter: self.snapshotter.to_owned(),
                key,
            };
            let _ = self.connection.snapshots().remove(request).await;
        }
        applied
    }

    async fn apply_to(&self, key: &str, layer: &Layer<'_>) -> Result<()> {
        let doing = || format!("unpacking layer {}", layer.blob.digest);
        let request = snapshot_api::PrepareSnapshotRequest {
            snapshotter: self.snapshotter.to_owned(),
            key: key.to_owned(),
            parent: layer.parent.to_owned(),
            labels: HashMap::new(),
        };
        let mut snapshots = self.connection.snapshots();
        let mounts = snapshots
            .prepare(request)
            .await
            .map_err(failed(doing()))?
            .into_inner()
            .mounts;
        let request = api::ApplyRequest {
            diff: Some(layer.blob.to_api()),
            mounts,
            ..Default::default()
        };
        let applied = self
            .connection
            .diff()
            .apply(request)
            .await
            .map_err(failed(doing()))?;
        let digest = applied.into_inner().applied.unwrap_or_default().digest;
        if digest != layer.diff_id {
            let message = format!("its content is {digest}, not {} as the image says", layer.diff_id);
            return Err(Error::other(doing(), message));
        }
        let request = snapshot_api::CommitSnapshotRequest {
            snapshotter: self.snapshotter.to_owned(),
            name: layer.chain_id.to_owned(),
            key: key.to_owned(),
            labels: HashMap::new(),
        };
        snapshots
            .commit(request)
            .await
            .or_exists()
            .map_err(failed(doing()))
    }
}
