//! The images of this node: containerd's image records, and what their content says.
//!
//! A record is a name (`docker.io/library/nginx:latest`) and the digest of an index or manifest. An
//! *image* in the kubelet's sense is a configuration: several records may name the same.

use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use containerd_client::services::v1 as api;
use jiff::Timestamp;
use kobune_runtime::{Error, Image, Result};
use tonic::Code;

use super::config::ImageConfig;
use super::content;
use super::manifest::{Descriptor, Index, Manifest};
use super::pull::Pulls;
use super::reference::Reference;
use super::registry::Proxies;
use super::unpack::Unpacker;
use crate::Config;
use crate::connection::{Connection, Idempotent, failed};
use crate::spec::users::Accounts;

/// Set by who wants an image kept from garbage collection; containerd's own name.
const PINNED_LABEL: &str = "io.cri-containerd.pinned";

/// What the content behind a record says; never changes.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// Digest of the configuration.
    pub(crate) id: String,
    pub(crate) config: ImageConfig,
    /// Snapshot of all layers.
    pub(crate) chain_id: String,
    pub(crate) manifest: Manifest,
    /// Digest and size of the manifest for this platform.
    pub(crate) manifest_blob: Descriptor,
    /// Bytes of manifest, configuration and layers as they are stored.
    pub(crate) size: u64,
    unpacked: AtomicBool,
}

/// A record and what is behind it.
#[derive(Debug, Clone)]
pub(crate) struct LocalImage {
    pub(crate) name: String,
    pub(crate) target: Descriptor,
    pinned: bool,
    resolved: Arc<Resolved>,
}

impl Deref for LocalImage {
    type Target = Resolved;

    fn deref(&self) -> &Resolved {
        &self.resolved
    }
}

/// All images.
pub(crate) struct Images {
    pub(crate) connection: Connection,
    pub(super) snapshotter: String,
    /// The snapshotter's folder.
    pub(super) root: PathBuf,
    pub(crate) registries: Option<PathBuf>,
    pub(crate) proxies: Proxies,
    pub(crate) pulls: Pulls,
    resolved: Mutex<HashMap<String, Arc<Resolved>>>,
    /// By chain id.
    pub(super) accounts: Mutex<HashMap<String, Arc<Accounts>>>,
    last_used: Mutex<HashMap<String, Timestamp>>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poison| poison.into_inner())
}

impl Images {
    /// Looks for the snapshotter; takes `native` if the wanted one does not work here.
    pub(crate) async fn open(connection: Connection, config: &Config) -> Result<Self> {
        let snapshotter = config.snapshotter.as_str();
        let request = api::PluginsRequest {
            filters: vec!["type==io.containerd.snapshotter.v1".into()],
        };
        let answer = connection
            .introspection()
            .plugins(request)
            .await
            .map_err(failed("asking for snapshotters"))?;
        let plugins = answer.into_inner().plugins;
        let works = |id: &str| {
            plugins
                .iter()
                .find(|plugin| plugin.id == id && plugin.init_err.is_none())
        };
        let plugin = works(snapshotter).or_else(|| {
            tracing::warn!(
                snapshotter,
                "the snapshotter does not work on this machine: using `native`, which copies"
            );
            works("native")
        });
        let plugin = plugin.ok_or_else(|| Error::Unavailable {
            message: format!("containerd has no snapshotter {snapshotter:?}"),
        })?;
        let root = plugin
            .exports
            .get("root")
            .map_or_else(|| PathBuf::from("/var/lib/containerd"), PathBuf::from);
        Ok(Self {
            snapshotter: plugin.id.clone(),
            root,
            registries: config.registries.clone(),
            proxies: config.proxies.clone(),
            pulls: Pulls::default(),
            resolved: Mutex::default(),
            accounts: Mutex::default(),
            last_used: Mutex::default(),
            connection,
        })
    }

    pub(crate) fn snapshotter(&self) -> &str {
        &self.snapshotter
    }

    /// Something is run from this image now.
    pub(crate) fn used(&self, id: &str) {
        lock(&self.last_used).insert(id.to_owned(), Timestamp::now());
    }

    /// The image that a reference, a configuration's or a manifest's digest names, if it is complete.
    pub(crate) async fn find(&self, reference: &str) -> Result<Option<LocalImage>> {
        let found = match reference.starts_with("sha256:") {
            true => {
                self.find_by(|image| image.id == reference || image.target.digest == reference)
                    .await?
            }
            false => self.find_by_name(&Reference::parse(reference)?).await?,
        };
        match found {
            Some(image) if self.is_unpacked(&image).await? => Ok(Some(image)),
            _ => Ok(None),
        }
    }

