//! Tokens of service accounts: `serviceaccounts/token` makes them, TokenReview reads them.

use bytes::Bytes;
use http::Response;
use kobune_api::status::Status;
use serde_json::{Value, json};

use crate::http::body::Body;
use crate::registry::call::Call;

/// POST of `serviceaccounts/{name}/token`.
pub async fn create(_call: &Call<'_>, _body: Bytes) -> Result<Response<Body>, Status> {
    Err(Status::method_not_allowed())
}

/// The status of a TokenReview.
pub fn review(call: &Call<'_>, token: &str) -> Value {
    match call.server.tokens.iter().find_map(|known| known.identity(token)) {
        Some(identity) => json!({"authenticated": true, "user": super::user_info(&identity)}),
        None => json!({"authenticated": false, "user": {}, "error": "invalid bearer token"}),
    }
}
