//! Links, addresses and routes, over rtnetlink.

mod message;
mod pod;
mod socket;

pub(crate) use message::Route;
pub(crate) use pod::{POD_INTERFACE, PodLink, host_name, lock, mac};
pub(crate) use socket::Links;
