//! Opening connections to kubelets, pods and endpoints.

use std::io;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, Error as TlsError, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::place::Place;
use crate::http::body::RequestBody;

/// How long a connection may take to come up.
const DIAL: Duration = Duration::from_secs(10);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Nobody answered in time.
    #[error("dial tcp {0}: i/o timeout")]
    TimedOut(std::net::SocketAddr),
    /// The address refused, or the handshake failed.
    #[error("dial tcp {address}")]
    Refused {
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is no HTTP server.
    #[error("HTTP with {address}")]
    Http {
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: hyper::Error,
    },
}

/// Opens an HTTP/1.1 connection; a task drives it until it ends.
pub async fn dial(place: &Place) -> Result<SendRequest<RequestBody>, DialError> {
    let connected = tokio::time::timeout(DIAL, connect(place)).await;
    connected.unwrap_or(Err(DialError::TimedOut(place.address)))
}

async fn connect(place: &Place) -> Result<SendRequest<RequestBody>, DialError> {
    let refused = |source| DialError::Refused {
        address: place.address,
        source,
    };
    let stream = TcpStream::connect(place.address).await.map_err(refused)?;
    let _ = stream.set_nodelay(true);
    let Some(tls) = &place.tls else {
        return http(place, stream).await;
    };
    // Upgrades need HTTP/1.1.
    let mut tls = ClientConfig::clone(tls);
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::try_from(place.host.clone()).map_err(|error| refused(io::Error::other(error)))?;
    let stream = TlsConnector::from(Arc::new(tls))
        .connect(name, stream)
        .await
        .map_err(refused)?;
    http(place, stream).await
}

async fn http<S>(place: &Place, stream: S) -> Result<SendRequest<RequestBody>, DialError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let failed = |source| DialError::Http {
        address: place.address,
        source,
    };
    let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = shaken.map_err(failed)?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "proxied connection ended");
        }
    });
    Ok(sender)
}

/// TLS with pods and endpoints, whose certificates nobody here can know: upstream's proxies do not
/// verify them either. Never used for kubelets.
pub fn unverified() -> Arc<ClientConfig> {
    static CONFIG: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap_or_else(|error| unreachable!("ring has the default versions: {error}"));
        let verifier = Arc::new(Unverified(provider));
        Arc::new(
            builder
                .dangerous()
                .with_custom_certificate_verifier(verifier)
                .with_no_client_auth(),
        )
    });
    CONFIG.clone()
}

#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
