//! Images from a tar: an OCI layout or what `docker save` writes. Layers go to the content store as
//! they pass by; only small JSON files are kept in memory.

use std::collections::HashMap;

use futures_util::future;
use kobune_runtime::{Error, Result};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::io::AsyncRead;
use tokio::sync::mpsc;

use super::config::{digest, format_digest};
use super::content::{self, Lease, Writer};
use super::manifest::{Descriptor, Index, Manifest, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST};
use super::records::Images;
use super::reference::Reference;
use super::tar_entries::{self, Part};

/// Files named `*.json` up to this size are kept in memory.
const JSON_LIMIT: u64 = 8 << 20;
/// What lists the images of an archive.
const LISTINGS: [&str; 4] = ["index.json", "manifest.json", "oci-layout", "repositories"];
const NAME: &str = "io.containerd.image.name";
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// One image of docker's `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// What was in the archive.
#[derive(Default)]
struct Contents {
    json: HashMap<String, Vec<u8>>,
    /// Path to blob, for what is stored.
    blobs: HashMap<String, Descriptor>,
    links: HashMap<String, String>,
}

impl Images {
    pub(crate) async fn import(&self, tar: &mut (dyn AsyncRead + Send + Unpin)) -> Result<Vec<String>> {
        let lease = Lease::begin(&self.connection).await?;
        let names = self.import_under(&lease, tar).await;
        lease.end(names.is_err()).await;
        names
    }

    async fn import_under(
        &self,
        lease: &Lease,
        tar: &mut (dyn AsyncRead + Send + Unpin),
    ) -> Result<Vec<String>> {
        let (parts, receiver) = mpsc::channel(4);
        let (read, stored) = future::join(tar_entries::read(tar, parts), store(lease, receiver)).await;
        let contents = stored?;
        read?;
        let targets = self.targets(lease, &contents).await?;
        if targets.is_empty() {
            return Err(Error::Config {
                message: "the archive has no image in it (neither index.json nor manifest.json)".into(),
            });
        }
        let mut names = Vec::new();
        for (name, target) in targets {
            // A layout may hold images for other machines only.
            match self.complete(lease, &target).await {
                Ok(()) => {}
                Err(Error::NotFound { what }) => {
                    tracing::info!(image = name, what, "left out of the import");
                    continue;
                }
                Err(error) => return Err(error),
            }
            self.name(&name, &target).await?;
            names.push(name);
        }
        if names.is_empty() {
            return Err(Error::Config {
                message: "the archive has no image for this platform in it".into(),
            });
        }
        Ok(names)
    }

    /// Unpacks an image whose blobs are here, and ties them together for garbage collection.
    async fn complete(&self, lease: &Lease, target: &Descriptor) -> Result<()> {
        let resolved = self.resolve(target).await?;
        let layers = resolved.manifest.layers.iter().map(|_| future::ready(Ok(())));
        self.unpack(lease, &resolved, layers, &|_| {}).await?;
        self.tie(target, &resolved).await
    }

    /// Each image's name and what it names.
    async fn targets(&self, lease: &Lease, contents: &Contents) -> Result<Vec<(String, Descriptor)>> {
        let mut targets = Vec::new();
        if let Some(text) = contents.json.get("index.json") {
            let index: Index =
                serde_json::from_slice(text).map_err(|error| Error::other("reading index.json", error))?;
            targets.extend(
                index
                    .manifests
                    .into_iter()
                    .filter_map(|entry| Some((name_of(&entry)?, entry))),
            );
        }
        // Docker's file names what the index has no names for.
        if let (true, Some(text)) = (targets.is_empty(), contents.json.get("manifest.json")) {
            let saved: Vec<Saved> =
                serde_json::from_slice(text).map_err(|error| Error::other("reading manifest.json", error))?;
            for image in saved {
                let target = contents.assemble(lease, &image).await?;
                for tag in image.repo_tags.unwrap_or_default() {
                    targets.push((Reference::parse(&tag)?.to_string(), target.clone()));
                }
            }
        }
        Ok(targets)
    }
}

/// The name an index gives an entry; `None` if it is only a tag, or not for a whole image.
fn name_of(entry: &Descriptor) -> Option<String> {
    if !entry.is_index() && !entry.is_manifest() {
        return None;
    }
    let name = entry.annotations.get(NAME).or_else(|| {
        entry
            .annotations
            .get(REF_NAME)
            .filter(|name| name.contains([':', '/', '@']))
    })?;
    Reference::parse(name).ok().map(|reference| reference.to_string())
}

impl Contents {
    fn blob(&self, path: &str) -> Result<&Descriptor> {
        let path = self.links.get(path).map_or(path, String::as_str);
        self.blobs.get(path).ok_or_else(|| Error::Config {
            message: format!("the archive names {path}, which is not in it"),
        })
    }

