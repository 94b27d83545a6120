//! HTTP to authentication to authorization to admission to verb to store.
//!
//! To learn X, open Y: the chain of a request, `server.rs`; which code answers which path,
//! `routes.rs`; what a verb does, `registry/`; what a kind does differently, `strategy/`; who may do
//! what, `authz/`; what is checked against the cluster, `admission/`.
//!
//! **Invariant**: whoever calls, in the process or over the network, passes the same chain; only
//! authentication differs. Objects are served as the bytes that are stored.

mod admission;
mod amounts;
mod authn;
mod authz;
mod bootstrap;
mod config;
mod convert;
mod discovery;
mod encoding;
mod expiry;
mod health;
mod http;
mod impersonate;
mod metrics;
mod object;
mod openapi;
mod proxy;
mod quota;
mod registry;
mod reviews;
mod routes;
mod rules;
mod server;
mod strategy;

pub use config::{Cidr, CidrError, Config};
pub use http::body::{Body, BoxError};
pub use server::{ApiServer, Error};

/// An error with its causes, on one line.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
