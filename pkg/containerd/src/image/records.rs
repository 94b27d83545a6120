//! The images of this node: containerd's image records, and what their content says.
//!
//! A record is a name (`docker.io/library/nginx:latest`) and the digest of an index or manifest. An
//! *image* in the kubelet's sense is a configuration: several records may name the same.

use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use containerd_client::services::v1 as api;
use containerd_client::services::v1::snapshots as snapshot_api;
use containerd_client::types::Mount;
use jiff::Timestamp;
use kobune_runtime::{Error, FilesystemUsage, Image, Result};
use tonic::Code;

use super::config::ImageConfig;
use super::content;
use super::manifest::{Descriptor, Index, Manifest};
use super::pull::Pulls;
use super::reference::Reference;
use super::unpack::Unpacker;
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
    snapshotter: String,
    /// The snapshotter's folder.
    root: PathBuf,
    pub(crate) registries: Option<PathBuf>,
    pub(crate) pulls: Pulls,
    resolved: Mutex<HashMap<String, Arc<Resolved>>>,
    accounts: Mutex<HashMap<String, Arc<Accounts>>>,
    last_used: Mutex<HashMap<String, Timestamp>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poison| poison.into_inner())
}

impl Images {
    /// Looks for the snapshotter; takes `native` if the wanted one does not work here.
    pub(crate) async fn open(
        connection: Connection,
        snapshotter: &str,
        registries: Option<PathBuf>,
    ) -> Result<Self> {
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
            registries,
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

    /// Bytes of all snapshots and blobs, and the file system they are on.
    pub(crate) async fn usage(&self) -> Result<FilesystemUsage> {
        let mut used = 0;
        let request = snapshot_api::ListSnapshotsRequest {
            snapshotter: self.snapshotter.clone(),
            ..Default::default()
        };
        let doing = "listing snapshots";
        let mut stream = self
            .connection
            .snapshots()
            .list(request)
            .await
            .map_err(failed(doing))?
            .into_inner();
        while let Some(page) = stream.message().await.map_err(failed(doing))? {
            for snapshot in page.info {
                used += self.snapshot_size(&snapshot.name).await.unwrap_or(0);
            }
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

/// The folders a snapshot is made of, the highest first.
fn layer_folders(mounts: &[Mount]) -> Vec<PathBuf> {
    let Some(mount) = mounts.first() else {
        return Vec::new();
    };
    match mount.r#type.as_str() {
        "overlay" => {
            let option = |name: &str| mount.options.iter().find_map(|option| option.strip_prefix(name));
            let upper = option("upperdir=").into_iter();
            let lower = option("lowerdir=").into_iter().flat_map(|list| list.split(':'));
            upper.chain(lower).map(PathBuf::from).collect()
        }
        _ => vec![PathBuf::from(&mount.source)],
    }
}

/// Reads a file of an image without following any link out of it. What is not a plain file, not
/// there or absurdly large is nothing.
fn read_inside(root: &Path, path: &str) -> Option<String> {
    use std::io::Read;
    const LIMIT: u64 = 4 << 20;
    let folder = std::fs::File::open(root).ok()?;
    let name = std::ffi::CString::new(path).ok()?;
    // SAFETY: open_how is plain data; all zeroes is valid.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK) as u64;
    how.resolve = libc::RESOLVE_IN_ROOT;
    // SAFETY: the name ends in NUL, `how` has the size that is given, the folder is open.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_openat2,
            folder.as_raw_fd(),
            name.as_ptr(),
            &how,
            std::mem::size_of_val(&how),
        )
    };
    if fd < 0 {
        return None;
    }
    // SAFETY: the descriptor is new and ours alone.
    let file = std::fs::File::from(unsafe { OwnedFd::from_raw_fd(fd as i32) });
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(LIMIT).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_in_an_image_does_not_lead_out_of_it() {
        let image = tempfile::tempdir().unwrap();
        std::fs::create_dir(image.path().join("etc")).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", image.path().join("etc/passwd")).unwrap();
        assert_eq!(read_inside(image.path(), "etc/passwd"), None);
        std::fs::write(image.path().join("etc/hostname"), "inside").unwrap();
        assert_eq!(read_inside(image.path(), "etc/passwd").as_deref(), Some("inside"));
    }

    #[test]
    fn the_layers_of_an_overlay_are_read_from_the_top() {
        let mount = Mount {
            r#type: "overlay".into(),
            options: vec!["lowerdir=/b:/c".into(), "upperdir=/a".into()],
            ..Default::default()
        };
        assert_eq!(
            layer_folders(&[mount]),
            [Path::new("/a"), Path::new("/b"), Path::new("/c")]
        );
    }
}
