//! Volumes: what they hold (`files`, pure) and how it gets there (`atomic`, `mount`, `subpath`).

pub mod atomic;
pub mod files;
pub mod host_path;
pub mod mount;
pub mod subpath;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use kobune_client::k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Volume};

use self::files::{Files, FilesInput};
use crate::pod::amount;
use crate::pod::desired::Desired;

/// A volume that could not be made, with the end of its `FailedMount` event's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume {volume:?} : {message}")]
pub struct MountError {
    /// The volume's name in the pod.
    pub volume: String,
    /// What is wrong.
    pub message: String,
}

/// All volumes of a pod that could not be made; each is told in an event of its own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(MountError::to_string).collect::<Vec<_>>().join("; "))]
pub struct MountErrors(pub Vec<MountError>);

impl From<MountError> for MountErrors {
    fn from(error: MountError) -> Self {
        MountErrors(vec![error])
    }
}

/// What is there when nothing failed.
fn all_or<T>(made: T, failed: Vec<MountError>) -> Result<T, MountErrors> {
    if failed.is_empty() {
        Ok(made)
    } else {
        Err(MountErrors(failed))
    }
}

/// What has to be done for a volume; decided before anything is touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A folder, or a tmpfs of so many bytes.
    EmptyDir {
        /// `medium: Memory`
        memory: bool,
        /// `sizeLimit`
        size: Option<i64>,
    },
    /// A path of the host.
    HostPath {
        /// The path.
        path: PathBuf,
        /// `type`
        kind: String,
    },
    /// Files of ours.
    Files {
        /// Them.
        files: Files,
        /// On a tmpfs, because they are secret.
        secret: bool,
    },
}

/// A volume and the folder it is at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Name in the pod.
    pub name: String,
    /// Where it is on the host.
    pub path: PathBuf,
    /// What it is.
    pub source: Source,
}

/// Decides what each of the pod's volumes is. Pure.
pub fn plan(input: &FilesInput<'_>, pod_dir: &Path) -> Result<Vec<Planned>, MountErrors> {
    let (mut planned, mut failed) = (Vec::new(), Vec::new());
    for volume in input.pod.spec().volumes.iter().flatten() {
        match plan_one(input, pod_dir, volume) {
            Ok(one) => planned.push(one),
            Err(message) => failed.push(MountError {
                volume: volume.name.clone(),
                message,
            }),
        }
    }
    all_or(planned, failed)
}

fn plan_one(input: &FilesInput<'_>, pod_dir: &Path, volume: &Volume) -> Result<Planned, String> {
    let at = |plugin: &str| {
        pod_dir
            .join("volumes")
            .join(format!("kubernetes.io~{plugin}"))
            .join(&volume.name)
    };
    let planned = |path, source| Planned {
        name: volume.name.clone(),
        path,
        source,
    };
    if let Some(made) = files::files(input, volume) {
        let files = made.map_err(|e| e.to_string())?;
        let (plugin, secret) = if volume.config_map.is_some() {
            ("configmap", false)
        } else if volume.secret.is_some() {
            ("secret", true)
        } else if volume.downward_api.is_some() {
            ("downward-api", false)
        } else {
            ("projected", true)
        };
        return Ok(planned(at(plugin), Source::Files { files, secret }));
    }
    if let Some(empty) = &volume.empty_dir {
        return Ok(planned(at("empty-dir"), empty_dir(input.pod, empty)));
    }
    if let Some(host) = &volume.host_path {
        let path = PathBuf::from(&host.path);
        let kind = host.type_.clone().unwrap_or_default();
        return Ok(planned(path.clone(), Source::HostPath { path, kind }));
    }
    Err(unsupported(volume))
}

fn empty_dir(pod: &Desired, source: &EmptyDirVolumeSource) -> Source {
    let memory = source.medium.as_deref() == Some("Memory");
    let limit = source.size_limit.as_ref().map(amount::value).filter(|s| *s > 0);
    let pod_limit = crate::pod::resources::pod_level(pod).memory_limit;
    let size = match (limit, pod_limit) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    Source::EmptyDir {
        memory,
        size: size.filter(|_| memory),
    }
}

