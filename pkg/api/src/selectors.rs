//! Label selectors and field selectors: parsing with upstream's messages, and matching.

mod fields;
mod labels;
mod parse;

pub use fields::{FieldRequirement, FieldSelector, escape_field_value};
pub use labels::{LabelSelector, Labels, Operator, Requirement};

/// Why a selector was not understood; the text is upstream's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub String);
