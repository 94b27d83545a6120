//! The files of configMap, secret, downwardAPI and projected volumes: a pure function of the objects.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use kobune_client::k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, KeyToPath, ServiceAccountTokenProjection, Volume, VolumeProjection,
};

use crate::pod::desired::Desired;
use crate::pod::env::Referenced;
use crate::pod::fields::{self, Surroundings};

const DEFAULT_MODE: u32 = 0o644;

/// One file of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Content.
    pub data: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Owner, when not root.
    pub owner: Option<u32>,
}

/// Files by path relative to the volume.
pub type Files = BTreeMap<String, File>;

/// Why the files cannot be made; the end of a `FailedMount` event's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilesError {
    /// There is no such object.
    #[error("{kind} {name:?} not found")]
    NotFound {
        /// `configmap` or `secret`
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// `items` names a key that the object does not have.
    #[error("references non-existent {kind} key: {key}")]
    NoKey {
        /// `config` or `secret`
        kind: &'static str,
        /// The key.
        key: String,
    },
    /// A path that would leave the volume.
    #[error("invalid path {0:?}: must be relative and not contain '..'")]
    Path(String),
    /// The downward API has no such field.
    #[error(transparent)]
    Field(#[from] fields::FieldError),
    /// The token that a projection needs could not be had.
    #[error("failed to fetch token: {0}")]
    Token(String),
    /// A kind of source this kubelet does not have.
    #[error("{0}")]
    Unsupported(String),
}

/// What the files are made of.
pub struct FilesInput<'a> {
    /// The pod.
    pub pod: &'a Desired,
    /// ConfigMaps and Secrets it refers to.
    pub referenced: &'a Referenced,
    /// Addresses and the node's amounts.
    pub around: &'a Surroundings,
    /// Tokens by volume name and path, or why there is none.
    pub tokens: &'a BTreeMap<(String, String), Result<String, String>>,
}

/// The files of a volume; `None` when it is not one made of files.
pub fn files(input: &FilesInput<'_>, volume: &Volume) -> Option<Result<Files, FilesError>> {
    if let Some(v) = &volume.config_map {
        let mode = mode_of(v.default_mode, DEFAULT_MODE);
        return Some(config_map(input, &v.name, v.items.as_deref(), v.optional, mode));
    }
    if let Some(v) = &volume.secret {
        let name = v.secret_name.as_deref().unwrap_or_default();
        return Some(secret(
            input,
            name,
            v.items.as_deref(),
            v.optional,
            mode_of(v.default_mode, DEFAULT_MODE),
        ));
    }
    if let Some(v) = &volume.downward_api {
        let mode = mode_of(v.default_mode, DEFAULT_MODE);
        return Some(downward(input, v.items.as_deref().unwrap_or_default(), mode));
    }
    let projected = volume.projected.as_ref()?;
    let mode = mode_of(projected.default_mode, DEFAULT_MODE);
    let mut all = Files::new();
    for source in projected.sources.iter().flatten() {
        match projection(input, &volume.name, source, mode) {
            Ok(files) => all.extend(files),
            Err(error) => return Some(Err(error)),
        }
    }
    Some(Ok(all))
}

fn mode_of(mode: Option<i32>, default: u32) -> u32 {
    mode.and_then(|m| u32::try_from(m).ok()).unwrap_or(default) & 0o777
}

fn projection(
    input: &FilesInput<'_>,
    volume: &str,
    source: &VolumeProjection,
    mode: u32,
) -> Result<Files, FilesError> {
    if let Some(s) = &source.config_map {
        config_map(input, &s.name, s.items.as_deref(), s.optional, mode)
    } else if let Some(s) = &source.secret {
        secret(input, &s.name, s.items.as_deref(), s.optional, mode)
    } else if let Some(s) = &source.downward_api {
        downward(input, s.items.as_deref().unwrap_or_default(), mode)
    } else if let Some(s) = &source.service_account_token {
        token(input, volume, s, mode)
    } else if source.cluster_trust_bundle.is_some() {
        Err(FilesError::Unsupported(
            "clusterTrustBundle projections are not supported by this node".into(),
        ))
    } else {
        Err(FilesError::Unsupported(
            "this projection is not supported by this node".into(),
        ))
    }
}

