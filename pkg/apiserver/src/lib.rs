//! HTTP to authentication to authorization to admission to verb to store.
