//! What can go wrong with keys and certificates.

use std::path::PathBuf;

/// Why a key or certificate could not be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{doing} {path}")]
    File {
        /// For example `reading`.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A certificate or key could not be made or parsed.
    #[error("{doing}")]
    Certificate {
        /// What was being done, to what.
        doing: String,
        /// Why it failed.
        #[source]
        source: rcgen::Error,
    },
    /// A certificate's bytes are not X.509.
    #[error("parsing the certificate of {what}: {message}")]
    Malformed {
        /// Whose.
        what: String,
        /// The parser's words.
        message: String,
    },
    /// rustls refused a key, a certificate or a verifier.
    #[error("{doing}: {message}")]
    Tls {
        /// What was being done.
        doing: &'static str,
        /// rustls' words.
        message: String,
    },
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
