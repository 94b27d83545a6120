//! One request for a resource, on its way through the verbs.

use std::sync::Mutex;

use http::HeaderMap;
use jiff::Timestamp;
use kobune_pki::Identity;
use serde_json::Value;

use super::row::Row;
use crate::http::info::RequestInfo;
use crate::http::negotiate::Answer;
use crate::http::query::Query;
use crate::server::Inner;

/// What the verbs know of a request.
pub struct Call<'a> {
    /// The server's state.
    pub server: &'a Inner,
    /// The resource.
    pub row: &'a Row,
    /// The path.
    pub info: &'a RequestInfo<'a>,
    /// The parameters.
    pub query: &'a Query<'a>,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The caller.
    pub who: &'a Identity,
    /// How it is answered.
    pub answer: Answer,
    /// Whether the caller is in this process.
    pub near: bool,
    /// When it came.
    pub now: Timestamp,
    /// What the caller should know although it worked; sent as `Warning` headers.
    pub warnings: Mutex<Vec<String>>,
}

impl Call<'_> {
    /// Adds a warning.
    pub fn warn(&self, text: impl Into<String>) {
        let mut warnings = self
            .warnings
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let text = text.into();
        if !warnings.contains(&text) {
            warnings.push(text);
        }
    }

    /// The key of the object that the path names.
    pub fn key(&self) -> std::sync::Arc<str> {
        self.row.key(self.info.namespace, self.info.name)
    }

    /// Reads a stored object into the served version.
    pub fn read(&self, bytes: &[u8]) -> Result<Value, kobune_api::status::Status> {
        let mut object: Value = serde_json::from_slice(bytes)
            .map_err(|error| kobune_api::status::Status::internal(format!("stored object: {error}")))?;
        if let Some(convert) = self.row.convert {
            convert.serve(&mut object);
        }
        Ok(object)
    }
}
