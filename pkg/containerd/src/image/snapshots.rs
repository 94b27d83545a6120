//! What is asked of the snapshots of images and containers: their files, their mounts, their sizes.

use std::collections::HashMap;
use std::sync::Arc;

use containerd_client::services::v1 as api;
use containerd_client::services::v1::snapshots as snapshot_api;
use containerd_client::types::Mount;
use jiff::Timestamp;
use kobune_runtime::{Error, FilesystemUsage, Result};

use super::layers::{layer_folders, read_inside};
use super::records::{Images, LocalImage, lock};
use crate::connection::failed;
use crate::spec::users::Accounts;

impl Images {
    /// The image's accounts; read once from its files.
    pub(crate) async fn accounts(&self, image: &LocalImage) -> Result<Arc<Accounts>> {
        if let Some(accounts) = lock(&self.accounts).get(&image.chain_id) {
            return Ok(Arc::clone(accounts));
        }
        let key = format!("accounts-{}", uuid::Uuid::new_v4().simple());
        let doing = || format!("reading the users of image {}", image.name);
        let request = snapshot_api::ViewSnapshotRequest {
            snapshotter: self.snapshotter.clone(),
            key: key.clone(),
            parent: image.chain_id.clone(),
            labels: HashMap::from([("containerd.io/gc.root".to_owned(), Timestamp::now().to_string())]),
        };
        let answer = self
            .connection
            .snapshots()
            .view(request)
            .await
            .map_err(failed(doing()))?;
        let layers = layer_folders(&answer.into_inner().mounts);
        let file = |path: &str| {
            layers
                .iter()
                .find_map(|layer| read_inside(layer, path))
                .unwrap_or_default()
        };
        let accounts = Arc::new(Accounts {
            passwd: file("etc/passwd"),
            group: file("etc/group"),
        });
        let request = snapshot_api::RemoveSnapshotRequest {
            snapshotter: self.snapshotter.clone(),
            key,
        };
        let _ = self.connection.snapshots().remove(request).await;
        lock(&self.accounts).insert(image.chain_id.clone(), Arc::clone(&accounts));
        Ok(accounts)
    }

    /// The mounts of a container's snapshot.
    pub(crate) async fn mounts(&self, key: &str) -> Result<Vec<Mount>> {
        let request = snapshot_api::MountsRequest {
            snapshotter: self.snapshotter.clone(),
            key: key.to_owned(),
        };
        let answer = self.connection.snapshots().mounts(request).await;
        Ok(answer
            .map_err(failed("looking for a container's snapshot"))?
            .into_inner()
            .mounts)
    }

    /// Bytes of a snapshot alone.
    pub(crate) async fn snapshot_size(&self, key: &str) -> Result<u64> {
        let request = snapshot_api::UsageRequest {
            snapshotter: self.snapshotter.clone(),
            key: key.to_owned(),
        };
        let answer = self.connection.snapshots().usage(request).await;
        Ok(answer
            .map_err(failed("measuring a snapshot"))?
            .into_inner()
            .size
            .max(0) as u64)
    }

    /// The snapshots that pass one of containerd's filters; without any, all.
    pub(crate) async fn list_snapshots(&self, filters: Vec<String>) -> Result<Vec<snapshot_api::Info>> {
        let request = snapshot_api::ListSnapshotsRequest {
            snapshotter: self.snapshotter.clone(),
            filters,
        };
        let doing = "listing snapshots";
        let listed = self.connection.snapshots().list(request).await;
        let mut pages = listed.map_err(failed(doing))?.into_inner();
        let mut snapshots = Vec::new();
        while let Some(page) = pages.message().await.map_err(failed(doing))? {
            snapshots.extend(page.info);
        }
        Ok(snapshots)
    }

    /// Bytes of all snapshots and blobs, and the file system they are on.
    pub(crate) async fn usage(&self) -> Result<FilesystemUsage> {
        let mut used = 0;
        for snapshot in self.list_snapshots(Vec::new()).await? {
            used += self.snapshot_size(&snapshot.name).await.unwrap_or(0);
        }
        let doing = "listing blobs";
        let blobs = self
            .connection
            .content()
            .list(api::ListContentRequest::default())
            .await;
        let mut blobs = blobs.map_err(failed(doing))?.into_inner();
        while let Some(page) = blobs.message().await.map_err(failed(doing))? {
            used += page.info.iter().map(|blob| blob.size.max(0) as u64).sum::<u64>();
        }
        let stat = nix::sys::statvfs::statvfs(&self.root)
            .map_err(|error| Error::other(format!("measuring {}", self.root.display()), error))?;
        Ok(FilesystemUsage {
            path: self.root.clone(),
            used,
            capacity: stat.blocks() * stat.fragment_size(),
            available: stat.blocks_available() * stat.fragment_size(),
        })
    }
}
