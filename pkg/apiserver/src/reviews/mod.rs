//! Reviews: questions about identity and permission, answered and not stored.

pub mod token;

use bytes::Bytes;
use http::{Response, StatusCode};
use kobune_api::kinds::Kind;
use kobune_api::status::Status;
use kobune_pki::Identity;
use serde_json::{Map, Value, json};

use crate::authz::Attributes;
use crate::http::body::Body;
use crate::object::{elements, restore, text};
use crate::registry::call::Call;
use crate::registry::options::WriteOptions;
use crate::registry::{output, update};

/// Whether a kind is a question.
pub fn is_review(kind: &Kind) -> bool {
    matches!(&*kind.group, "authorization.k8s.io" | "authentication.k8s.io") || &*kind.plural == "bindings"
}

/// POST of a review, or of a legacy Binding.
pub async fn create(call: &Call<'_>, body: Bytes) -> Result<Response<Body>, Status> {
    let kind = &*call.row.kind.kind;
    if kind == "Binding" {
        return crate::strategy::pods::binding::bind_legacy(call, body).await;
    }
    let options = WriteOptions::parse(call.query, "CreateOptions")?;
    let mut review = update::decode(call, &body, options.validation)?;
    let status = match kind {
        "SelfSubjectReview" => json!({"userInfo": user_info(call.who)}),
        "TokenReview" => token::review(call, text(&review, &["spec", "token"])),
        "SelfSubjectRulesReview" => rules(call),
        "SelfSubjectAccessReview" => access(call, call.who, &review),
        "SubjectAccessReview" | "LocalSubjectAccessReview" => {
            let who = subject(&review)?;
            access(call, &who, &review)
        }
        _ => return Err(Status::method_not_allowed()),
    };
    let fresh = json!({ "status": status });
    restore(&mut review, &fresh, "status");
    Ok(output::value(call, StatusCode::CREATED, &review))
}

/// `authentication.k8s.io/v1 UserInfo`
pub fn user_info(who: &Identity) -> Value {
    let mut info = json!({"username": who.user, "groups": who.groups});
    if let Some(uid) = &who.uid {
        info["uid"] = uid.as_str().into();
    }
    if !who.extra.is_empty() {
        let extra: Map<String, Value> = who
            .extra
            .iter()
            .map(|(key, values)| (key.clone(), json!(values)))
            .collect();
        info["extra"] = extra.into();
    }
    info
}

fn subject(review: &Value) -> Result<Identity, Status> {
    let user = text(review, &["spec", "user"]);
    let groups: Vec<&str> = elements(review, &["spec", "groups"])
        .iter()
        .filter_map(Value::as_str)
        .collect();
    if user.is_empty() && groups.is_empty() {
        return Err(Status::bad_request(
            "at least one of user or group must be specified",
        ));
    }
    let mut who = Identity::new(user, &groups);
    who.uid = review
        .pointer("/spec/uid")
        .and_then(Value::as_str)
        .map(str::to_owned);
    Ok(who)
}

fn access(call: &Call<'_>, who: &Identity, review: &Value) -> Value {
    let spec = &review["spec"];
    let resource = &spec["resourceAttributes"];
    let path = &spec["nonResourceAttributes"];
    let is_resource = resource.is_object();
    let of = |field| text(if is_resource { resource } else { path }, &[field]);
    let wanted = Attributes {
        who,
        verb: of("verb"),
        is_resource,
        group: of("group"),
        resource: of("resource"),
        subresource: of("subresource"),
        namespace: of("namespace"),
        name: of("name"),
        path: of("path"),
    };
    json!({"allowed": call.server.chain.allows(&wanted)})
}

/// What is known of the caller's rules: all, for who may do all; else that the list is not complete.
fn rules(call: &Call<'_>) -> Value {
    if call.who.is_in("system:masters") {
        return json!({
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": false,
        });
    }
    json!({
        "resourceRules": [
            {"verbs": ["create"], "apiGroups": ["authorization.k8s.io"],
             "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]},
            {"verbs": ["create"], "apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"]}],
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": [
            "/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz", "/version"]}],
        "incomplete": true,
        "evaluationError": "the rules of cluster components are not listed",
    })
}
