//! Images: what is here, and how more is fetched.

use std::path::PathBuf;
use std::sync::Arc;

/// An image that is complete and unpacked on this node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    /// Digest of its configuration, `sha256:...`.
    pub id: String,
    /// `registry/name:tag` references to it.
    pub tags: Vec<String>,
    /// `registry/name@sha256:...` references to it; what `status.imageID` shows.
    pub digests: Vec<String>,
    /// Bytes: compressed content, as the CRI counts it.
    pub size: u64,
    /// User of its configuration (`uid`, `name`, `uid:gid`, or empty).
    pub user: String,
    /// When something was last run from it or it was last pulled, as far as known.
    pub last_used: Option<jiff::Timestamp>,
    /// Never removed by garbage collection.
    pub pinned: bool,
}

/// Credentials for one registry.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RegistryAuth {
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
    /// An identity (refresh) token in place of a password.
    pub identity_token: String,
}

impl std::fmt::Debug for RegistryAuth {
    // A password must never reach a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegistryAuth")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// Which image to fetch, and with which credentials (tried in order, then none).
#[derive(Debug, Clone, Default)]
pub struct PullRequest {
    /// As the user wrote it: `nginx`, `nginx:1.27`, `ghcr.io/a/b@sha256:...`.
    pub reference: String,
    /// From `imagePullSecrets`, matched to the registry already.
    pub auth: Vec<RegistryAuth>,
    /// Ask the registry although the reference is known here (`imagePullPolicy: Always`).
    pub force: bool,
}

/// How far a pull is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The manifest is known: what has to be fetched.
    Resolved {
        /// The manifest's digest.
        digest: String,
        /// Digest and size in bytes of each blob that is missing.
        missing: Vec<(String, u64)>,
        /// Which of the request's credentials the registry accepted; `None` if it wanted none of them.
        credential: Option<usize>,
    },
    /// Bytes of one blob arrived.
    Downloaded {
        /// Which blob.
        digest: String,
        /// Bytes so far.
        bytes: u64,
        /// Bytes in all.
        total: u64,
    },
    /// A layer is being unpacked (`done` false) or is unpacked.
    Unpacked {
        /// Which layer.
        digest: String,
        /// Finished.
        done: bool,
    },
}

/// Where progress goes; cheap to call.
pub type ProgressSink = Arc<dyn Fn(Progress) + Send + Sync>;

/// Use of the file system that images are on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilesystemUsage {
    /// The runtime's root folder.
    pub path: PathBuf,
    /// Bytes that images and layers take.
    pub used: u64,
    /// Bytes of the whole file system.
    pub capacity: u64,
    /// Bytes that can still be written.
    pub available: u64,
}
