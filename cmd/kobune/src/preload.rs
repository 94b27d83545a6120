//! Image tars in `{data-dir}/agent/images` are there before the first pod is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};
use kobune_runtime::Runtime;
use serde::{Deserialize, Serialize};

/// What a file held when it was imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Imported {
    bytes: u64,
    modified_ns: u128,
    images: Vec<String>,
}

type Record = BTreeMap<PathBuf, Imported>;

/// Imports every tar that is new, has changed, or whose images are no longer all here. A tar that
/// cannot be read is told and passed over.
pub async fn import(folder: &Path, record_path: &Path, runtime: &dyn Runtime) {
    let record: Record = std::fs::read(record_path)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    let mut now = Record::new();
    for path in tars(folder) {
        let present = match record.get(&path) {
            Some(known) if is_unchanged(&path, known) && has_all(runtime, &known.images).await => {
                Ok(known.clone())
            }
            _ => import_one(&path, runtime).await,
        };
        match present {
            Ok(imported) => drop(now.insert(path, imported)),
            Err(error) => {
                tracing::warn!(file = %path.display(), error = format!("{error:#}"), "an image tar was not imported")
            }
        }
    }
    if now != record
        && let Err(error) = write(record_path, &now)
    {
        tracing::warn!(
            error = format!("{error:#}"),
            "what was imported could not be noted; it is imported again next time"
        );
    }
}

fn tars(folder: &Path) -> Vec<PathBuf> {
    const ENDINGS: [&str; 5] = [".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst"];
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut tars: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| {
            ENDINGS
                .iter()
                .any(|ending| path.to_string_lossy().ends_with(ending))
        })
        .collect();
    tars.sort();
    tars
}

/// Length in bytes, and time of the last change in nanoseconds since 1970.
fn stamp(path: &Path) -> Result<(u64, u128)> {
    let file = std::fs::metadata(path).context("looking at it")?;
    let modified = file.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok((file.len(), modified.as_nanos()))
}

fn is_unchanged(path: &Path, known: &Imported) -> bool {
    stamp(path).is_ok_and(|now| now == (known.bytes, known.modified_ns))
}

async fn has_all(runtime: &dyn Runtime, images: &[String]) -> bool {
    for image in images {
        if !matches!(runtime.image(image).await, Ok(Some(_))) {
            return false;
        }
    }
    true
}

async fn import_one(path: &Path, runtime: &dyn Runtime) -> Result<Imported> {
    let (bytes, modified_ns) = stamp(path)?;
    let mut tar = tokio::fs::File::open(path).await.context("opening it")?;
    let images = runtime.import_images(&mut tar).await?;
    tracing::info!(file = %path.display(), images = images.join(" "), "imported");
    Ok(Imported {
        bytes,
        modified_ns,
        images,
    })
}

fn write(path: &Path, record: &Record) -> Result<()> {
    let bytes = serde_json::to_vec(record)?;
    kobune_pki::write_private(path, &bytes, 0o600)?;
    Ok(())
}
