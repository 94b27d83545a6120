//! Service account tokens for projected volumes, bound to their pod, asked of the API server and
//! renewed when four fifths of their life are over.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kobune_client::k8s_openapi::api::authentication::v1::{
    BoundObjectReference, TokenRequest, TokenRequestSpec,
};
use kobune_client::k8s_openapi::api::core::v1::ServiceAccount;
use kobune_client::kube::{Api, Client, api::PostParams};

use crate::pod::desired::Desired;
use crate::volume::{TokenNeed, tokens_needed};

/// A pod's tokens by volume and path, or why there is none.
pub type Tokens = BTreeMap<(String, String), Result<String, String>>;

/// The tokens one pod has.
#[derive(Debug, Default)]
pub struct TokenStore {
    held: BTreeMap<(String, String), Held>,
}

#[derive(Debug, Clone)]
struct Held {
    token: String,
    renew_at: Timestamp,
}

impl TokenStore {
    /// The tokens the pod needs now: those held, and new ones for what is missing or getting old.
    pub async fn get(&mut self, client: &Client, pod: &Desired) -> Tokens {
        let mut tokens = Tokens::new();
        for need in tokens_needed(pod) {
            let key = (need.volume.clone(), need.path.clone());
            let now = Timestamp::now();
            let token = match self.held.get(&key).filter(|h| now < h.renew_at) {
                Some(held) => Ok(held.token.clone()),
                None => self.renew(client, pod, &need, &key, now).await,
            };
            tokens.insert(key, token);
        }
        tokens
    }

    async fn renew(
        &mut self,
        client: &Client,
        pod: &Desired,
        need: &TokenNeed,
        key: &(String, String),
        now: Timestamp,
    ) -> Result<String, String> {
        match request(client, pod, need).await {
            Ok((token, expires)) => {
                let life = expires.duration_since(now);
                let renew_at = now.checked_add(life * 4 / 5).unwrap_or(expires);
                self.held.insert(
                    key.clone(),
                    Held {
                        token: token.clone(),
                        renew_at,
                    },
                );
                Ok(token)
            }
            // An old one is good until it expires; the next try is at the next look.
            Err(message) => match self.held.get_mut(key) {
                Some(held) => {
                    tracing::warn!(pod = %pod.full_name(), %message, "renewing a token failed");
                    held.renew_at = now.checked_add(SignedDuration::from_secs(30)).unwrap_or(now);
                    Ok(held.token.clone())
                }
                None => Err(message),
            },
        }
    }

    /// When the first of them has to be renewed.
    pub fn next_renewal(&self) -> Option<Timestamp> {
        self.held.values().map(|h| h.renew_at).min()
    }
}

async fn request(client: &Client, pod: &Desired, need: &TokenNeed) -> Result<(String, Timestamp), String> {
    let api: Api<ServiceAccount> = Api::namespaced(client.clone(), pod.namespace());
    let account = pod
        .spec()
        .service_account_name
        .as_deref()
        .filter(|n| !n.is_empty())
        .unwrap_or("default");
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: (!need.audience.is_empty()).then(|| vec![need.audience.clone()]),
            expiration_seconds: Some(need.expiration_seconds),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Pod".into()),
                name: Some(pod.name().to_owned()),
                uid: Some(pod.uid().to_owned()),
            }),
        }),
        ..TokenRequest::default()
    };
    let params = PostParams::default();
    let call = api.create_token_request(account, &params, &request);
    let answer = match tokio::time::timeout(Duration::from_secs(10), call).await {
        Ok(answer) => answer.map_err(|e| e.to_string())?,
        Err(_) => return Err("timed out waiting for the API server".into()),
    };
    let status = answer.status.ok_or("the API server answered without a token")?;
    match (status.token, status.expiration_timestamp) {
        (Some(token), Some(expires)) => Ok((token, expires.0)),
        _ => Err("the API server answered without a token".into()),
    }
}