fn unsupported(volume: &Volume) -> String {
    if let Some(claim) = &volume.persistent_volume_claim {
        return format!(
            "persistentvolumeclaim {:?}: this node cannot mount persistent volumes yet",
            claim.claim_name
        );
    }
    if volume.ephemeral.is_some() {
        return "generic ephemeral volumes need persistent volumes, which this node cannot mount yet".into();
    }
    if let Some(csi) = &volume.csi {
        return format!(
            "driver name {} not found in the list of registered CSI drivers",
            csi.driver
        );
    }
    "no volume plugin matched".into()
}

/// The paths of a pod's volumes by name.
pub type Paths = HashMap<String, PathBuf>;

/// Makes the volumes, or brings them up to date. Blocking.
pub fn apply(planned: &[Planned], fs_group: Option<u32>) -> Result<Paths, MountErrors> {
    let (mut paths, mut failed) = (Paths::new(), Vec::new());
    for volume in planned {
        match apply_one(volume, fs_group) {
            Ok(()) => {
                paths.insert(volume.name.clone(), volume.path.clone());
            }
            Err(message) => failed.push(MountError {
                volume: volume.name.clone(),
                message,
            }),
        }
    }
    all_or(paths, failed)
}

fn apply_one(volume: &Planned, group: Option<u32>) -> Result<(), String> {
    let path = &volume.path;
    let told = |e: io::Error| format!("{}: {e}", path.display());
    match &volume.source {
        Source::HostPath { path, kind } => host_path::prepare(path, kind),
        Source::EmptyDir { memory, size } => {
            fs::create_dir_all(path).map_err(told)?;
            if *memory {
                mount::tmpfs(path, *size, 0o777).map_err(told)?;
            }
            own_empty_dir(path, group).map_err(told)
        }
        Source::Files { files, secret } => {
            fs::create_dir_all(path).map_err(told)?;
            if *secret {
                mount::tmpfs(path, None, 0o755).map_err(told)?;
            }
            atomic::write(path, files, group).map_err(told)?;
            if group.is_some() {
                atomic::own_folder(path, group).map_err(told)?;
            }
            Ok(())
        }
    }
}

