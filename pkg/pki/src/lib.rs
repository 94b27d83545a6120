//! CAs, certificates, tokens and TLS configurations.
