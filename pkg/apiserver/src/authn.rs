//! Authentication: who a request is.
//!
//! ```text
//! in process: the identity is given
//! network:    client certificate ─ bearer token ─ anonymous (health and version only)
//! ```

use std::net::SocketAddr;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use kobune_api::status::Status;
use kobune_pki::{Identity, identity_of};
use rustls_pki_types::CertificateDer;

/// The other end of a connection.
pub struct Peer {
    /// Who its certificate says it is; the handshake has verified it. Read once per connection.
    certificate: Option<Identity>,
}

impl Peer {
    /// Reads the certificate that the handshake accepted, if there was one.
    pub fn new(address: SocketAddr, chain: Option<&[CertificateDer<'_>]>) -> Self {
        let certificate = chain.and_then(<[_]>::first).and_then(|leaf| {
            identity_of(leaf)
                .inspect_err(|error| tracing::debug!(%address, %error, "client certificate without identity"))
                .ok()
        });
        Self { certificate }
    }
}

/// Turns bearer tokens into identities.
pub trait Tokens: Send + Sync {
    /// Who the token's bearer is; `None` for a token that is not known or not valid.
    fn identity(&self, token: &str) -> Option<Identity>;
}

/// Where the place of an identity in memory is.
pub enum Caller<'p> {
    /// The connection's.
    Known(&'p Identity),
    /// This request's.
    Told(Identity),
}

impl Caller<'_> {
    /// The identity.
    pub fn identity(&self) -> &Identity {
        match self {
            Self::Known(identity) => identity,
            Self::Told(identity) => identity,
        }
    }
}

/// Tells who a request from the network is: by certificate, else by token, else anonymous. A token
/// that is not valid is refused even where anonymous requests are let in.
pub fn authenticate<'p>(
    peer: &'p Peer,
    headers: &HeaderMap,
    tokens: &[Box<dyn Tokens>],
) -> Result<Caller<'p>, Status> {
    if let Some(identity) = &peer.certificate {
        return Ok(Caller::Known(identity));
    }
    match bearer(headers) {
        None => Ok(Caller::Told(Identity::anonymous())),
        Some(token) => tokens
            .iter()
            .find_map(|known| known.identity(token))
            .map(Caller::Told)
            .ok_or_else(|| Status::unauthorized("")),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The paths that need no identity.
pub fn is_public(path: &str) -> bool {
    matches!(path, "/version" | "/version/")
        || ["/livez", "/readyz", "/healthz"].iter().any(|root| {
            path.strip_prefix(root)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
}
