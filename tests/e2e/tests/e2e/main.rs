//! What a user of kubectl does with kobune, on a real node with real containers.
//!
//! All tests share one server; each works in a namespace of its own. Tests that stop or starve a
//! server have one for themselves. Start this with `tests/run e2e`.

mod configuration;
mod faults;
mod foreign;
mod images;
mod interaction;
mod isolation;
mod leftovers;
mod lifecycle;
mod node;
mod power;
mod service;
mod shared;
mod workloads;
