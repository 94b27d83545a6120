//! What a Kubernetes object is: kinds, schema, defaulting, validation, patches. Pure.

pub mod kinds;
pub mod schema;
