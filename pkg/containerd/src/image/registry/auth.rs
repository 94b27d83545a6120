//! Who we say we are to a registry: it challenges, we answer with a token or a password.
//!
//! Credentials are tried in their order, then none; what worked is used from then on.

use base64::Engine;
use http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use kobune_runtime::{Error, RegistryAuth, Result};
use tokio::sync::Mutex;

use super::http::{Answer, Client};

/// The state of one endpoint.
pub(crate) struct Authorization {
    credentials: Vec<RegistryAuth>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Which credentials are in use; their number and after it: none.
    next: usize,
    header: Option<HeaderValue>,
    /// The header was accepted once: a later refusal means that it is too old.
    worked: bool,
}

impl Authorization {
    pub(crate) fn new(credentials: Vec<RegistryAuth>) -> Self {
        Self {
            credentials,
            state: Mutex::default(),
        }
    }

    /// GET, answering challenges until one is accepted or all credentials are used up.
    pub(crate) async fn send(&self, client: &Client, url: &str, headers: &HeaderMap) -> Result<Answer> {
        // One refusal for each credential, none, and an old token.
        for _ in 0..self.credentials.len() + 3 {
            let header = self.state.lock().await.header.clone();
            let mut headers = headers.clone();
            if let Some(header) = &header {
                headers.insert(AUTHORIZATION, header.clone());
            }
            let answer = client.get(url, &headers).await?;
            let refused = matches!(answer.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
            if !refused {
                self.state.lock().await.worked |= header.is_some();
                return Ok(answer);
            }
            let challenge = answer
                .headers()
                .get_all(WWW_AUTHENTICATE)
                .iter()
                .filter_map(|value| value.to_str().ok());
            let Some(challenge) = challenge.filter_map(Challenge::parse).next() else {
                return Ok(answer);
            };
            if !self.answer(client, &challenge, header).await? {
                return Ok(answer);
            }
        }
        Err(Error::other(
            format!("GET {url}"),
            "the registry refuses all credentials",
        ))
    }

    /// Which of the credentials the registry accepted; `None` if it wanted none.
    pub(crate) async fn accepted(&self) -> Option<usize> {
        let state = self.state.lock().await;
        let used = state.worked && state.header.is_some();
        (used && state.next < self.credentials.len()).then_some(state.next)
    }

    /// Prepares the next header; false when there is none left.
    async fn answer(
        &self,
        client: &Client,
        challenge: &Challenge,
        refused: Option<HeaderValue>,
    ) -> Result<bool> {
        let mut state = self.state.lock().await;
        if state.header != refused {
            return Ok(true); // Another request has found a new one meanwhile.
        }
        if !state.worked && state.header.is_some() {
            state.next += 1;
        }
        state.worked = false;
        let mut last = None;
        while state.next <= self.credentials.len() {
            let credentials = self.credentials.get(state.next);
            match challenge.header(client, credentials).await {
                Ok(Some(header)) => {
                    state.header = Some(header);
                    return Ok(true);
                }
                Ok(None) => {}
                Err(error) => last = Some(error),
            }
            state.next += 1;
        }
        last.map_or(Ok(false), Err)
    }
}

/// `WWW-Authenticate`
#[derive(Debug, PartialEq)]
enum Challenge {
    Basic,
    Bearer {
        realm: String,
        service: String,
        scope: String,
    },
}

impl Challenge {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service, mut scope) = (String::new(), String::new(), String::new());
        for (name, value) in parameters(rest) {
            match name.as_str() {
                "realm" => realm = value,
                "service" => service = value,
                "scope" => scope = value,
                _ => {}
            }
        }
        (!realm.is_empty()).then_some(Self::Bearer {
            realm,
            service,
            scope,
        })
    }

    /// The header for these credentials; `None` if they do not fit the challenge.
    async fn header(
        &self,
        client: &Client,
        credentials: Option<&RegistryAuth>,
    ) -> Result<Option<HeaderValue>> {
        match (self, credentials) {
            (Self::Basic, Some(credentials)) if !credentials.username.is_empty() => {
                basic(credentials).map(Some)
            }
            (Self::Basic, _) => Ok(None),
            (
                Self::Bearer {
                    realm,
                    service,
                    scope,
                },
                credentials,
            ) => {
                let answer = match credentials.filter(|credentials| !credentials.identity_token.is_empty()) {
                    Some(credentials) => {
                        client
                            .post_form(realm, refresh_form(credentials, service, scope))
                            .await?
                    }
                    None => {
                        let mut headers = HeaderMap::new();
                        if let Some(credentials) =
                            credentials.filter(|credentials| !credentials.username.is_empty())
                        {
                            headers.insert(AUTHORIZATION, basic(credentials)?);
                        }
                        client.get(&token_url(realm, service, scope), &headers).await?
                    }
                };
                token(realm, answer).await.map(Some)
            }
        }
    }
}

