//! `registries.yaml`, as k3s has it: mirrors with rewrites, and credentials and TLS for each host. Pure
//! but for reading the file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kobune_runtime::{Error, RegistryAuth, Result};
use serde::Deserialize;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Registries {
    mirrors: BTreeMap<String, Option<Mirror>>,
    configs: BTreeMap<String, HostConfig>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
struct Mirror {
    endpoint: Vec<String>,
    rewrite: BTreeMap<String, String>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
struct HostConfig {
    auth: Option<Auth>,
    tls: Option<Tls>,
}

#[derive(Default, Clone, Deserialize)]
#[serde(default)]
struct Auth {
    username: String,
    password: String,
    /// base64 of `user:password`
    auth: String,
    identity_token: String,
}

impl std::fmt::Debug for Auth {
    // A password must never reach a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// `configs[].tls`
#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Tls {
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) cert_file: Option<PathBuf>,
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) insecure_skip_verify: bool,
}

/// Where a repository may be fetched from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Endpoint {
    /// `https://host:port/v2`
    base: String,
    /// The repository's path there.
    path: String,
    /// What a mirror is asked for, when it mirrors several registries.
    namespace: Option<String>,
    pub(crate) auth: Option<RegistryAuth>,
    pub(crate) tls: Tls,
}

impl Endpoint {
    /// `https://host/v2/library/nginx/manifests/latest`
    pub(crate) fn url(&self, kind: &str, identifier: &str) -> String {
        let namespace = self
            .namespace
            .as_ref()
            .map(|domain| format!("?ns={domain}"))
            .unwrap_or_default();
        format!("{}/{}/{kind}/{identifier}{namespace}", self.base, self.path)
    }
}

impl Registries {
    /// Reads the file; none is the same as an empty one.
    pub(crate) fn read(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else {
            return Ok(Self::default());
        };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Error::other(format!("reading {}", path.display()), error)),
        };
        Self::parse(&text).map_err(|error| Error::other(format!("reading {}", path.display()), error))
    }

    fn parse(text: &str) -> Result<Self, serde_yaml_ng::Error> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        serde_yaml_ng::from_str(text)
    }

    /// Mirrors in their order, then the registry itself.
    pub(crate) fn endpoints(&self, domain: &str, path: &str) -> Result<Vec<Endpoint>> {
        let none = Mirror::default();
        let mirror = self.mirrors.get(domain).or_else(|| self.mirrors.get("*"));
        let mirror = mirror.and_then(Option::as_ref).unwrap_or(&none);
        let mut endpoints = Vec::new();
        for url in &mirror.endpoint {
            let base = base_url(url).ok_or_else(|| Error::Config {
                message: format!(
                    "registries.yaml: mirror {domain:?} has the endpoint {url:?}, which is no URL"
                ),
            })?;
            endpoints.push(self.endpoint(base, rewritten(path, &mirror.rewrite)?, Some(domain)));
        }
        let host = if domain == "docker.io" {
            "registry-1.docker.io"
        } else {
            domain
        };
        let own = format!("https://{host}/v2");
        if !endpoints.iter().any(|endpoint| host_of(&endpoint.base) == host) {
            endpoints.push(self.endpoint(own, path.to_owned(), None));
        }
        Ok(endpoints)
    }

    fn endpoint(&self, base: String, path: String, mirrored: Option<&str>) -> Endpoint {
        let host = host_of(&base).to_owned();
        let by_host = self.configs.get(&host);
        // Docker's registry has another name than its images.
        let config = by_host.or_else(|| {
            (host == "registry-1.docker.io")
                .then(|| self.configs.get("docker.io"))
                .flatten()
        });
        let config = config.cloned().unwrap_or_default();
        let namespace = mirrored.filter(|domain| *domain != host).map(str::to_owned);
        let tls = config.tls.unwrap_or_default();
        Endpoint {
            base,
            path,
            namespace,
            auth: config.auth.as_ref().map(Auth::credentials),
            tls,
        }
    }
}

impl Auth {
    fn credentials(&self) -> RegistryAuth {
        use base64::Engine;
        let decoded = base64::engine::general_purpose::STANDARD
            .decode(self.auth.trim())
            .unwrap_or_default();
        let decoded = String::from_utf8(decoded).unwrap_or_default();
        let (username, password) = decoded.split_once(':').unwrap_or(("", ""));
        let or = |own: &str, other: &str| {
            if own.is_empty() {
                other.to_owned()
            } else {
                own.to_owned()
            }
        };
        RegistryAuth {
            username: or(&self.username, username),
            password: or(&self.password, password),
            identity_token: self.identity_token.clone(),
        }
    }
}

