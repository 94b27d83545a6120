//! The types of Kubernetes' API: which fields an object has, how they merge, default and travel.

/// The committed table every part of this crate reads (see `generate/`).
pub(crate) const TABLE: &str = include_str!("v1_36.txt");

/// Names one object type of a schema. Cheap to copy and to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeId(pub(crate) u32);