/// Anybody may write; with an `fsGroup` what is made in it belongs to the group.
fn own_empty_dir(path: &Path, group: Option<u32>) -> io::Result<()> {
    let mode = match group {
        Some(_) => 0o2777,
        None => 0o777,
    };
    if group.is_some() {
        chown(path, None, group)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// The service account tokens that the pod's projected volumes need: (volume, path) and how.
pub fn tokens_needed(pod: &Desired) -> Vec<TokenNeed> {
    let mut needs = Vec::new();
    for volume in pod.spec().volumes.iter().flatten() {
        let sources = volume.projected.as_ref().and_then(|p| p.sources.as_ref());
        for token in sources
            .into_iter()
            .flatten()
            .filter_map(|s| s.service_account_token.as_ref())
        {
            needs.push(TokenNeed {
                volume: volume.name.clone(),
                path: token.path.clone(),
                audience: token.audience.clone().unwrap_or_default(),
                expiration_seconds: token.expiration_seconds.unwrap_or(3600),
            });
        }
    }
    needs
}

/// One token to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenNeed {
    /// Volume name.
    pub volume: String,
    /// File in the volume.
    pub path: String,
    /// Empty: the API server's own.
    pub audience: String,
    /// Lifetime asked for.
    pub expiration_seconds: i64,
}

/// Names of the ConfigMaps and Secrets a pod refers to, anywhere.
pub fn references(pod: &Desired) -> References {
    let mut r = References::default();
    for volume in pod.spec().volumes.iter().flatten() {
        if let Some(v) = &volume.config_map {
            r.config_maps.insert(v.name.clone(), true);
        }
        if let Some(name) = volume.secret.as_ref().and_then(|s| s.secret_name.as_ref()) {
            r.secrets.insert(name.clone(), true);
        }
        let sources = volume.projected.as_ref().and_then(|p| p.sources.as_ref());
        for source in sources.into_iter().flatten() {
            if let Some(s) = &source.config_map {
                r.config_maps.insert(s.name.clone(), true);
            }
            if let Some(s) = &source.secret {
                r.secrets.insert(s.name.clone(), true);
            }
        }
    }
    for (_, container) in pod.containers() {
        for from in container.env_from.iter().flatten() {
            if let Some(s) = &from.config_map_ref {
                r.config_maps.entry(s.name.clone()).or_default();
            }
            if let Some(s) = &from.secret_ref {
                r.secrets.entry(s.name.clone()).or_default();
            }
        }
        for source in container
            .env
            .iter()
            .flatten()
            .filter_map(|e| e.value_from.as_ref())
        {
            if let Some(s) = &source.config_map_key_ref {
                r.config_maps.entry(s.name.clone()).or_default();
            }
            if let Some(s) = &source.secret_key_ref {
                r.secrets.entry(s.name.clone()).or_default();
            }
        }
    }
    for secret in pod.spec().image_pull_secrets.iter().flatten() {
        r.secrets.entry(secret.name.clone()).or_default();
    }
    r
}

/// Referenced names; true where a volume shows the content, which must follow the object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct References {
    /// ConfigMaps of the pod's namespace.
    pub config_maps: BTreeMap<String, bool>,
    /// Secrets of the pod's namespace.
    pub secrets: BTreeMap<String, bool>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::desired::tests::pod;
    use crate::pod::env::Referenced;
    use crate::pod::fields::Surroundings;
    use serde_json::json;

    fn run(volumes: serde_json::Value) -> Result<Vec<Planned>, MountErrors> {
        let p = pod(json!({"spec": {"volumes": volumes}}));
        let (referenced, around, tokens) = (Referenced::default(), Surroundings::default(), BTreeMap::new());
        let input = FilesInput {
            pod: &p,
            referenced: &referenced,
            around: &around,
            tokens: &tokens,
        };
        plan(&input, Path::new("/pods/u1"))
    }

    #[test]
    fn volumes_lie_where_the_kubelet_keeps_them() {
        let planned = run(
            json!([{"name": "e", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            {"name": "h", "hostPath": {"path": "/srv", "type": "Directory"}}]),
        )
        .unwrap();
        assert_eq!(
            planned[0].path,
            Path::new("/pods/u1/volumes/kubernetes.io~empty-dir/e")
        );
        assert_eq!(
            planned[0].source,
            Source::EmptyDir {
                memory: true,
                size: Some(1 << 20)
            }
        );
        assert_eq!(planned[1].path, Path::new("/srv"));
    }

    #[test]
    fn a_claim_says_that_it_cannot_be_mounted() {
        let e = run(json!([{"name": "d", "persistentVolumeClaim": {"claimName": "c"}}])).unwrap_err();
        assert!(
            e.to_string()
                .starts_with("MountVolume.SetUp failed for volume \"d\" : persistentvolumeclaim \"c\"")
        );
    }

    #[test]
    fn every_volume_that_fails_is_told() {
        let e = run(
            json!([{"name": "a", "configMap": {"name": "x"}}, {"name": "e", "emptyDir": {}},
            {"name": "b", "secret": {"secretName": "y"}}]),
        )
        .unwrap_err();
        let told: Vec<(&str, &str)> = e.0.iter().map(|e| (&*e.volume, &*e.message)).collect();
        assert_eq!(
            told,
            [
                ("a", "configmap \"x\" not found"),
                ("b", "secret \"y\" not found")
            ]
        );
    }

    #[test]
    fn references_are_found_wherever_they_are() {
        let p = pod(json!({"spec": {"imagePullSecrets": [{"name": "p"}],
            "volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "s"}}, {"configMap": {"name": "c"}}]}}],
            "containers": [{"name": "a", "image": "x", "envFrom": [{"configMapRef": {"name": "e"}}],
                "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "k", "key": "k"}}}]}]}}));
        let r = references(&p);
        assert_eq!(
            r.config_maps,
            BTreeMap::from([("c".into(), true), ("e".into(), false)])
        );
        assert_eq!(
            r.secrets,
            BTreeMap::from([("k".into(), false), ("p".into(), false), ("s".into(), true)])
        );
    }
}