/// `https://host[:port][/path]/v2`; a bare host gets https, as plain HTTP must be asked for.
fn base_url(text: &str) -> Option<String> {
    let text = text.trim().trim_end_matches('/');
    let url = if text.contains("://") {
        text.to_owned()
    } else {
        format!("https://{text}")
    };
    let (scheme, rest) = url.split_once("://")?;
    if !matches!(scheme, "http" | "https") || rest.is_empty() || rest.starts_with('/') {
        return None;
    }
    Some(if rest.ends_with("/v2") {
        url
    } else {
        format!("{url}/v2")
    })
}

/// `host:port` of a URL.
pub(crate) fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

fn rewritten(path: &str, rules: &BTreeMap<String, String>) -> Result<String> {
    for (pattern, replacement) in rules {
        let rule = regex_lite::Regex::new(pattern).map_err(|error| Error::Config {
            message: format!("registries.yaml: rewrite {pattern:?}: {error}"),
        })?;
        if rule.is_match(path) {
            return Ok(rule.replace_all(path, replacement.as_str()).into_owned());
        }
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(yaml: &str, domain: &str, path: &str) -> Vec<String> {
        let found = Registries::parse(yaml).unwrap().endpoints(domain, path).unwrap();
        found
            .iter()
            .map(|endpoint| endpoint.url("manifests", "1"))
            .collect()
    }

    #[test]
    fn without_a_file_there_is_the_registry_itself_over_tls() {
        assert_eq!(
            endpoints("", "docker.io", "library/nginx"),
            ["https://registry-1.docker.io/v2/library/nginx/manifests/1"]
        );
        assert_eq!(
            endpoints("", "localhost:5000", "a"),
            ["https://localhost:5000/v2/a/manifests/1"]
        );
    }

    #[test]
    fn mirrors_come_first_and_paths_are_rewritten() {
        let yaml = "mirrors:\n  docker.io:\n    endpoint: [\"http://mirror:5000\"]\n    rewrite:\n      \"^library/(.*)\": \"hub/$1\"\n";
        assert_eq!(
            endpoints(yaml, "docker.io", "library/nginx"),
            [
                "http://mirror:5000/v2/hub/nginx/manifests/1?ns=docker.io",
                "https://registry-1.docker.io/v2/library/nginx/manifests/1",
            ]
        );
    }

    #[test]
    fn plain_http_for_a_registry_itself_must_be_asked_for() {
        let yaml = "mirrors:\n  \"localhost:5000\":\n    endpoint: [\"http://localhost:5000\"]\n";
        assert_eq!(
            endpoints(yaml, "localhost:5000", "a"),
            ["http://localhost:5000/v2/a/manifests/1"]
        );
    }

    #[test]
    fn the_star_mirrors_what_has_no_entry() {
        let yaml = "mirrors:\n  \"*\":\n    endpoint: [mirror.example]\n  quay.io:\n";
        assert_eq!(
            endpoints(yaml, "ghcr.io", "a")[0],
            "https://mirror.example/v2/a/manifests/1?ns=ghcr.io"
        );
        assert_eq!(endpoints(yaml, "quay.io", "a").len(), 1);
    }

    #[test]
    fn credentials_may_be_packed_in_auth() {
        let yaml = "configs:\n  ghcr.io:\n    auth:\n      auth: dXNlcjpwYTpzcw==\n    tls:\n      insecure_skip_verify: true\n";
        let endpoint = Registries::parse(yaml)
            .unwrap()
            .endpoints("ghcr.io", "a")
            .unwrap()
            .remove(0);
        let auth = endpoint.auth.unwrap();
        assert_eq!(
            (auth.username.as_str(), auth.password.as_str()),
            ("user", "pa:ss")
        );
        assert!(endpoint.tls.insecure_skip_verify);
    }

    #[test]
    fn an_endpoint_that_is_no_url_is_named() {
        let registries = Registries::parse("mirrors:\n  a.b:\n    endpoint: [\"ftp://x\"]\n").unwrap();
        assert!(
            registries
                .endpoints("a.b", "c")
                .unwrap_err()
                .to_string()
                .contains("ftp://x")
        );
    }
}
