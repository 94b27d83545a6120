//! Connections through the API server: logs, exec, attach, port-forward, proxy.

use http::Response;
use http::request::Parts;
use kobune_api::status::Status;

use crate::http::body::{Body, RequestBody};
use crate::registry::call::Call;

/// Answers a connection.
pub async fn connect(_call: &Call<'_>, _parts: &Parts, _body: RequestBody) -> Result<Response<Body>, Status> {
    Err(Status::method_not_allowed())
}
