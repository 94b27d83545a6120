//! Netlink, the kernel's socket for links, routes and nf_tables: a writer for its messages and a
//! socket that says which of the messages it was sent failed, and why.
//!
//! Ours because a pod's link must cost one or two system calls (a batch of messages in one `sendmsg`)
//! and because nf_tables needs its own encoder in any case.

mod message;
mod socket;

pub(crate) use message::{Messages, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, attributes};
pub(crate) use socket::{Failure, Socket};
