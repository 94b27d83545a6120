//! Image references, normalized as Docker and the CRI do: `nginx` is `docker.io/library/nginx:latest`. Pure.

use std::fmt;

use kobune_runtime::{Error, Result};

/// A normalized reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    /// `docker.io`, `localhost:5000`
    pub(crate) domain: String,
    /// `library/nginx`
    pub(crate) path: String,
    /// `latest` when neither tag nor digest is given.
    pub(crate) tag: Option<String>,
    /// `sha256:...`
    pub(crate) digest: Option<String>,
}

impl Reference {
    /// Reads what a user wrote.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        parse(text).map_err(|message| Error::InvalidImageName {
            reference: text.to_owned(),
            message: message.to_owned(),
        })
    }

    /// `domain/path`
    pub(crate) fn repository(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// What a registry is asked for: the digest if there is one.
    pub(crate) fn identifier(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or("latest")
    }

    /// `domain/path@digest`
    pub(crate) fn with_digest(&self, digest: &str) -> String {
        format!("{}@{digest}", self.repository())
    }
}

/// The name an image is stored under; a tag beside a digest says nothing more.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => write!(f, "{}/{}@{digest}", self.domain, self.path),
            (None, Some(tag)) => write!(f, "{}/{}:{tag}", self.domain, self.path),
            (None, None) => write!(f, "{}/{}", self.domain, self.path),
        }
    }
}

fn parse(text: &str) -> std::result::Result<Reference, &'static str> {
    const INVALID: &str = "invalid reference format";
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) if is_digest(digest) => (rest, Some(digest.to_owned())),
        Some(_) => return Err(INVALID),
        None => (text, None),
    };
    // A colon after the last slash begins a tag; one before it is a port.
    let name_at = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match rest[name_at..].find(':') {
        Some(colon) => (&rest[..name_at + colon], Some(&rest[name_at + colon + 1..])),
        None => (rest, None),
    };
    if name.is_empty() || tag.is_some_and(|tag| !is_tag(tag)) {
        return Err(INVALID);
    }
    if name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("invalid repository name, cannot specify 64-byte hexadecimal strings");
    }
    let (domain, path) = split_domain(name);
    if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err("repository name must be lowercase");
    }
    if !is_domain(&domain) || path.is_empty() || !path.split('/').all(is_component) {
        return Err(INVALID);
    }
    if path.len() > 255 {
        return Err("repository name must not be more than 255 characters");
    }
    let tag = match (tag, &digest) {
        (Some(tag), _) => Some(tag.to_owned()),
        (None, None) => Some("latest".to_owned()),
        (None, Some(_)) => None,
    };
    Ok(Reference {
        domain,
        path,
        tag,
        digest,
    })
}

/// The first part is a registry if it looks like a host.
fn split_domain(name: &str) -> (String, String) {
    let (domain, path) = match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            (
                if first == "index.docker.io" {
                    "docker.io"
                } else {
                    first
                },
                rest,
            )
        }
        _ => ("docker.io", name),
    };
    if domain == "docker.io" && !path.contains('/') {
        return (domain.to_owned(), format!("library/{path}"));
    }
    (domain.to_owned(), path.to_owned())
}

fn is_digest(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, hex)| {
        let length = match algorithm {
            "sha256" => 64,
            "sha384" => 96,
            "sha512" => 128,
            _ => return false,
        };
        hex.len() == length && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

fn is_tag(text: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    (1..=128).contains(&text.len()) && text.bytes().all(fine) && !text.starts_with(['.', '-'])
}

fn is_domain(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    if port.is_some_and(|port| port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit())) {
        return false;
    }
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    host.split('.').all(|label| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    })
}

/// Letters and digits, with single `.`, one or two `_`, or any number of `-` between them.
fn is_component(text: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    if !bytes.first().is_some_and(alphanumeric) || !bytes.last().is_some_and(alphanumeric) {
        return false;
    }
    bytes.split(alphanumeric).all(|between| {
        matches!(between, b"" | b"." | b"_" | b"__") || between.iter().all(|byte| *byte == b'-')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_is_normalized() {
        for (short, long) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.27", "docker.io/library/nginx:1.27"),
            ("bitnami/redis", "docker.io/bitnami/redis:latest"),
            ("index.docker.io/nginx", "docker.io/library/nginx:latest"),
            ("localhost:5000/a:b", "localhost:5000/a:b"),
            ("localhost/a", "localhost/a:latest"),
            ("ghcr.io/a/b/c", "ghcr.io/a/b/c:latest"),
            ("[::1]:5000/a", "[::1]:5000/a:latest"),
        ] {
            assert_eq!(Reference::parse(short).unwrap().to_string(), long);
        }
    }

    #[test]
    fn a_digest_outweighs_a_tag() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let reference = Reference::parse(&format!("nginx:1.27@{digest}")).unwrap();
        assert_eq!(reference.to_string(), format!("docker.io/library/nginx@{digest}"));
        assert_eq!(reference.identifier(), digest);
    }

    #[test]
    fn what_no_registry_takes_is_an_invalid_name() {
        let bare_id = "a".repeat(64);
        for wrong in [
            "",
            "Nginx",
            "a b",
            "nginx:",
            "nginx:-x",
            "nginx@sha256:12",
            "/x",
            "a//b",
            "a..b/c",
            "-a/b",
            bare_id.as_str(),
            "x:y:z",
        ] {
            assert!(
                matches!(Reference::parse(wrong), Err(Error::InvalidImageName { .. })),
                "{wrong:?}"
            );
        }
    }
}