    async fn find_by_name(&self, reference: &Reference) -> Result<Option<LocalImage>> {
        let request = api::GetImageRequest {
            name: reference.to_string(),
        };
        match self.connection.images().get(request).await {
            Ok(answer) => match answer.into_inner().image {
                Some(record) => self.resolve_record(record).await,
                None => Ok(None),
            },
            Err(status) if status.code() == Code::NotFound => {
                // A digest may be here under a tag.
                let Some(digest) = &reference.digest else {
                    return Ok(None);
                };
                let repository = reference.repository();
                let same = |image: &LocalImage| {
                    (&image.target.digest == digest || &image.manifest_blob.digest == digest)
                        && Reference::parse(&image.name).is_ok_and(|name| name.repository() == repository)
                };
                self.find_by(same).await
            }
            Err(status) => Err(failed(format!("looking for image {reference}"))(status)),
        }
    }

    async fn find_by(&self, wanted: impl Fn(&LocalImage) -> bool) -> Result<Option<LocalImage>> {
        Ok(self.records().await?.into_iter().find(wanted))
    }

    /// All records whose content is here.
    pub(crate) async fn records(&self) -> Result<Vec<LocalImage>> {
        let answer = self
            .connection
            .images()
            .list(api::ListImagesRequest::default())
            .await;
        let records = answer.map_err(failed("listing images"))?.into_inner().images;
        let mut images = Vec::with_capacity(records.len());
        for record in records {
            images.extend(self.resolve_record(record).await?);
        }
        Ok(images)
    }

    async fn resolve_record(&self, record: api::Image) -> Result<Option<LocalImage>> {
        let target = Descriptor::from_api(&record.target.unwrap_or_default());
        let cached = lock(&self.resolved).get(&target.digest).cloned();
        let resolved = match cached {
            Some(resolved) => resolved,
            None => match self.resolve(&target).await {
                Ok(resolved) => resolved,
                // Content that is missing or for other platforms: as if there were no such image.
                Err(Error::NotFound { .. }) => return Ok(None),
                Err(error @ Error::Unavailable { .. }) => return Err(error),
                Err(error) => {
                    tracing::warn!(image = record.name, %error, "an image cannot be read");
                    return Ok(None);
                }
            },
        };
        let pinned = record
            .labels
            .get(PINNED_LABEL)
            .is_some_and(|value| value == "pinned");
        Ok(Some(LocalImage {
            name: record.name,
            target,
            pinned,
            resolved,
        }))
    }

    /// Reads index, manifest and configuration behind a digest.
    pub(crate) async fn resolve(&self, target: &Descriptor) -> Result<Arc<Resolved>> {
        let (manifest_blob, manifest) = self.manifest(target).await?;
        let config = ImageConfig::parse(&content::read(&self.connection, &manifest.config.digest).await?)?;
        if config.diff_ids.len() != manifest.layers.len() {
            return Err(Error::other(
                "reading an image",
                "its manifest and configuration name different layers",
            ));
        }
        let blobs = manifest.layers.iter().map(|layer| layer.size).sum::<u64>();
        let resolved = Arc::new(Resolved {
            id: manifest.config.digest.clone(),
            chain_id: config.chain_ids().pop().unwrap_or_default(),
            size: manifest_blob.size + manifest.config.size + blobs,
            config,
            manifest,
            manifest_blob,
            unpacked: AtomicBool::new(false),
        });
        lock(&self.resolved).insert(target.digest.clone(), Arc::clone(&resolved));
        Ok(resolved)
    }

    /// Follows indexes to the manifest for this machine.
    async fn manifest(&self, target: &Descriptor) -> Result<(Descriptor, Manifest)> {
        let mut blob = target.clone();
        // An index in an index in an index is still sane; a circle is not.
        for _ in 0..4 {
            let bytes = content::read(&self.connection, &blob.digest).await?;
            if !blob.is_index() {
                let manifest = serde_json::from_slice(&bytes)
                    .map_err(|error| Error::other(format!("reading manifest {}", blob.digest), error))?;
                return Ok((blob, manifest));
            }
            let index: Index = serde_json::from_slice(&bytes)
                .map_err(|error| Error::other(format!("reading index {}", blob.digest), error))?;
            blob = index.for_this_machine().cloned().ok_or_else(|| Error::NotFound {
                what: format!("an image for this platform in {}", target.digest),
            })?;
        }
        Err(Error::other(
            format!("reading {}", target.digest),
            "indexes are nested too deep",
        ))
    }