fn token(
    input: &FilesInput<'_>,
    volume: &str,
    source: &ServiceAccountTokenProjection,
    mode: u32,
) -> Result<Files, FilesError> {
    let key = (volume.to_owned(), source.path.clone());
    let token = match input.tokens.get(&key) {
        Some(Ok(token)) => token.clone(),
        Some(Err(why)) => return Err(FilesError::Token(why.clone())),
        None => return Err(FilesError::Token("it was not requested".into())),
    };
    let owner = common_user(input.pod);
    let group = input
        .pod
        .spec()
        .security_context
        .as_ref()
        .and_then(|s| s.fs_group);
    // A token is for the pod's own users only, as far as those are known.
    let mode = if owner.is_some() || group.is_some() {
        0o600
    } else {
        mode
    };
    single(
        &source.path,
        File {
            data: token.into_bytes(),
            mode,
            owner,
        },
    )
}

/// The user that all containers run as, if they state the same one.
fn common_user(pod: &Desired) -> Option<u32> {
    let of_pod = pod.spec().security_context.as_ref().and_then(|s| s.run_as_user);
    let mut users = pod
        .containers()
        .filter(|(r, _)| *r != crate::pod::desired::Role::Ephemeral)
        .map(|(_, c)| c.security_context.as_ref().and_then(|s| s.run_as_user).or(of_pod));
    let first = users.next()??;
    users
        .all(|u| u == Some(first))
        .then(|| u32::try_from(first).ok())
        .flatten()
}

fn single(path: &str, file: File) -> Result<Files, FilesError> {
    check(path)?;
    Ok(Files::from([(path.to_owned(), file)]))
}

fn check(path: &str) -> Result<(), FilesError> {
    let inside = Path::new(path)
        .components()
        .all(|c| matches!(c, Component::Normal(_)));
    if inside && !path.is_empty() && !path.starts_with("..") {
        Ok(())
    } else {
        Err(FilesError::Path(path.to_owned()))
    }
}

fn config_map(
    input: &FilesInput<'_>,
    name: &str,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
    mode: u32,
) -> Result<Files, FilesError> {
    let data = input.referenced.config_maps.get(name).map(|map| {
        let text = map.data.iter().flatten();
        let text = text.map(|(key, value)| (key.as_str(), value.as_bytes()));
        let binary = map.binary_data.iter().flatten();
        text.chain(binary.map(|(key, value)| (key.as_str(), value.0.as_slice())))
            .collect()
    });
    let object = Object {
        kind: "configmap",
        keys: "config",
        name,
        optional: optional == Some(true),
    };
    chosen(&object, data, items, mode)
}

fn secret(
    input: &FilesInput<'_>,
    name: &str,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
    mode: u32,
) -> Result<Files, FilesError> {
    let data = input.referenced.secrets.get(name).map(|secret| {
        let data = secret.data.iter().flatten();
        data.map(|(key, value)| (key.as_str(), value.0.as_slice()))
            .collect()
    });
    let object = Object {
        kind: "secret",
        keys: "secret",
        name,
        optional: optional == Some(true),
    };
    chosen(&object, data, items, mode)
}

/// A ConfigMap or Secret, as messages name it.
struct Object<'a> {
    kind: &'static str,
    keys: &'static str,
    name: &'a str,
    optional: bool,
}

/// All keys as files, or those that `items` names; `data` is `None` when there is no such object.
fn chosen(
    object: &Object<'_>,
    data: Option<BTreeMap<&str, &[u8]>>,
    items: Option<&[KeyToPath]>,
    mode: u32,
) -> Result<Files, FilesError> {
    let file = |bytes: &[u8], mode| File {
        data: bytes.to_vec(),
        mode,
        owner: None,
    };
    let data = match data {
        Some(data) => data,
        None if object.optional => BTreeMap::new(),
        None => {
            return Err(FilesError::NotFound {
                kind: object.kind,
                name: object.name.to_owned(),
            });
        }
    };
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        let all = data.into_iter();
        return Ok(all
            .map(|(key, bytes)| (key.to_owned(), file(bytes, mode)))
            .collect());
    };
    let mut files = Files::new();
    for item in items {
        check(&item.path)?;
        match data.get(item.key.as_str()) {
            Some(bytes) => {
                files.insert(item.path.clone(), file(bytes, mode_of(item.mode, mode)));
            }
            None if object.optional => {}
            None => {
                return Err(FilesError::NoKey {
                    kind: object.keys,
                    key: item.key.clone(),
                });
            }
        }
    }
    Ok(files)
}

