//! TLS configurations: one provider (ring), TLS 1.2 and 1.3.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::{CertifiedKey, Error, Result};

/// Makes ring the process's crypto provider; safe to call more than once.
pub fn install_crypto() {
    // An error only says that a provider is installed already: ours, there is no other.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn refused(doing: &'static str) -> impl Fn(String) -> Error {
    move |message| Error::Tls { doing, message }
}

fn roots(authorities_pem: &str) -> Result<Arc<RootCertStore>> {
    let failed = refused("reading a certificate authority");
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authorities_pem.as_bytes()) {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| failed(error.to_string()))?;
    }
    Ok(Arc::new(roots))
}

/// A server's configuration: shows `own`, offers `alpn` (`h2`, `http/1.1`), and verifies a client's
/// certificate against `client_authority_pem` when the client shows one. A client without one is let
/// in at this level; what it may do is decided by authentication.
pub fn server_config(
    own: &CertifiedKey,
    client_authority_pem: &str,
    alpn: &[&str],
) -> Result<Arc<ServerConfig>> {
    let failed = refused("configuring a TLS server");
    let verifier = WebPkiClientVerifier::builder(roots(client_authority_pem)?)
        .allow_unauthenticated()
        .build()
        .map_err(|error| failed(error.to_string()))?;
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(own.chain()?, own.key()?)
        .map_err(|error| failed(error.to_string()))?;
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(Arc::new(config))
}

/// A client's configuration: trusts `authority_pem` only, shows `own` when asked.
pub fn client_config(
    authority_pem: &str,
    own: Option<&CertifiedKey>,
    alpn: &[&str],
) -> Result<Arc<ClientConfig>> {
    let failed = refused("configuring a TLS client");
    let builder = ClientConfig::builder().with_root_certificates(roots(authority_pem)?);
    let mut config = match own {
        Some(own) => builder
            .with_client_auth_cert(own.chain()?, own.key()?)
            .map_err(|error| failed(error.to_string()))?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(Arc::new(config))
}

/// For clients that take any server for the one they asked for: probes, as upstream has them, and
/// registries whose configuration says so. Who listens on the line cannot read it; who answers may be
/// anybody.
pub fn any_server() -> Arc<dyn ServerCertVerifier> {
    Arc::new(AnyServer(Arc::new(rustls::crypto::ring::default_provider())))
}

#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
