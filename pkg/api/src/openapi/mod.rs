//! OpenAPI v3 and v2 of the built-in kinds: what `kubectl explain`, client-side validation, apply and
//! generators read.
//!
//! Documents are written from the schema tables on request, straight to bytes, and not kept: clients cache
//! them by hash or ETag and ask once in a long while. Descriptions are packed into the binary by `build.rs`
//! and unpacked for the time of writing.

mod descriptions;
mod gnostic;
mod json;
mod params;
mod routes;
mod schemas;
mod v2;
mod v3;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

use bytes::Bytes;

use crate::kinds;

/// Version in the documents' `info`.
const KUBERNETES: &str = "v1.36.2";

/// Media type of [`openapi_v2_protobuf`] that clients ask for, and the one it is answered with.
pub const V2_PROTOBUF_MEDIA_TYPES: [&str; 2] = [
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
];

/// Tells this build's documents from those of others: the hash in v3 URLs, and a fit ETag for all of them.
pub fn openapi_hash() -> &'static str {
    static HASH: LazyLock<String> = LazyLock::new(|| {
        let mut parts = [0u64; 2];
        for (salt, part) in parts.iter_mut().enumerate() {
            let mut hasher = DefaultHasher::new();
            (
                salt,
                crate::schema::TABLE,
                descriptions::PACKED,
                env!("CARGO_PKG_VERSION"),
            )
                .hash(&mut hasher);
            *part = hasher.finish();
        }
        format!("{:016X}{:016X}", parts[0], parts[1])
    });
    &HASH
}

/// Paths below `/openapi/v3/` that have a document: `api/v1`, `apis/apps/v1`, ...
pub fn openapi_v3_paths() -> impl Iterator<Item = String> {
    kinds::groups().iter().flat_map(|group| {
        group.versions.iter().map(|version| {
            if group.name.is_empty() {
                format!("api/{version}")
            } else {
                format!("apis/{}/{version}", group.name)
            }
        })
    })
}

/// The document of `/openapi/v3`: the paths with URLs that carry a hash, so that clients cache for good.
/// Custom resources' documents are added by the API server.
pub fn openapi_v3_index() -> Bytes {
    let mut out = json::Json::new();
    out.object(|out| {
        out.key("paths").object(|out| {
            for path in openapi_v3_paths() {
                let url = format!("/openapi/v3/{path}?hash={}", openapi_hash());
                out.key(&path)
                    .object(|out| out.key("serverRelativeURL").text(&url));
            }
        });
    });
    out.into_bytes()
}

/// The document of `/openapi/v3/{gv_path}` as JSON; `None` when there is no such group and version.
pub fn openapi_v3(gv_path: &str) -> Option<Bytes> {
    let (group, version) = match gv_path.strip_prefix("apis/") {
        Some(rest) => rest.split_once('/')?,
        None => ("", gv_path.strip_prefix("api/")?),
    };
    let known = kinds::groups().iter().find(|known| &*known.name == group)?;
    known
        .versions
        .iter()
        .any(|known| &**known == version)
        .then(|| v3::document(group, version))
}

/// The document of `/openapi/v2` as JSON, all groups together.
pub fn openapi_v2_json() -> Bytes {
    v2::document()
}

/// The document of `/openapi/v2` as gnostic's protobuf, which client-go asks for.
pub fn openapi_v2_protobuf() -> Bytes {
    gnostic::document()
}

#[cfg(test)]
mod tests;
