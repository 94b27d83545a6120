//! Images as an OCI layout in a tar, streamed from the content store.

use std::collections::HashSet;

use kobune_runtime::{Error, Result};
use serde_json::json;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::content;
use super::manifest::{Descriptor, Index, OCI_INDEX};
use super::records::{Images, LocalImage};
use super::reference::Reference;

type Output<'a> = &'a mut (dyn AsyncWrite + Send + Unpin);

impl Images {
    pub(crate) async fn export(&self, references: &[String], to: Output<'_>) -> Result<()> {
        let mut images = Vec::new();
        for reference in references {
            let image = self.find(reference).await?;
            images.push(image.ok_or_else(|| Error::NotFound {
                what: format!("image {reference}"),
            })?);
        }
        write_small(
            to,
            "oci-layout",
            json!({ "imageLayoutVersion": "1.0.0" }).to_string().as_bytes(),
        )
        .await?;
        let index = Index {
            schema_version: 2,
            media_type: OCI_INDEX.into(),
            manifests: images.iter().map(entry).collect(),
        };
        let index = serde_json::to_vec(&index).map_err(|error| Error::other("making index.json", error))?;
        write_small(to, "index.json", &index).await?;
        let mut written = HashSet::new();
        for image in &images {
            let manifest = &image.manifest;
            for blob in [&image.manifest_blob, &manifest.config]
                .into_iter()
                .chain(&manifest.layers)
            {
                if written.insert(blob.digest.clone()) {
                    self.write_blob(to, blob).await?;
                }
            }
        }
        // A tar ends with two empty blocks.
        to.write_all(&[0; 1024]).await.map_err(writing)?;
        to.flush().await.map_err(writing)
    }

    async fn write_blob(&self, to: Output<'_>, blob: &Descriptor) -> Result<()> {
        let path = format!("blobs/{}", blob.digest.replacen(':', "/", 1));
        to.write_all(&header(&path, blob.size)?).await.map_err(writing)?;
        let mut stream = content::open(&self.connection, &blob.digest).await?;
        let mut written = 0;
        let doing = || format!("reading blob {}", blob.digest);
        while let Some(part) = stream
            .message()
            .await
            .map_err(crate::connection::failed(doing()))?
        {
            to.write_all(&part.data).await.map_err(writing)?;
            written += part.data.len() as u64;
        }
        if written != blob.size {
            return Err(Error::other(
                doing(),
                format!("it has {written} bytes instead of {}", blob.size),
            ));
        }
        to.write_all(&padding(written)).await.map_err(writing)
    }
}

/// Only this platform's manifest is here, also when the record names an index.
fn entry(image: &LocalImage) -> Descriptor {
    let mut entry = Descriptor {
        platform: None,
        ..image.manifest_blob.clone()
    };
    entry
        .annotations
        .insert("io.containerd.image.name".into(), image.name.clone());
    if let Some(tag) = Reference::parse(&image.name).ok().and_then(|name| name.tag) {
        entry
            .annotations
            .insert("org.opencontainers.image.ref.name".into(), tag);
    }
    entry
}

fn writing(error: std::io::Error) -> Error {
    Error::other("writing the archive", error)
}

fn header(path: &str, size: u64) -> Result<Vec<u8>> {
    let mut header = tar::Header::new_gnu();
    header.set_path(path).map_err(writing)?;
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    Ok(header.as_bytes().to_vec())
}

fn padding(size: u64) -> Vec<u8> {
    vec![0; (512 - size % 512) as usize % 512]
}

async fn write_small(to: Output<'_>, path: &str, bytes: &[u8]) -> Result<()> {
    to.write_all(&header(path, bytes.len() as u64)?)
        .await
        .map_err(writing)?;
    to.write_all(bytes).await.map_err(writing)?;
    to.write_all(&padding(bytes.len() as u64)).await.map_err(writing)
}
