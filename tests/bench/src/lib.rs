//! What kobune costs.
