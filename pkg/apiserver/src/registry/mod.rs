//! The verbs, one path for all kinds.
//!
//! A request meets the row of its resource; what the row's strategy does not change is done here.

pub mod apply;
pub mod call;
pub mod create;
pub mod delete;
pub mod encode;
pub mod index;
pub mod list;
pub mod options;
pub mod output;
pub mod partial;
pub mod patch;
pub mod row;
pub mod scale;
pub mod table;
pub mod update;
pub mod watch;
