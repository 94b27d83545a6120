//! OpenAPI v2 and v3: the documents of the schema tables, with their content types and etags.

use http::Response;
use http::request::Parts;

use crate::http::body::Body;
use crate::http::query::Query;
use crate::server::no_such_path;

/// Answers a path under `/openapi`.
pub fn answer(_path: &str, _parts: &Parts, _query: &Query<'_>) -> Response<Body> {
    no_such_path()
}
