//! Manifests and indexes, OCI's and Docker's. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Names a blob.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: String,
    /// Bytes.
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// What an image runs on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Platform {
    pub(crate) architecture: String,
    pub(crate) os: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) variant: String,
}

/// A list of images for several platforms.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    pub(crate) schema_version: u32,
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) manifests: Vec<Descriptor>,
}

/// One image.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

impl Descriptor {
    pub(crate) fn is_index(&self) -> bool {
        matches!(self.media_type.as_str(), OCI_INDEX | DOCKER_LIST)
    }

    pub(crate) fn is_manifest(&self) -> bool {
        matches!(self.media_type.as_str(), OCI_MANIFEST | DOCKER_MANIFEST)
    }

    /// As containerd's API has it.
    pub(crate) fn to_api(&self) -> containerd_client::types::Descriptor {
        containerd_client::types::Descriptor {
            media_type: self.media_type.clone(),
            digest: self.digest.clone(),
            size: self.size as i64,
            ..Default::default()
        }
    }

    pub(crate) fn from_api(descriptor: &containerd_client::types::Descriptor) -> Self {
        Self {
            media_type: descriptor.media_type.clone(),
            digest: descriptor.digest.clone(),
            size: descriptor.size.max(0) as u64,
            ..Default::default()
        }
    }
}

/// This machine's architecture in Go's words.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

impl Platform {
    fn runs_here(&self) -> bool {
        self.os == "linux"
            && self.architecture == architecture()
            && matches!(self.variant.as_str(), "" | "v8")
    }
}

impl Index {
    /// The manifest for this machine: the one that says so, else the only one that says nothing.
    pub(crate) fn for_this_machine(&self) -> Option<&Descriptor> {
        let named = |entry: &&Descriptor| entry.platform.as_ref().is_some_and(Platform::runs_here);
        let unnamed =
            |entry: &&Descriptor| entry.platform.is_none() && (entry.is_manifest() || entry.is_index());
        self.manifests
            .iter()
            .find(named)
            .or_else(|| self.manifests.iter().find(unnamed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(digest: &str, os: &str, architecture: &str) -> Descriptor {
        Descriptor {
            media_type: OCI_MANIFEST.into(),
            digest: digest.into(),
            platform: Some(Platform {
                os: os.into(),
                architecture: architecture.into(),
                variant: String::new(),
            }),
            ..Default::default()
        }
    }

    #[test]
    fn the_manifest_of_this_platform_is_chosen() {
        let index = Index {
            schema_version: 2,
            media_type: OCI_INDEX.into(),
            manifests: vec![
                entry("a", "windows", architecture()),
                entry("b", "linux", "s390x"),
                entry("c", "linux", architecture()),
                entry("d", "unknown", "unknown"),
            ],
        };
        assert_eq!(index.for_this_machine().unwrap().digest, "c");
    }

    #[test]
    fn a_platform_that_is_not_there_is_none() {
        let index = Index {
            schema_version: 2,
            media_type: String::new(),
            manifests: vec![entry("b", "linux", "s390x")],
        };
        assert!(index.for_this_machine().is_none());
    }
}
