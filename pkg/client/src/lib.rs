//! The only way to reach the API.
