//! What a Kubernetes object is: kinds, schema, defaulting, validation, patches. Pure.
