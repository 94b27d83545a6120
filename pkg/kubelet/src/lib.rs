//! The pods of this node.
pub mod streams;