    async fn is_unpacked(&self, image: &LocalImage) -> Result<bool> {
        if image.unpacked.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let unpacker = Unpacker {
            connection: &self.connection,
            snapshotter: &self.snapshotter,
        };
        let there = unpacker.is_there(&image.chain_id).await?;
        image.unpacked.store(there, Ordering::Relaxed);
        Ok(there)
    }

    /// Makes (or moves) a record.
    pub(crate) async fn name(&self, name: &str, target: &Descriptor) -> Result<()> {
        let image = api::Image {
            name: name.to_owned(),
            target: Some(target.to_api()),
            ..Default::default()
        };
        let mut images = self.connection.images();
        let request = api::CreateImageRequest {
            image: Some(image.clone()),
            ..Default::default()
        };
        match images.create(request).await {
            Err(status) if status.code() == Code::AlreadyExists => {
                let mask = prost_types::FieldMask {
                    paths: vec!["target".into()],
                };
                let request = api::UpdateImageRequest {
                    image: Some(image),
                    update_mask: Some(mask),
                    ..Default::default()
                };
                images
                    .update(request)
                    .await
                    .map(drop)
                    .map_err(failed(format!("renaming image {name}")))
            }
            answer => answer.map(drop).map_err(failed(format!("naming image {name}"))),
        }
    }

    /// As the kubelet sees it.
    pub(crate) async fn image(&self, reference: &str) -> Result<Option<Image>> {
        let Some(found) = self.find(reference).await? else {
            return Ok(None);
        };
        Ok(self.list().await?.into_iter().find(|image| image.id == found.id))
    }

    /// One entry for each configuration.
    pub(crate) async fn list(&self) -> Result<Vec<Image>> {
        let mut images: BTreeMap<String, Image> = BTreeMap::new();
        for local in self.records().await? {
            if !self.is_unpacked(&local).await? {
                continue;
            }
            let image = images.entry(local.id.clone()).or_insert_with(|| Image {
                id: local.id.clone(),
                size: local.size,
                user: local.config.user.clone(),
                last_used: lock(&self.last_used).get(&local.id).copied(),
                ..Default::default()
            });
            image.pinned |= local.pinned;
            let Ok(name) = Reference::parse(&local.name) else {
                continue;
            };
            let digest = name.with_digest(&local.target.digest);
            if !image.digests.contains(&digest) {
                image.digests.push(digest);
            }
            if name.digest.is_none() {
                image.tags.push(local.name);
            }
        }
        Ok(images.into_values().collect())
    }

    /// Removes one name, or with an id all names of it. The last one takes the bytes with it.
    pub(crate) async fn remove(&self, reference: &str) -> Result<()> {
        let records = self.records().await?;
        let doomed: Vec<&LocalImage> = if reference.starts_with("sha256:") {
            records
                .iter()
                .filter(|image| image.id == reference || image.target.digest == reference)
                .collect()
        } else {
            let wanted = Reference::parse(reference)?;
            let mut doomed: Vec<&LocalImage> = records
                .iter()
                .filter(|image| image.name == wanted.to_string())
                .collect();
            if let (None, Some(image)) = (&wanted.digest, doomed.first().copied()) {
                doomed.extend(orphaned_digest(&records, image, &wanted));
            }
            doomed
        };
        for (number, image) in doomed.iter().enumerate() {
            // Only the last one waits for the garbage collection.
            let sync = number + 1 == doomed.len();
            let request = api::DeleteImageRequest {
                name: image.name.clone(),
                sync,
                ..Default::default()
            };
            let answer = self.connection.images().delete(request).await;
            answer
                .or_gone()
                .map_err(failed(format!("removing image {}", image.name)))?;
        }
        for image in doomed {
            lock(&self.resolved).remove(&image.target.digest);
            lock(&self.accounts).remove(&image.chain_id);
        }
        Ok(())
    }
}

/// With a repository's last tag of a digest, the record of the digest itself goes too.
fn orphaned_digest<'a>(
    records: &'a [LocalImage],
    image: &LocalImage,
    wanted: &Reference,
) -> Vec<&'a LocalImage> {
    let same = |other: &&LocalImage| {
        other.target.digest == image.target.digest
            && other.name != image.name
            && Reference::parse(&other.name).is_ok_and(|name| name.repository() == wanted.repository())
    };
    let others: Vec<&LocalImage> = records.iter().filter(same).collect();
    match others.iter().all(|other| other.name.contains('@')) {
        true => others,
        false => Vec::new(),
    }
}