/// `name="value"` pairs; values may hold commas.
fn parameters(mut text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    while let Some((name, rest)) = text.split_once('=') {
        let name = name.trim().trim_start_matches(',').trim().to_ascii_lowercase();
        let rest = rest.trim_start();
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_once(',').unwrap_or((rest, "")),
        };
        found.push((name, value.trim().to_owned()));
        text = rest;
    }
    found
}

fn basic(credentials: &RegistryAuth) -> Result<HeaderValue> {
    let pair = format!("{}:{}", credentials.username, credentials.password);
    let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
    sensitive(format!("Basic {encoded}"))
}

fn sensitive(text: String) -> Result<HeaderValue> {
    let mut value =
        HeaderValue::try_from(text).map_err(|error| Error::other("making an Authorization header", error))?;
    value.set_sensitive(true);
    Ok(value)
}

fn token_url(realm: &str, service: &str, scope: &str) -> String {
    let joint = if realm.contains('?') { '&' } else { '?' };
    let mut url = format!("{realm}{joint}service={}", encode(service));
    for scope in scope.split(' ').filter(|scope| !scope.is_empty()) {
        url.push_str("&scope=");
        url.push_str(&encode(scope));
    }
    url
}

fn refresh_form(credentials: &RegistryAuth, service: &str, scope: &str) -> String {
    format!(
        "grant_type=refresh_token&client_id=kobune&service={}&scope={}&refresh_token={}",
        encode(service),
        encode(scope),
        encode(&credentials.identity_token)
    )
}

fn encode(text: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            other => drop(write!(out, "%{other:02X}")),
        }
    }
    out
}

async fn token(realm: &str, answer: Answer) -> Result<HeaderValue> {
    #[derive(serde::Deserialize, Default)]
    #[serde(default)]
    struct Token {
        token: String,
        access_token: String,
    }
    let doing = || format!("failed to fetch a token from {realm}");
    if !answer.status().is_success() {
        return Err(Error::other(
            doing(),
            format!("authorization failed: {}", answer.status()),
        ));
    }
    let body = http_body_util::Limited::new(answer.into_body(), 1 << 20)
        .collect()
        .await;
    let body = body.map_err(|error| Error::other(doing(), error))?.to_bytes();
    let token: Token = serde_json::from_slice(&body).map_err(|error| Error::other(doing(), error))?;
    let token = if token.token.is_empty() {
        token.access_token
    } else {
        token.token
    };
    if token.is_empty() {
        return Err(Error::other(doing(), "the answer has no token"));
    }
    sensitive(format!("Bearer {token}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_with_commas_in_its_scope_is_understood() {
        let text = r#"Bearer realm="https://auth.example/token",service="registry",scope="repository:a/b:pull,push""#;
        assert_eq!(
            Challenge::parse(text).unwrap(),
            Challenge::Bearer {
                realm: "https://auth.example/token".into(),
                service: "registry".into(),
                scope: "repository:a/b:pull,push".into(),
            }
        );
        assert_eq!(Challenge::parse("Basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(Challenge::parse("Negotiate"), None);
    }

    #[test]
    fn a_token_is_asked_for_each_scope() {
        assert_eq!(
            token_url("http://a/t", "s", "repository:a:pull x"),
            "http://a/t?service=s&scope=repository%3Aa%3Apull&scope=x"
        );
    }
}
