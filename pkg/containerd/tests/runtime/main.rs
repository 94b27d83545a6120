//! Pods and containers on a real containerd and runc.
#![allow(missing_docs, clippy::unwrap_used)]

mod life;
mod outlived;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod surroundings;
