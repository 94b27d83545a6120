//! Discovery: which groups, versions and resources there are, plainly and aggregated.
//!
//! The documents are made once per state of the rows and kept as bytes.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use kobune_api::kinds::{self, Group, Kind, Subresource};
use kobune_api::status::Status;
use serde_json::{Map, Value, json};

use crate::http::body::Body;
use crate::http::negotiate::{Encoding, accepted};
use crate::http::respond::response;
use crate::routes::json;
use crate::server::{Inner, no_such_path};

/// The documents that do not change while the rows do not.
#[derive(Default)]
pub struct Documents {
    api: OnceLock<Aggregated>,
    apis: OnceLock<Aggregated>,
}

struct Aggregated {
    v2: Bytes,
    v2beta1: Bytes,
    etag: HeaderValue,
}

impl Documents {
    /// Nothing is made before it is asked for.
    pub fn new() -> Self {
        Self::default()
    }

    fn get(&self, core: bool) -> &Aggregated {
        let cell = if core { &self.api } else { &self.apis };
        cell.get_or_init(|| {
            let text = |version: &str| Bytes::from(aggregated(version, core).to_string());
            let v2 = text("v2");
            let etag = format!("\"{:016X}\"", fingerprint(&v2));
            Aggregated {
                v2beta1: text("v2beta1"),
                v2,
                etag: HeaderValue::try_from(etag).unwrap_or(HeaderValue::from_static("\"0\"")),
            }
        })
    }
}

/// FNV-1a: the etag only has to change when the document does.
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Answers a path under `/api` or `/apis` that is no resource.
pub fn answer(server: &Inner, path: &str, headers: &HeaderMap) -> Result<Response<Body>, Status> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match parts[..] {
        [root @ ("api" | "apis")] => Ok(root_document(server, root == "api", headers)),
        ["api", version] => Ok(resources("", version)),
        ["apis", group] => Ok(kinds::groups()
            .iter()
            .find(|known| &*known.name == group)
            .map_or_else(no_such_path, |group| {
                json(group_document(group, true).to_string())
            })),
        ["apis", group, version] => Ok(resources(group, version)),
        _ => Ok(no_such_path()),
    }
}

/// `/`: where one can go from here.
pub fn paths() -> Response<Body> {
    let mut paths = vec![
        "/.well-known/openid-configuration".to_owned(),
        "/api".into(),
        "/api/v1".into(),
        "/apis".into(),
    ];
    for group in kinds::groups().iter().filter(|group| !group.name.is_empty()) {
        paths.push(format!("/apis/{}", group.name));
        paths.extend(
            group
                .versions
                .iter()
                .map(|version| format!("/apis/{}/{version}", group.name)),
        );
    }
    for path in [
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/readyz",
        "/version",
    ] {
        paths.push(path.to_owned());
    }
    json(json!({ "paths": paths }).to_string())
}

