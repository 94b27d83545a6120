//! The client of the OCI distribution API: one repository at one or more endpoints.

mod auth;
mod blob;
pub(crate) mod config;
mod http;
mod proxy;
mod route;
mod tls;

use std::path::Path;

use ::http::header::{ACCEPT, CONTENT_TYPE};
use ::http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use kobune_runtime::{Error, RegistryAuth, Result};

use auth::Authorization;
use config::{Endpoint, Registries};
use http::Client;
pub use proxy::Proxies;

use super::config::digest;
use super::manifest::{DOCKER_LIST, DOCKER_MANIFEST, Descriptor, OCI_INDEX, OCI_MANIFEST};
use super::reference::Reference;

const MANIFEST_LIMIT: usize = 8 << 20;

/// A repository of a registry, with its mirrors.
pub(crate) struct Repository {
    places: Vec<Place>,
    /// How many credentials were offered; a place may have more of its own.
    offered: usize,
}

/// A repository at one endpoint.
struct Place {
    endpoint: Endpoint,
    client: Client,
    authorization: Authorization,
}

impl Repository {
    /// Reads `registries.yaml` and the machine's certificates; nothing is asked yet.
    pub(crate) fn open(
        reference: &Reference,
        auth: &[RegistryAuth],
        registries: Option<&Path>,
        proxies: &Proxies,
    ) -> Result<Self> {
        let registries = Registries::read(registries)?;
        let endpoints = registries.endpoints(&reference.domain, &reference.path)?;
        let places = endpoints.into_iter().map(|endpoint| {
            let mut credentials = auth.to_vec();
            credentials.extend(endpoint.auth.clone());
            Ok(Place {
                client: Client::new(&endpoint, proxies.clone()),
                authorization: Authorization::new(credentials),
                endpoint,
            })
        });
        Ok(Self {
            places: places.collect::<Result<_>>()?,
            offered: auth.len(),
        })
    }

    /// A manifest or index by tag or digest, from the first place that has it. A digest is verified.
    pub(crate) async fn manifest(&self, identifier: &str) -> Result<(Descriptor, Vec<u8>)> {
        self.target(identifier).await.map(|found| found.0)
    }

    /// As [`Repository::manifest`], and which of the credentials offered the place accepted.
    pub(crate) async fn target(&self, identifier: &str) -> Result<((Descriptor, Vec<u8>), Option<usize>)> {
        let mut failures = Vec::new();
        for place in &self.places {
            match place.manifest(identifier).await {
                Ok(found) => {
                    let accepted = place.authorization.accepted().await;
                    return Ok((found, accepted.filter(|number| *number < self.offered)));
                }
                Err(error) => failures.push(error),
            }
        }
        Err(worst(failures))
    }
}

/// The last place is the registry itself: what it says counts, the mirrors' words come along.
fn worst(mut failures: Vec<Error>) -> Error {
    match (failures.pop(), failures.is_empty()) {
        (Some(last), true) => last,
        (Some(last), false) => {
            let others: Vec<String> = failures.iter().map(Error::to_string).collect();
            Error::other(others.join("; "), last)
        }
        (None, _) => Error::other("looking for a registry", "no endpoint is configured"),
    }
}

impl Place {
    async fn manifest(&self, identifier: &str) -> Result<(Descriptor, Vec<u8>)> {
        let url = self.endpoint.url("manifests", identifier);
        let doing = || format!("failed to resolve reference {url:?}");
        let mut headers = HeaderMap::new();
        let accepted = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST].join(", ");
        headers.insert(
            ACCEPT,
            HeaderValue::from_str(&accepted).map_err(|error| Error::other(doing(), error))?,
        );
        let answer = self
            .get(&url, headers)
            .await
            .map_err(|error| Error::other(doing(), error))?;
        let media_type = answer
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let media_type = media_type
            .unwrap_or_default()
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned();
        let body = http_body_util::Limited::new(answer.into_body(), MANIFEST_LIMIT)
            .collect()
            .await;
        let bytes = body
            .map_err(|error| Error::other(doing(), error))?
            .to_bytes()
            .to_vec();
        let found = digest(&bytes);
        if identifier.contains(':') && identifier != found {
            return Err(Error::other(
                doing(),
                format!("the registry sent {found} instead"),
            ));
        }
        let media_type = true_media_type(&bytes, media_type).map_err(|error| Error::other(doing(), error))?;
        let size = bytes.len() as u64;
        Ok((
            Descriptor {
                media_type,
                digest: found,
                size,
                ..Default::default()
            },
            bytes,
        ))
    }

    /// A request with whatever authorization is needed; an answer that is not a success is an error.
    async fn get(&self, url: &str, headers: HeaderMap) -> Result<http::Answer> {
        let answer = self.authorization.send(&self.client, url, &headers).await?;
        match answer.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(answer),
            status => Err(Error::other(format!("GET {url}"), refusal(status, answer).await)),
        }
    }
}

/// The registry's own words, in the CRI's form.
async fn refusal(status: StatusCode, answer: http::Answer) -> String {
    #[derive(serde::Deserialize)]
    struct Refusal {
        errors: Vec<Reason>,
    }
    #[derive(serde::Deserialize)]
    struct Reason {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let body = http_body_util::Limited::new(answer.into_body(), 64 << 10)
        .collect()
        .await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    let reasons = serde_json::from_slice::<Refusal>(&body)
        .map(|refusal| refusal.errors)
        .unwrap_or_default();
    let reasons: Vec<String> = reasons
        .iter()
        .map(|reason| format!("{}: {}", reason.code, reason.message))
        .collect();
    let kind = match status {
        StatusCode::NOT_FOUND => "not found",
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "pull access denied, repository does not exist or may require authorization"
        }
        StatusCode::TOO_MANY_REQUESTS => "too many requests",
        _ => "unexpected status",
    };
    let reasons = if reasons.is_empty() {
        String::new()
    } else {
        format!(": {}", reasons.join(", "))
    };
    format!("{kind} ({status}){reasons}")
}

/// What the bytes say they are outweighs the header: a registry may not know the type.
fn true_media_type(bytes: &[u8], header: String) -> Result<String, serde_json::Error> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Shape {
        media_type: Option<String>,
        manifests: Option<serde::de::IgnoredAny>,
    }
    let shape: Shape = serde_json::from_slice(bytes)?;
    Ok(match shape.media_type {
        Some(media_type) if !media_type.is_empty() => media_type,
        _ if [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST].contains(&header.as_str()) => header,
        _ if shape.manifests.is_some() => OCI_INDEX.into(),
        _ => OCI_MANIFEST.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_without_a_type_is_known_by_its_shape() {
        let kind = |text: &str, header: &str| true_media_type(text.as_bytes(), header.into()).unwrap();
        assert_eq!(kind(r#"{"manifests":[]}"#, "text/plain"), OCI_INDEX);
        assert_eq!(kind(r#"{"layers":[]}"#, "application/json"), OCI_MANIFEST);
        assert_eq!(
            kind(
                r#"{"mediaType":"application/vnd.docker.distribution.manifest.v2+json"}"#,
                OCI_INDEX
            ),
            DOCKER_MANIFEST
        );
    }
}
