//! Service-account tokens: JSON web tokens (RFC 7519) signed with ES256.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PublicKeyData};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, UnparsedPublicKey,
};

use crate::files::{read, write_private};
use crate::{Error, Result};

/// Why a token is not accepted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TokenError {
    /// Not three base64url parts of JSON, or not signed with ES256.
    #[error("the token is malformed")]
    Malformed,
    /// Signed by another key, or changed.
    #[error("the token's signature is invalid")]
    Signature,
}

/// The key that signs and verifies service-account tokens.
pub struct ServiceAccountKey {
    key: EcdsaKeyPair,
    public: Vec<u8>,
    public_pem: String,
    id: String,
    random: SystemRandom,
}

impl ServiceAccountKey {
    /// Reads the PKCS#8 key at `path`, or makes one.
    pub fn load_or_create(path: &Path) -> Result<Self> {
        let failed = |source| Error::Certificate {
            doing: format!("reading {}", path.display()),
            source,
        };
        let pair = match read(path)? {
            Some(pem) => KeyPair::from_pem(&pem).map_err(failed)?,
            None => {
                let pair = KeyPair::generate().map_err(failed)?;
                write_private(path, pair.serialize_pem().as_bytes(), 0o600)?;
                pair
            }
        };
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pair.serialized_der(), &random)
            .map_err(|error| Error::Malformed {
                what: path.display().to_string(),
                message: error.to_string(),
            })?;
        // The key's id is the hash of its public form, as kube-apiserver derives it.
        let id = URL_SAFE_NO_PAD.encode(ring::digest::digest(
            &ring::digest::SHA256,
            &pair.subject_public_key_info(),
        ));
        Ok(ServiceAccountKey {
            public: pair.public_key_raw().to_vec(),
            public_pem: pair.public_key_pem(),
            key,
            id,
            random,
        })
    }

    /// The public key, PEM.
    pub fn public_pem(&self) -> &str {
        &self.public_pem
    }

    /// The key as a JSON web key (RFC 7517), for `/openid/v1/jwks`.
    pub fn jwk(&self) -> serde_json::Value {
        // An uncompressed point: 0x04, x, y of 32 bytes each.
        let (x, y) = self.public[1..].split_at(32);
        serde_json::json!({"use": "sig", "kty": "EC", "kid": self.id, "crv": "P-256", "alg": "ES256",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)})
    }

    /// Signs claims into a compact token.
    pub fn sign(&self, claims: &serde_json::Value) -> Result<String> {
        let header = serde_json::json!({"alg": "ES256", "kid": self.id});
        let mut token = URL_SAFE_NO_PAD.encode(header.to_string());
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self
            .key
            .sign(&self.random, token.as_bytes())
            .map_err(|error| Error::Tls {
                doing: "signing a service-account token",
                message: error.to_string(),
            })?;
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature.as_ref()));
        Ok(token)
    }

    /// The claims of a token that this key signed. Times and audiences are the caller's to check.
    pub fn verify(&self, token: &str) -> Result<serde_json::Value, TokenError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed);
        let header: serde_json::Value =
            serde_json::from_slice(&decode(header)?).map_err(|_| TokenError::Malformed)?;
        if header["alg"] != "ES256" {
            return Err(TokenError::Malformed);
        }
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.public)
            .verify(signed.as_bytes(), &decode(signature)?)
            .map_err(|_| TokenError::Signature)?;
        serde_json::from_slice(&decode(claims)?).map_err(|_| TokenError::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_verified_by_its_own_key_only() {
        let folder = tempfile::tempdir().unwrap();
        let ours = ServiceAccountKey::load_or_create(&folder.path().join("a.key")).unwrap();
        let other = ServiceAccountKey::load_or_create(&folder.path().join("b.key")).unwrap();
        let claims = serde_json::json!({"sub": "system:serviceaccount:default:default"});
        let token = ours.sign(&claims).unwrap();
        assert_eq!(ours.verify(&token), Ok(claims));
        assert_eq!(other.verify(&token), Err(TokenError::Signature));
        assert_eq!(ours.verify("a.b"), Err(TokenError::Malformed));
    }
}
