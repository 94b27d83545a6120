//! What can go wrong in a runtime, as the kubelet has to tell it apart.

/// Why a runtime call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The runtime cannot be reached; the call may be tried again.
    #[error("the container runtime is not reachable: {message}")]
    Unavailable {
        /// What was tried, and its answer.
        message: String,
    },
    /// There is no such container, sandbox, image or process.
    #[error("{what} not found")]
    NotFound {
        /// Which thing.
        what: String,
    },
    /// An image reference that cannot be parsed: the kubelet's `InvalidImageName`.
    #[error("couldn't parse image name {reference:?}: {message}")]
    InvalidImageName {
        /// The reference as given.
        reference: String,
        /// What is wrong with it.
        message: String,
    },
    /// The registry or the network failed; the kubelet's `ErrImagePull`.
    #[error("failed to pull image {reference:?}: {message}")]
    Pull {
        /// The reference as given.
        reference: String,
        /// What the registry or the network answered.
        message: String,
    },
    /// The container's configuration cannot be run: the kubelet's `CreateContainerConfigError`.
    #[error("{message}")]
    Config {
        /// What is wrong.
        message: String,
    },
    /// The process could not be started (no such file, no permission): `RunContainerError`,
    /// exit code 128 (or 127, 126 as runc's callers have it).
    #[error("{message}")]
    Start {
        /// runc's own words.
        message: String,
    },
    /// Anything else; `doing` is what we were doing.
    #[error("{doing}: {source}")]
    Other {
        /// What was being done, for example `creating the snapshot of container web`.
        doing: String,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// Wraps any error with what was being done.
    pub fn other(
        doing: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Error::Other {
            doing: doing.into(),
            source: source.into(),
        }
    }

    /// True for [`Error::NotFound`].
    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::NotFound { .. })
    }
}

/// A runtime call's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;
