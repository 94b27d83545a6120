//! The transport: connections, request paths and queries, negotiation, bodies.

pub mod body;
pub mod info;
pub mod listen;
pub mod negotiate;
pub mod query;
pub mod read;
pub mod respond;
