//! Images: references, manifests, the content store, unpacking, pulling, importing, exporting.

pub(crate) mod config;
pub(crate) mod content;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod layers;
pub(crate) mod manifest;
pub(crate) mod pull;
pub(crate) mod records;
pub(crate) mod reference;
pub(crate) mod registry;
pub(crate) mod snapshots;
pub(crate) mod tar_entries;
pub(crate) mod unpack;