    /// Writes the manifest that docker's archives lack.
    async fn assemble(&self, lease: &Lease, image: &Saved) -> Result<Descriptor> {
        let mut config = self.blob(&image.config)?.clone();
        config.media_type = OCI_CONFIG.into();
        let layers = image
            .layers
            .iter()
            .map(|path| self.blob(path).cloned())
            .collect::<Result<Vec<_>>>()?;
        let manifest = Manifest {
            schema_version: 2,
            media_type: OCI_MANIFEST.into(),
            config,
            layers,
        };
        let bytes =
            serde_json::to_vec(&manifest).map_err(|error| Error::other("making a manifest", error))?;
        let target = Descriptor {
            media_type: manifest.media_type,
            digest: digest(&bytes),
            size: bytes.len() as u64,
            ..Default::default()
        };
        content::write(lease, &target, &bytes).await?;
        Ok(target)
    }
}

/// Takes in all parts: blobs into the content store, JSON also into memory.
async fn store(lease: &Lease, mut parts: mpsc::Receiver<Part>) -> Result<Contents> {
    let mut contents = Contents::default();
    while let Some(part) = parts.recv().await {
        match part {
            Part::File { path, size } => store_file(lease, &mut parts, &mut contents, path, size).await?,
            Part::Link { path, target } => drop(contents.links.insert(path, target)),
            Part::Failed(error) => return Err(Error::other("reading the archive", error)),
            Part::Data(_) | Part::End => {}
        }
    }
    Ok(contents)
}

async fn store_file(
    lease: &Lease,
    parts: &mut mpsc::Receiver<Part>,
    contents: &mut Contents,
    path: String,
    size: u64,
) -> Result<()> {
    let mut file = Incoming::new(path, size);
    let reference = file.reference.clone();
    let stored = async {
        while let Some(data) = next_data(parts).await? {
            file.take(lease, data).await?;
        }
        file.finish(lease, contents).await
    };
    let stored = stored.await;
    if stored.is_err() {
        // What has arrived is of no use: it must not take room until somebody looks.
        content::abort(&lease.connection, &reference).await;
    }
    stored
}

/// More of a file; `None` at its end.
async fn next_data(parts: &mut mpsc::Receiver<Part>) -> Result<Option<Vec<u8>>> {
    let doing = "reading the archive";
    match parts.recv().await {
        Some(Part::Data(data)) => Ok(Some(data)),
        Some(Part::End) => Ok(None),
        Some(Part::Failed(error)) => Err(Error::other(doing, error)),
        _ => Err(Error::other(doing, "it ends in the middle of a file")),
    }
}

/// A file of the archive on its way into the content store.
struct Incoming {
    path: String,
    size: u64,
    /// Lists the images, and is no part of them.
    listing: bool,
    /// The digest its name promises; empty without one.
    expected: String,
    /// What it is called in the content store until it is complete.
    reference: String,
    writer: Option<Writer>,
    /// Docker's archives do not name blobs by their digest.
    hash: Option<Sha256>,
    /// The content, of small JSON.
    kept: Option<Vec<u8>>,
    /// Of the first bytes; `None` as long as there are none.
    media_type: Option<&'static str>,
}

impl Incoming {
    fn new(path: String, size: u64) -> Self {
        let expected = path
            .strip_prefix("blobs/sha256/")
            .map(|hex| format!("sha256:{hex}"))
            .unwrap_or_default();
        Self {
            listing: LISTINGS.contains(&path.as_str()),
            reference: format!("import-{}", uuid::Uuid::new_v4().simple()),
            writer: None,
            hash: expected.is_empty().then(Sha256::new),
            kept: (path.ends_with(".json") && size <= JSON_LIMIT).then(Vec::new),
            media_type: None,
            expected,
            path,
            size,
        }
    }

    async fn take(&mut self, lease: &Lease, data: Vec<u8>) -> Result<()> {
        if self.media_type.is_none() {
            self.media_type = Some(layer_type(&data));
            if !self.listing {
                self.writer = Writer::begin(lease, &self.reference, &self.expected, self.size).await?;
            }
        }
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(&data);
        }
        if let Some(hash) = &mut self.hash {
            hash.update(&data);
        }
        match &mut self.writer {
            Some(writer) => writer.write(data).await,
            None => Ok(()),
        }
    }

    async fn finish(self, lease: &Lease, contents: &mut Contents) -> Result<()> {
        let Some(media_type) = self.media_type else {
            return Ok(());
        };
        if self.listing {
            contents.json.insert(self.path, self.kept.unwrap_or_default());
            return Ok(());
        }
        let digest = self
            .hash
            .map_or(self.expected, |hash| format_digest(&hash.finalize()));
        if let Some(writer) = self.writer {
            writer.commit(&digest).await?;
        }
        lease.keep(&digest).await?;
        if let Some(kept) = self.kept {
            contents.json.insert(self.path.clone(), kept);
        }
        let blob = Descriptor {
            media_type: media_type.into(),
            digest,
            size: self.size,
            ..Default::default()
        };
        contents.blobs.insert(self.path, blob);
        Ok(())
    }
}

/// By its first bytes, as archives do not say how a layer is compressed.
fn layer_type(data: &[u8]) -> &'static str {
    match data {
        [0x1f, 0x8b, ..] => "application/vnd.oci.image.layer.v1.tar+gzip",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "application/vnd.oci.image.layer.v1.tar+zstd",
        _ => OCI_LAYER,
    }
}
