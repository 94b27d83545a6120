//! What a Kubernetes object is: kinds, schema, defaulting, validation, patches. Pure.

pub mod fields;
pub mod kinds;
pub mod meta;
pub mod names;
pub mod schema;
pub mod selectors;
pub mod status;
