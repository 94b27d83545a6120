//! `imagePullSecrets`: which credentials fit an image. Pure.

use base64::Engine as _;
use kobune_client::k8s_openapi::api::core::v1::Secret;
use kobune_runtime::RegistryAuth;
use serde::Deserialize;
use std::collections::BTreeMap;

use super::access::Source;

#[derive(Deserialize, Default)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize, Default)]
struct Entry {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    auth: String,
    #[serde(default)]
    identitytoken: String,
}

/// What a pod can show a registry, and where it has that from.
#[derive(Debug, Clone)]
pub struct Credential {
    /// The Secret.
    pub source: Source,
    /// What is in it.
    pub auth: RegistryAuth,
}

/// Credentials of the secrets that fit the image, the longest match first.
pub fn fitting<'a>(secrets: impl Iterator<Item = &'a Secret>, image: &str) -> Vec<Credential> {
    let (registry, path) = registry_and_path(image);
    let mut found: Vec<(usize, Credential)> = Vec::new();
    for secret in secrets {
        for (server, entry) in entries(secret) {
            if let Some(length) = fits(&server, &registry, &path) {
                let (source, auth) = (source(secret), auth(entry));
                found.push((length, Credential { source, auth }));
            }
        }
    }
    found.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
    found.into_iter().map(|(_, credential)| credential).collect()
}

fn source(secret: &Secret) -> Source {
    let metadata = &secret.metadata;
    Source {
        uid: metadata.uid.clone().unwrap_or_default(),
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
    }
}

fn entries(secret: &Secret) -> BTreeMap<String, Entry> {
    let data = |key: &str| {
        secret
            .data
            .as_ref()
            .and_then(|d| d.get(key))
            .map(|b| b.0.as_slice())
    };
    if let Some(bytes) = data(".dockerconfigjson") {
        return serde_json::from_slice::<DockerConfig>(bytes)
            .unwrap_or_default()
            .auths;
    }
    data(".dockercfg")
        .and_then(|b| serde_json::from_slice(b).ok())
        .unwrap_or_default()
}

fn auth(entry: Entry) -> RegistryAuth {
    let decoded = base64::engine::general_purpose::STANDARD.decode(&entry.auth).ok();
    let text = decoded.and_then(|b| String::from_utf8(b).ok());
    let (username, password) = match text.as_deref().and_then(|t| t.split_once(':')) {
        Some((user, password)) => (user.to_owned(), password.trim_matches('\0').to_owned()),
        None => (entry.username, entry.password),
    };
    RegistryAuth {
        username,
        password,
        identity_token: entry.identitytoken,
    }
}

/// The whole name of an image: `nginx` is `docker.io/library/nginx:latest`.
pub fn whole_name(image: &str) -> String {
    let (registry, path) = registry_and_path(image);
    let digest = image.split_once('@').map(|(_, digest)| format!("@{digest}"));
    let tagged = path.rsplit('/').next().is_some_and(|last| last.contains(':'));
    match (digest, tagged) {
        (Some(digest), _) => format!("{registry}/{path}{digest}"),
        (None, true) => format!("{registry}/{path}"),
        (None, false) => format!("{registry}/{path}:latest"),
    }
}

/// A whole name without its tag or digest.
pub fn repository(name: &str) -> &str {
    let name = name.split('@').next().unwrap_or(name);
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

/// `nginx` is `docker.io` and `library/nginx`.
fn registry_and_path(image: &str) -> (String, String) {
    let image = image.split('@').next().unwrap_or(image);
    match image.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => {
            (host.to_owned(), rest.to_owned())
        }
        Some(_) => ("docker.io".into(), image.to_owned()),
        None => ("docker.io".into(), format!("library/{image}")),
    }
}

/// How many characters of path a server entry fixes, when it fits. A host may have `*` for a label.
fn fits(server: &str, registry: &str, path: &str) -> Option<usize> {
    let plain = server
        .trim_start_matches("https://")
        .trim_start_matches("http://");
    let (host, prefix) = plain.split_once('/').unwrap_or((plain, ""));
    let prefix = match prefix.trim_end_matches('/') {
        "v1" | "v2" => "",
        prefix => prefix,
    };
    let docker = |h: &str| matches!(h, "docker.io" | "index.docker.io" | "registry-1.docker.io");
    let same_host = (docker(host) && docker(registry)) || globs(host, registry);
    (same_host && path.starts_with(prefix)).then_some(prefix.len())
}

fn globs(pattern: &str, host: &str) -> bool {
    let (p, h): (Vec<&str>, Vec<&str>) = (pattern.split('.').collect(), host.split('.').collect());
    p.len() == h.len()
        && p.iter().zip(&h).all(|(p, h)| match p.split_once('*') {
            Some((start, end)) => {
                h.len() >= start.len() + end.len() && h.starts_with(start) && h.ends_with(end)
            }
            None => p == h,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn secret(config: serde_json::Value) -> Secret {
        let bytes = base64::engine::general_purpose::STANDARD.encode(config.to_string());
        serde_json::from_value(json!({"data": {".dockerconfigjson": bytes}})).unwrap()
    }

    #[test]
    fn short_names_are_completed() {
        assert_eq!(whole_name("nginx"), "docker.io/library/nginx:latest");
        assert_eq!(whole_name("a/b:1"), "docker.io/a/b:1");
        assert_eq!(
            whole_name("localhost:5000/x@sha256:1"),
            "localhost:5000/x@sha256:1"
        );
        assert_eq!(repository("localhost:5000/x:1"), "localhost:5000/x");
        assert_eq!(repository("localhost:5000/x@sha256:1"), "localhost:5000/x");
    }

    #[test]
    fn the_longest_fitting_entry_comes_first() {
        let s = secret(json!({"auths": {
            "reg.example.com": {"username": "a", "password": "1"},
            "https://reg.example.com/team/": {"auth": "Yjoy"},
            "https://index.docker.io/v1/": {"username": "d", "password": "3"},
            "*.io": {"username": "w", "password": "4"}}}));
        let users = |image: &str| -> Vec<String> {
            fitting([&s].into_iter(), image)
                .into_iter()
                .map(|c| format!("{}:{}", c.auth.username, c.auth.password))
                .collect()
        };
        assert_eq!(users("reg.example.com/team/app:1"), ["b:2", "a:1"]);
        assert_eq!(users("reg.example.com/other"), ["a:1"]);
        assert_eq!(users("nginx"), ["w:4", "d:3"]);
        assert_eq!(users("quay.io/x/y"), ["w:4"]);
        assert!(users("localhost:5000/x").is_empty());
    }
}
