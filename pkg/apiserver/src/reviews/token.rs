//! Tokens of service accounts: `serviceaccounts/token` makes them, the bearer link and TokenReview
//! read them.

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use kobune_api::fields::FieldError;
use kobune_api::meta::{self, Meta};
use kobune_api::status::Status;
use kobune_pki::{Authorities, Identity};
use kobune_store::Store;
use serde_json::{Value, json};

use crate::authn::Tokens;
use crate::http::body::Body;
use crate::object::{elements, fields, integer, text};
use crate::registry::call::Call;
use crate::registry::options::WriteOptions;
use crate::registry::output;
use crate::rules;

/// Seconds a token lives when nobody says how long, and the bounds of what may be said.
const LIFE: i64 = 3600;
const SHORTEST: i64 = 600;
const LONGEST: i64 = 1 << 32;

/// POST of `serviceaccounts/{name}/token`.
pub async fn create(call: &Call<'_>, body: Bytes) -> Result<Response<Body>, Status> {
    let options = WriteOptions::parse(call.query, "CreateOptions")?;
    let mut request = rules::decode_part(call, &body, options.validation)?;
    let Some(record) = call.server.store.get(&call.key()) else {
        return Err(Status::not_found(call.row.resource(), call.info.name));
    };
    let account = call.read(&record.value)?;
    let issuer = &call.server.config.issuer;
    let life = integer(&request, &["spec", "expirationSeconds"]).unwrap_or(LIFE);
    check_life(call, life)?;
    let mut audiences: Vec<&str> = elements(&request, &["spec", "audiences"])
        .iter()
        .filter_map(Value::as_str)
        .collect();
    if audiences.is_empty() {
        audiences.push(issuer);
    }
    let end = call
        .now
        .checked_add(SignedDuration::from_secs(life))
        .unwrap_or(call.now);
    let mut own = json!({"namespace": call.info.namespace,
        "serviceaccount": {"name": call.info.name, "uid": meta::uid(&account)}});
    bind(call, &request, &mut own)?;
    let claims = json!({"aud": audiences, "iss": issuer, "jti": call.server.new_uid(),
        "sub": format!("system:serviceaccount:{}:{}", call.info.namespace, call.info.name),
        "iat": call.now.as_second(), "nbf": call.now.as_second(), "exp": end.as_second(),
        "kubernetes.io": own});
    let key = &call.server.config.authorities.service_account;
    let token = key
        .sign(&claims)
        .map_err(|error| Status::internal(crate::describe(&error)))?;
    let audiences = json!(audiences);
    let spec = fields(&mut request, "spec");
    spec.insert("audiences".to_owned(), audiences);
    spec.insert("expirationSeconds".to_owned(), life.into());
    let status = json!({"token": token, "expirationTimestamp": meta::time(end)});
    let outer = crate::object::as_map(&mut request);
    outer.insert("apiVersion".to_owned(), "authentication.k8s.io/v1".into());
    outer.insert("kind".to_owned(), "TokenRequest".into());
    outer.insert("status".to_owned(), status);
    meta::set(&mut request, "name", call.info.name);
    meta::set(&mut request, "namespace", call.info.namespace);
    Ok(output::value(call, StatusCode::CREATED, &request))
}

fn check_life(call: &Call<'_>, life: i64) -> Result<(), Status> {
    let why = match life {
        _ if life < SHORTEST => "may not specify a duration less than 10 minutes",
        _ if life > LONGEST => "may not specify a duration larger than 2^32 seconds",
        _ => return Ok(()),
    };
    let error = FieldError::invalid("spec.expirationSeconds", life, why);
    Err(Status::invalid(
        ("authentication.k8s.io", "TokenRequest"),
        call.info.name,
        &[error],
    ))
}

