//! Which certificates a registry's are checked with.

use std::path::Path;
use std::sync::Arc;

use kobune_runtime::{Error, Result};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::config::Tls;

/// Where distributions keep the machine's trusted certificates.
const BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The machine's certificates and the configured ones. Made for each pull and dropped with it: idle,
/// none of it takes memory, and a changed bundle is seen.
pub(crate) fn config(tls: &Tls) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::other("setting up TLS", error))?;
    let builder = if tls.insecure_skip_verify {
        builder
            .dangerous()
            .with_custom_certificate_verifier(kobune_pki::any_server())
    } else {
        builder.with_root_certificates(roots(tls)?)
    };
    let config = match (&tls.cert_file, &tls.key_file) {
        (Some(certificate), Some(key)) => {
            let key_error = |error| Error::other(format!("reading {}", key.display()), error);
            let key = PrivateKeyDer::from_pem_file(key).map_err(key_error)?;
            builder
                .with_client_auth_cert(certificates(certificate)?, key)
                .map_err(|error| Error::other(format!("using {}", certificate.display()), error))?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

fn roots(tls: &Tls) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let own = std::env::var_os("SSL_CERT_FILE").map(std::path::PathBuf::from);
    let bundle = own.or_else(|| {
        BUNDLES
            .iter()
            .map(std::path::PathBuf::from)
            .find(|path| path.exists())
    });
    if let Some(bundle) = bundle {
        // One broken certificate of a hundred must not break all.
        roots.add_parsable_certificates(certificates(&bundle)?);
    }
    if let Some(file) = &tls.ca_file {
        for certificate in certificates(file)? {
            roots
                .add(certificate)
                .map_err(|error| Error::other(format!("using {}", file.display()), error))?;
        }
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let doing = || format!("reading {}", path.display());
    let found = CertificateDer::pem_file_iter(path).map_err(|error| Error::other(doing(), error))?;
    found
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Error::other(doing(), error))
}
