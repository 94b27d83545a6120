//! Selection: which stored objects a request means.
//!
//! Labels are read once per record and kept beside its bytes; fields are probed in the bytes.

use kobune_api::field_labels::FieldMatcher;
use kobune_api::meta::{Meta, Summary};
use kobune_api::selectors::{FieldSelector, LabelSelector, SelectorError};
use kobune_api::status::Status;
use kobune_store::Record;

use super::row::Row;
use crate::http::query::Query;

/// The label and the field selector of one request.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    labels: Option<LabelSelector>,
    fields: Option<FieldMatcher>,
}

impl Selection {
    /// Reads both selectors from a query; fields that the kind cannot be selected by are refused.
    pub fn parse(row: &Row, query: &Query<'_>) -> Result<Self, Status> {
        let bad = |error: SelectorError| Status::bad_request(error.to_string());
        let labels = query.text("labelSelector").map(LabelSelector::parse).transpose();
        let fields = query.text("fieldSelector").map(FieldSelector::parse).transpose();
        let fields = fields.and_then(|fields| {
            fields
                .map(|selector| FieldMatcher::new(&row.kind, &selector))
                .transpose()
        });
        Ok(Self {
            labels: labels.map_err(bad)?.filter(|selector| !selector.is_everything()),
            fields: fields.map_err(bad)?.filter(|matcher| !matcher.is_everything()),
        })
    }

    /// Whether every object matches.
    pub fn is_everything(&self) -> bool {
        self.labels.is_none() && self.fields.is_none()
    }

    /// Whether a record matches.
    pub fn matches(&self, record: &Record) -> bool {
        self.labels
            .as_ref()
            .is_none_or(|selector| selector.matches(summary(record)))
            && self
                .fields
                .as_ref()
                .is_none_or(|matcher| matcher.matches_bytes(&record.value))
    }

    /// The one name that is selected, if there is one.
    pub fn name(&self) -> Option<&str> {
        self.fields.as_ref()?.name.as_deref()
    }

    /// The one namespace that is selected, if there is one.
    pub fn namespace(&self) -> Option<&str> {
        self.fields.as_ref()?.namespace.as_deref()
    }
}

/// The memo of every record. Bytes that cannot be read have no labels.
fn summary(record: &Record) -> &Summary {
    record.memo(|bytes| {
        let meta = Meta::parse(bytes);
        meta.map(|meta| Summary::from(&meta.metadata)).unwrap_or_default()
    })
}
