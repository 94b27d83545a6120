//! Images of containers: whether to pull, with which credentials, and what is removed again.

pub mod access;
pub mod credentials;
pub mod gc;
pub mod progress;
pub mod pull;
