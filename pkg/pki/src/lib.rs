//! Who is who: certificate authorities, leaf certificates, service-account keys, TLS configurations.
//!
//! Everything lives in one folder (`{data-dir}/server/tls`, k3s' file names), keys readable by root
//! only. All keys are ECDSA P-256: made in under a millisecond each, so a first start stays fast.
//!
//! **Invariant**: a file is written whole or not at all (temporary name, fsync, rename), and a key
//! is never made a second time while its file exists.

mod authority;
mod error;
mod files;
mod identity;
mod leaf;
mod service_account;
mod tls;

pub use authority::{Authorities, Authority};
pub use error::{Error, Result};
pub use files::write_private;
pub use identity::{Identity, identity_of};
pub use leaf::{CertifiedKey, Leaf, SubjectAltName};
pub use service_account::{ServiceAccountKey, TokenError};
pub use tls::{any_server, client_config, install_crypto, server_config};
