//! What clients of the Kubernetes API do with kobune: kubectl, curl and the Python client, on a server
//! without a node.
//!
//! All tests share one server; each works in a namespace of its own. Tests that stop a server have one
//! for themselves. Start this with `tests/run integration`.

mod access;
mod addresses;
mod apply;
mod bad_input;
mod beginnings;
mod budgets;
mod configuration;
mod deletion;
mod discovery;
mod doubtful;
mod helm;
mod http;
mod kinds;
mod lists;
mod owners;
mod python;
mod quotas;
mod shared;
mod signing;
mod slices;
mod subcommands;
mod verbs;
mod warnings;
mod watches;
mod workloads;