fn downward(input: &FilesInput<'_>, items: &[DownwardAPIVolumeFile], mode: u32) -> Result<Files, FilesError> {
    let mut files = Files::new();
    for item in items {
        check(&item.path)?;
        let text = if let Some(field) = &item.field_ref {
            fields::field(field, input.pod, input.around)?
        } else if let Some(resource) = &item.resource_field_ref {
            fields::resource(resource, input.pod, "", input.around)?
        } else {
            String::new()
        };
        let file = File {
            data: text.into_bytes(),
            mode: mode_of(item.mode, mode),
            owner: None,
        };
        files.insert(item.path.clone(), file);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::desired::tests::pod;
    use serde_json::json;
    use std::collections::HashMap;
    use std::sync::Arc;

    fn run(
        volume: serde_json::Value,
        tokens: &[(&str, &str, Result<&str, &str>)],
    ) -> Result<Files, FilesError> {
        let map =
            json!({"metadata": {"name": "c"}, "data": {"a": "1", "b": "2"}, "binaryData": {"z": "AAE="}});
        let secret = json!({"metadata": {"name": "s"}, "data": {"k": "djE="}});
        let referenced = Referenced {
            config_maps: HashMap::from([("c".into(), Arc::new(serde_json::from_value(map).unwrap()))]),
            secrets: HashMap::from([("s".into(), Arc::new(serde_json::from_value(secret).unwrap()))]),
        };
        let p = pod(json!({"metadata": {"labels": {"app": "x"}}}));
        let tokens = tokens
            .iter()
            .map(|(v, p, t)| {
                (
                    (v.to_string(), p.to_string()),
                    t.map(str::to_owned).map_err(str::to_owned),
                )
            })
            .collect();
        let around = Surroundings::default();
        let input = FilesInput {
            pod: &p,
            referenced: &referenced,
            around: &around,
            tokens: &tokens,
        };
        files(&input, &serde_json::from_value(volume).unwrap()).unwrap()
    }

    fn names(files: Files) -> Vec<(String, String, u32)> {
        files
            .into_iter()
            .map(|(k, f)| (k, String::from_utf8_lossy(&f.data).into_owned(), f.mode))
            .collect()
    }

    #[test]
    fn all_keys_or_the_chosen_ones_become_files() {
        let all = run(json!({"name": "v", "configMap": {"name": "c"}}), &[]).unwrap();
        assert_eq!(all.keys().collect::<Vec<_>>(), ["a", "b", "z"]);
        let some = run(
            json!({"name": "v", "configMap": {"name": "c", "defaultMode": 256,
            "items": [{"key": "a", "path": "d/x", "mode": 448}, {"key": "b", "path": "y"}]}}),
            &[],
        )
        .unwrap();
        assert_eq!(
            names(some),
            [("d/x".into(), "1".into(), 0o700), ("y".into(), "2".into(), 0o400)]
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let missing = run(json!({"name": "v", "configMap": {"name": "nope"}}), &[]).unwrap_err();
        assert_eq!(missing.to_string(), "configmap \"nope\" not found");
        let key = json!({"name": "v", "secret": {"secretName": "s", "items": [{"key": "q", "path": "q"}]}});
        assert_eq!(
            run(key, &[]).unwrap_err().to_string(),
            "references non-existent secret key: q"
        );
        assert!(
            run(
                json!({"name": "v", "secret": {"secretName": "nope", "optional": true}}),
                &[]
            )
            .unwrap()
            .is_empty()
        );
    }

    #[test]
    fn a_path_cannot_leave_the_volume() {
        for path in ["../x", "/x", "a/../../x", "", "..data"] {
            let v = json!({"name": "v", "configMap": {"name": "c", "items": [{"key": "a", "path": path}]}});
            assert!(matches!(run(v, &[]), Err(FilesError::Path(_))), "{path}");
        }
    }

    #[test]
    fn projections_are_put_together() {
        let v = json!({"name": "v", "projected": {"defaultMode": 420, "sources": [
            {"serviceAccountToken": {"path": "token"}},
            {"configMap": {"name": "c", "items": [{"key": "a", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}}]}});
        let files = run(v.clone(), &[("v", "token", Ok("jwt"))]).unwrap();
        assert_eq!(
            names(files),
            [
                ("ca.crt".into(), "1".into(), 0o644),
                ("namespace".into(), "default".into(), 0o644),
                ("token".into(), "jwt".into(), 0o644)
            ]
        );
        let failed = run(v, &[("v", "token", Err("404"))]).unwrap_err();
        assert_eq!(failed.to_string(), "failed to fetch token: 404");
    }
}
