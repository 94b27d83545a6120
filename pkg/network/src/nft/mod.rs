//! nf_tables over netlink: a small encoder for tables, chains, rules, sets, maps and verdict maps of
//! the `ip` family, sent as one batch that takes effect as a whole or not at all.
//!
//! No external program, no C library. Only the table a [`Batch`] was made for can be touched.

mod batch;
mod constants;
mod describe;
mod elements;
mod rule;
mod transaction;

pub use batch::{AnonymousMap, AnonymousSet, Batch, ChainKind, Hook, SetKind};
pub use elements::{Element, Verdict, concat};
pub use rule::Rule;
pub use transaction::{NftError, NftSocket};
