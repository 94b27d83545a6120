//! Continue tokens: where the next page of a list begins, and at which revision. Opaque to clients,
//! in upstream's form.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kobune_store::Revision;
use serde::{Deserialize, Serialize};

/// A position in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The revision of the first page; `None` continues at the newest.
    pub revision: Option<Revision>,
    /// The last key of the page before, relative to the resource.
    pub start: String,
}

#[derive(Serialize, Deserialize)]
struct Written {
    v: String,
    rv: i64,
    start: String,
}

impl Token {
    /// The token as it is sent.
    pub fn write(&self) -> String {
        let written = Written {
            v: "meta.k8s.io/v1".to_owned(),
            rv: self
                .revision
                .map_or(-1, |revision| i64::try_from(revision).unwrap_or(i64::MAX)),
            // The smallest key after the last one, as upstream writes it.
            start: format!("{}\0", self.start),
        };
        let json = serde_json::to_vec(&written).unwrap_or_default();
        URL_SAFE_NO_PAD.encode(json)
    }

    /// Reads a token; `None` if it is none of ours.
    pub fn read(text: &str) -> Option<Self> {
        let json = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?;
        let written: Written = serde_json::from_slice(&json).ok()?;
        // A path that climbs would leave the resource.
        let climbs = written.start.split('/').any(|part| part == "..");
        if written.v != "meta.k8s.io/v1" || climbs {
            return None;
        }
        let start = written.start.strip_suffix('\0')?;
        let revision = if written.rv < 0 {
            None
        } else {
            Some(written.rv.unsigned_abs())
        };
        Some(Self {
            revision,
            start: start.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_as_it_was() {
        for revision in [None, Some(7)] {
            let token = Token {
                revision,
                start: "ns/name".to_owned(),
            };
            assert_eq!(Token::read(&token.write()), Some(token));
        }
    }

    #[test]
    fn a_foreign_token_is_refused() {
        assert_eq!(Token::read("nonsense"), None);
        let climbing = Token {
            revision: None,
            start: "../secrets/x".to_owned(),
        };
        assert_eq!(Token::read(&climbing.write()), None);
    }
}
