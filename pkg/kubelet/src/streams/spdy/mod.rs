//! SPDY/3.1 as Kubernetes' clients speak it: for port-forward (inside a WebSocket or alone), and for
//! exec and attach of clients older than 1.31.
//!
//! Only a server's part is here: clients open streams, we answer. There is no flow control, since
//! clients have none; a stream whose reader is slow holds up its connection.

mod connection;
mod dictionary;
mod frame;
mod headers;

pub use connection::{Connection, Stream, StreamWriter};

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The transport failed.
    #[error("the connection broke")]
    Io(#[source] std::io::Error),
    /// A frame is not what the protocol allows.
    #[error("the client broke the protocol: {0}")]
    Malformed(&'static str),
    /// A header block cannot be (de)compressed.
    #[error("a header block could not be read")]
    Compression,
    /// A frame or header block is larger than any client sends.
    #[error("a frame is too large")]
    TooLarge,
}