/// A token may be bound to a pod or a secret: it ends with it.
fn bind(call: &Call<'_>, request: &Value, own: &mut Value) -> Result<(), Status> {
    let bound = &request["spec"]["boundObjectRef"];
    let (kind, name) = (text(bound, &["kind"]), text(bound, &["name"]));
    let plural = match kind {
        "" => return Ok(()),
        "Pod" => "pods",
        "Secret" => "secrets",
        _ => {
            return Err(Status::bad_request(format!(
                "cannot bind token for serviceaccount to object of type {kind}"
            )));
        }
    };
    let key = format!("/registry/core/{plural}/{}/{name}", call.info.namespace);
    let Some(record) = call.server.store.get(&key) else {
        return Err(Status::not_found(("", plural), name));
    };
    let object = call.read(&record.value)?;
    let asked = text(bound, &["uid"]);
    if !asked.is_empty() && asked != meta::uid(&object) {
        return Err(Status::uid_mismatch(
            ("", plural),
            name,
            asked,
            meta::uid(&object),
        ));
    }
    own[kind.to_ascii_lowercase()] = json!({"name": name, "uid": meta::uid(&object)});
    let node = text(&object, &["spec", "nodeName"]);
    if kind == "Pod" && !node.is_empty() {
        own["node"] = json!({ "name": node });
    }
    Ok(())
}

/// The status of a TokenReview.
pub fn review(call: &Call<'_>, token: &str) -> Value {
    match call.server.tokens.iter().find_map(|known| known.identity(token)) {
        Some(identity) => json!({"authenticated": true, "user": super::user_info(&identity),
            "audiences": [call.server.config.issuer]}),
        None => json!({"authenticated": false, "user": {}, "error": "invalid bearer token"}),
    }
}

/// The link of authentication that knows the tokens made here.
pub struct ServiceAccountTokens {
    /// Whose key signed them.
    pub authorities: Arc<Authorities>,
    /// Where the accounts are, and what tokens are bound to.
    pub store: Store,
    /// The one issuer and audience that is believed.
    pub issuer: String,
}

impl ServiceAccountTokens {
    /// Whether the object is there and still the same.
    fn lives(&self, plural: &str, namespace: &str, named: &Value) -> bool {
        let key = format!("/registry/core/{plural}/{namespace}/{}", text(named, &["name"]));
        let record = self.store.get(&key);
        record.is_some_and(|record| {
            Meta::parse(&record.value).is_ok_and(|there| &*there.metadata.uid == text(named, &["uid"]))
        })
    }
}

impl Tokens for ServiceAccountTokens {
    fn identity(&self, token: &str) -> Option<Identity> {
        let claims = self.authorities.service_account.verify(token).ok()?;
        let now = Timestamp::now().as_second();
        let in_time = integer(&claims, &["nbf"])? <= now && now < integer(&claims, &["exp"])?;
        let ours = text(&claims, &["iss"]) == self.issuer;
        let heard = elements(&claims, &["aud"])
            .iter()
            .any(|audience| *audience == *self.issuer);
        if !(in_time && ours && heard) {
            return None;
        }
        let own = claims.get("kubernetes.io")?;
        let (namespace, account) = (text(own, &["namespace"]), own.get("serviceaccount")?);
        let bound = |kind: &str, plural| {
            own.get(kind)
                .is_none_or(|named| self.lives(plural, namespace, named))
        };
        if !(self.lives("serviceaccounts", namespace, account)
            && bound("pod", "pods")
            && bound("secret", "secrets"))
        {
            return None;
        }
        let uid = Some(text(account, &["uid"]).to_owned());
        let mut identity = Identity::service_account(namespace, text(account, &["name"]), uid);
        identity.groups.push("system:authenticated".to_owned());
        identity.groups.dedup();
        if let Some(pod) = own.get("pod") {
            let mut put = |key: &str, value: &str| {
                identity.extra.insert(key.to_owned(), vec![value.to_owned()]);
            };
            put("authentication.kubernetes.io/pod-name", text(pod, &["name"]));
            put("authentication.kubernetes.io/pod-uid", text(pod, &["uid"]));
        }
        Some(identity)
    }
}
