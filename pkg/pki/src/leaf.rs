//! Leaf certificates: what to put into them, and the pair of certificate and key.

use std::net::IpAddr;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::{Error, Identity, Result};

/// A name or address that a server certificate is valid for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SubjectAltName {
    /// A DNS name.
    Name(String),
    /// An address.
    Address(IpAddr),
}

impl SubjectAltName {
    /// An address if it reads as one, else a name.
    pub fn parse(text: &str) -> Self {
        text.parse()
            .map_or_else(|_| SubjectAltName::Name(text.to_owned()), SubjectAltName::Address)
    }
}

/// What a leaf certificate says.
#[derive(Debug, Clone, Default)]
pub struct Leaf {
    /// Common name (user) and organizations (groups, without `system:authenticated`).
    pub subject: Identity,
    /// What a server certificate is valid for; empty for a client's.
    pub names: Vec<SubjectAltName>,
    /// Usable by a server.
    pub server: bool,
    /// Usable by a client.
    pub client: bool,
}

impl Leaf {
    /// A client certificate for a user in groups.
    pub fn client(user: &str, groups: &[&str]) -> Self {
        Leaf {
            subject: Identity::new(user, groups),
            client: true,
            ..Leaf::default()
        }
    }

    /// A server certificate for names and addresses.
    pub fn server(user: &str, names: Vec<SubjectAltName>) -> Self {
        Leaf {
            subject: Identity::new(user, &[]),
            names,
            server: true,
            ..Leaf::default()
        }
    }
}

/// A certificate chain and its private key, PEM.
#[derive(Clone)]
pub struct CertifiedKey {
    /// The leaf, then its issuers.
    pub certificate_pem: String,
    /// PKCS#8.
    pub key_pem: String,
}

impl std::fmt::Debug for CertifiedKey {
    // A key must never reach a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertifiedKey")
            .field("certificate_pem", &self.certificate_pem)
            .finish_non_exhaustive()
    }
}

impl CertifiedKey {
    /// The chain as rustls wants it.
    pub fn chain(&self) -> Result<Vec<CertificateDer<'static>>> {
        CertificateDer::pem_slice_iter(self.certificate_pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| Error::Tls {
                doing: "reading a certificate chain",
                message: error.to_string(),
            })
    }

    /// The key as rustls wants it.
    pub fn key(&self) -> Result<PrivateKeyDer<'static>> {
        PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).map_err(|error| Error::Tls {
            doing: "reading a private key",
            message: error.to_string(),
        })
    }
}
