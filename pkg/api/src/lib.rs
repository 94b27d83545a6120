//! What a Kubernetes object is: kinds, schema, defaulting, validation, patches. Pure.

pub mod apply;
pub mod decode;
pub mod defaults;
pub mod field_labels;
pub mod fields;
pub mod kinds;
pub mod merge;
pub mod meta;
pub mod names;
pub mod openapi;
pub mod protobuf;
pub mod quantity;
pub mod schema;
pub mod selectors;
pub mod status;
pub mod table;
pub mod validate;
