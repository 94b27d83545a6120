//! An image's configuration: what runs in it, and which layers it is made of. Pure.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kobune_runtime::{Error, Result};
use serde::Deserialize;
use serde::de::IgnoredAny;
use sha2::{Digest, Sha256};

/// What of the configuration is used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ImageConfig {
    pub(crate) user: String,
    pub(crate) env: Vec<String>,
    pub(crate) entrypoint: Vec<String>,
    pub(crate) cmd: Vec<String>,
    pub(crate) working_dir: String,
    pub(crate) stop_signal: Option<String>,
    /// Paths that the image wants to have outside its layers.
    pub(crate) volumes: Vec<PathBuf>,
    /// Digests of the unpacked layers, the lowest first.
    pub(crate) diff_ids: Vec<String>,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    config: Option<Inner>,
    rootfs: Rootfs,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Inner {
    user: Option<String>,
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    working_dir: Option<String>,
    stop_signal: Option<String>,
    volumes: Option<BTreeMap<PathBuf, IgnoredAny>>,
}

#[derive(Deserialize)]
struct Rootfs {
    diff_ids: Vec<String>,
}

impl ImageConfig {
    /// Reads Docker's or OCI's configuration; they agree in what is used here.
    pub(crate) fn parse(text: &[u8]) -> Result<Self> {
        let file: File = serde_json::from_slice(text)
            .map_err(|error| Error::other("reading an image's configuration", error))?;
        let inner = file.config.unwrap_or_default();
        Ok(Self {
            user: inner.user.unwrap_or_default(),
            env: inner.env.unwrap_or_default(),
            entrypoint: inner.entrypoint.unwrap_or_default(),
            cmd: inner.cmd.unwrap_or_default(),
            working_dir: inner.working_dir.unwrap_or_default(),
            volumes: inner.volumes.unwrap_or_default().into_keys().collect(),
            stop_signal: inner.stop_signal.filter(|signal| !signal.is_empty()),
            diff_ids: file.rootfs.diff_ids,
        })
    }

    /// The name of each layer's snapshot: it stands for the layer and all below it.
    pub(crate) fn chain_ids(&self) -> Vec<String> {
        let mut chain: Vec<String> = Vec::with_capacity(self.diff_ids.len());
        for diff in &self.diff_ids {
            chain.push(match chain.last() {
                None => diff.clone(),
                Some(below) => digest(format!("{below} {diff}").as_bytes()),
            });
        }
        chain
    }
}

/// `sha256:...`
pub(crate) fn digest(bytes: &[u8]) -> String {
    format_digest(&Sha256::digest(bytes))
}

/// `sha256:...` of a finished hash.
pub(crate) fn format_digest(hash: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(71);
    text.push_str("sha256:");
    for byte in hash {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_and_missing_parts_are_empty() {
        let config = ImageConfig::parse(
            br#"{"config":{"Cmd":null,"Env":["A=1"],"Volumes":{"/data":{}}},"rootfs":{"diff_ids":["sha256:a"]}}"#,
        );
        let config = config.unwrap();
        assert_eq!(config.volumes, [PathBuf::from("/data")]);
        assert_eq!((config.cmd.len(), config.env.len()), (0, 1));
        assert!(ImageConfig::parse(br#"{"rootfs":{"diff_ids":[]}}"#).is_ok());
        assert!(ImageConfig::parse(b"{}").is_err());
    }

    #[test]
    fn a_chain_id_stands_for_all_layers_below() {
        let config = ImageConfig {
            diff_ids: vec!["sha256:a".into(), "sha256:b".into()],
            ..Default::default()
        };
        assert_eq!(
            config.chain_ids(),
            ["sha256:a".to_owned(), digest(b"sha256:a sha256:b")]
        );
    }
}
