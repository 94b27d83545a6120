//! Probes of running containers: `run` asks, `book` remembers, the pod's `plan` and `status` decide.

pub mod book;
pub mod grpc;
pub mod http;
pub mod run;