/// `/version`
pub fn version(git: &str) -> Response<Body> {
    let mut numbers = git.trim_start_matches('v').split(['.', '+', '-']);
    let (major, minor) = (numbers.next().unwrap_or("1"), numbers.next().unwrap_or("36"));
    json(
        json!({"major": major, "minor": minor, "emulationMajor": major, "emulationMinor": minor,
            "minCompatibilityMajor": major, "minCompatibilityMinor": "35",
            "gitVersion": git, "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
            "goVersion": "none (rust)", "compiler": "rustc",
            "platform": format!("linux/{}", architecture())})
        .to_string(),
    )
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn root_document(server: &Inner, core: bool, headers: &HeaderMap) -> Response<Body> {
    for range in accepted(headers) {
        let aggregated = range.parameter("g") == Some("apidiscovery.k8s.io")
            && range.parameter("as") == Some("APIGroupDiscoveryList");
        if range.media_type == "application/json" && aggregated {
            let document = server.discovery.get(core);
            let (bytes, version) = match range.parameter("v") {
                Some("v2") => (&document.v2, "v2"),
                Some("v2beta1") => (&document.v2beta1, "v2beta1"),
                _ => continue,
            };
            return with_etag(bytes, version, &document.etag, headers);
        }
        let plain = matches!(range.media_type, "application/json" | "*/*" | "application/*");
        if plain && range.parameter("as").is_none() {
            break;
        }
    }
    let mut response = if core {
        json(api_versions(server).to_string())
    } else {
        json(groups().to_string())
    };
    response
        .headers_mut()
        .insert(VARY, HeaderValue::from_static("Accept"));
    response
}

fn with_etag(bytes: &Bytes, version: &str, etag: &HeaderValue, headers: &HeaderMap) -> Response<Body> {
    let fresh = headers.get(IF_NONE_MATCH).is_some_and(|known| known == etag);
    let mut response = if fresh {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        response(StatusCode::OK, Encoding::Json.media_type(), bytes.clone())
    };
    let media = match version {
        "v2" => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        _ => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
    };
    let out = response.headers_mut();
    out.insert(ETAG, etag.clone());
    out.insert(VARY, HeaderValue::from_static("Accept"));
    if !fresh {
        out.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    }
    response
}

fn api_versions(server: &Inner) -> Value {
    let address = format!("{}:{}", server.config.advertise, server.config.bind.port());
    json!({"kind": "APIVersions", "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]})
}

fn groups() -> Value {
    let named = kinds::groups().iter().filter(|group| !group.name.is_empty());
    let groups: Vec<Value> = named.map(|group| group_document(group, false)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

fn group_document(group: &Group, alone: bool) -> Value {
    let version = |version: &Arc<str>| json!({"groupVersion": kinds::api_version(&group.name, version), "version": &**version});
    let versions: Vec<Value> = group.versions.iter().map(version).collect();
    let mut document =
        json!({"name": &*group.name, "preferredVersion": versions.first(), "versions": versions});
    if alone {
        document["kind"] = "APIGroup".into();
        document["apiVersion"] = "v1".into();
    }
    document
}

/// `APIResourceList` of a group's version; 404 if nobody serves it.
fn resources(group: &str, version: &str) -> Response<Body> {
    let mine = |kind: &&Arc<Kind>| &*kind.group == group && &*kind.version == version;
    let mut list = Vec::new();
    for kind in kinds::builtin().iter().filter(mine) {
        list.push(resource(kind));
        list.extend(kind.subresources.iter().map(|sub| subresource(kind, sub)));
    }
    if list.is_empty() {
        return no_such_path();
    }
    let group_version = kinds::api_version(group, version);
    let document = json!({"kind": "APIResourceList", "apiVersion": "v1",
        "groupVersion": group_version, "resources": list});
    json(document.to_string())
}

fn texts(words: &[Arc<str>]) -> Value {
    words.iter().map(|word| Value::from(&**word)).collect()
}

fn resource(kind: &Kind) -> Value {
    let mut document = json!({"name": &*kind.plural, "singularName": &*kind.singular,
        "namespaced": kind.namespaced, "kind": &*kind.kind, "verbs": texts(&kind.verbs)});
    if !kind.short_names.is_empty() {
        document["shortNames"] = texts(&kind.short_names);
    }
    if !kind.categories.is_empty() {
        document["categories"] = texts(&kind.categories);
    }
    if !kind.storage_version_hash.is_empty() {
        document["storageVersionHash"] = (*kind.storage_version_hash).into();
    }
    document
}

fn subresource(kind: &Kind, sub: &Subresource) -> Value {
    let mut document = json!({"name": format!("{}/{}", kind.plural, sub.name), "singularName": "",
        "namespaced": kind.namespaced, "kind": &*sub.kind, "verbs": texts(&sub.verbs)});
    if (&sub.group, &sub.version) != (&kind.group, &kind.version) {
        document["group"] = (*sub.group).into();
        document["version"] = (*sub.version).into();
    }
    document
}

fn aggregated(version: &str, core: bool) -> Value {
    let wanted = |group: &&Group| group.name.is_empty() == core;
    let items: Vec<Value> = kinds::groups()
        .iter()
        .filter(wanted)
        .map(aggregated_group)
        .collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {}, "items": items})
}

fn aggregated_group(group: &Group) -> Value {
    let versions = group.versions.iter().map(|version| {
        let mine = |kind: &&Arc<Kind>| kind.group == group.name && kind.version == *version;
        let resources: Vec<Value> = kinds::builtin()
            .iter()
            .filter(mine)
            .map(|kind| aggregated_resource(kind))
            .collect();
        json!({"version": &**version, "freshness": "Current", "resources": resources})
    });
    let versions: Vec<Value> = versions.collect();
    let mut metadata = Map::new();
    if !group.name.is_empty() {
        metadata.insert("name".into(), (*group.name).into());
    }
    metadata.insert("creationTimestamp".into(), Value::Null);
    json!({"metadata": metadata, "versions": versions})
}

fn aggregated_resource(kind: &Kind) -> Value {
    let scope = if kind.namespaced { "Namespaced" } else { "Cluster" };
    // As upstream does, a kind of the group itself is told without its group and version.
    let own = json!({"group": "", "version": "", "kind": &*kind.kind});
    let mut document = json!({"resource": &*kind.plural, "responseKind": own, "scope": scope,
        "singularResource": &*kind.singular, "verbs": texts(&kind.verbs)});
    if !kind.short_names.is_empty() {
        document["shortNames"] = texts(&kind.short_names);
    }
    if !kind.categories.is_empty() {
        document["categories"] = texts(&kind.categories);
    }
    if !kind.subresources.is_empty() {
        let subs = kind.subresources.iter().map(|sub| {
            let same = (&sub.group, &sub.version) == (&kind.group, &kind.version);
            let (group, version) = if same {
                ("", "")
            } else {
                (&*sub.group, &*sub.version)
            };
            json!({"subresource": &*sub.name, "verbs": texts(&sub.verbs),
                "responseKind": {"group": group, "version": version, "kind": &*sub.kind}})
        });
        document["subresources"] = subs.collect();
    }
    document
}
