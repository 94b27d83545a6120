//! Making a container: its snapshot, its specification, its FIFOs. Nothing runs yet.

use std::collections::HashMap;
use std::path::Path;

use containerd_client::services::v1 as api;
use containerd_client::services::v1::snapshots as snapshot_api;
use kobune_runtime::{ContainerSpec, Error, Mount, ProcessUser, Propagation, Result, Sandbox, Seccomp};
use prost_types::Any;
use serde::Deserialize;
use serde_json::Value;

use super::record::{Entry, Phase, Record, SANDBOX_LABEL};
use super::{signal, volumes};
use crate::Containerd;
use crate::connection::{Idempotent, failed};
use crate::image::records::LocalImage;
use crate::logs::make_fifo;
use crate::spec::plan::PodNamespaces;
use crate::spec::{devices, plan};

/// containerd's name of an OCI specification's type.
pub(crate) const SPEC_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/Spec";
const SIGTERM: u32 = 15;

/// Options of the runc shim (`containerd.runc.v1.Options`; containerd-client does not have it).
#[derive(Clone, PartialEq, prost::Message)]
struct RuncOptions {
    #[prost(string, tag = "7")]
    root: String,
}

impl Containerd {
    pub(crate) async fn make_container(&self, sandbox: &Sandbox, spec: &ContainerSpec) -> Result<String> {
        let image = self.images.find(&spec.image).await?;
        let image = image.ok_or_else(|| Error::NotFound {
            what: format!("image {}", spec.image),
        })?;
        self.images.used(&image.id);
        let id = format!(
            "{}{}",
            uuid::Uuid::new_v4().simple(),
            uuid::Uuid::new_v4().simple()
        );
        let folder = self.folders.volumes(&id);
        let volumes = volumes::plan(&image.config.volumes, &spec.mounts, &folder);
        let specification = self.specification(&id, sandbox, spec, &image, &volumes).await?;
        let stop = spec
            .stop_signal
            .as_deref()
            .or(image.config.stop_signal.as_deref());
        let stop = stop.and_then(signal::number).unwrap_or(SIGTERM);
        let mut record = Record::new(&id, sandbox, spec, &image.id, stop);
        record.user = ProcessUser::deserialize(&specification["process"]["user"]).ok();
        let made = tokio::try_join!(self.register(&id, &record, &image, &specification), async {
            let mounts = self.prepare_snapshot(&id, &record, &image).await?;
            volumes::fill(&mounts, &volumes, &folder).await?;
            Ok(mounts)
        },);
        match made {
            Ok(((), mounts)) => {
                let entry = Entry::new(id.clone(), record, Phase::Created);
                *entry.rootfs.lock().unwrap_or_else(|poison| poison.into_inner()) = mounts;
                self.make_fifos(&entry)
                    .inspect_err(|_| self.folders.remove(&id))?;
                self.entries.insert(entry);
                Ok(id)
            }
            Err(error) => {
                self.unmake(&id).await;
                Err(error)
            }
        }
    }

    async fn specification(
        &self,
        id: &str,
        sandbox: &Sandbox,
        spec: &ContainerSpec,
        image: &LocalImage,
        volumes: &[Mount],
    ) -> Result<Value> {
        let accounts = self.images.accounts(image).await?;
        let identity = accounts.identity(&image.config.user, &spec.security)?;
        let mut devices = if spec.security.privileged {
            self.host.devices()
        } else {
            Vec::new()
        };
        for (host, container, access) in &spec.devices {
            devices.extend(devices::requested(host, container, access)?);
        }
        if spec
            .mounts
            .iter()
            .any(|mount| mount.propagation != Propagation::Private)
        {
            share_root_mount();
        }
        plan::specification(&plan::Input {
            id,
            sandbox,
            namespaces: &self.namespaces(sandbox, spec)?,
            spec,
            image: &image.config,
            volumes,
            identity: &identity,
            host: &self.host,
            devices: &devices,
            seccomp_profile: read_profile(&spec.security.seccomp)?,
        })
    }

    /// The pod's namespaces, and the process namespace of the container that this one is to look at.
    fn namespaces(&self, sandbox: &Sandbox, spec: &ContainerSpec) -> Result<PodNamespaces> {
        let mut namespaces = self.sandboxes.namespaces_of(sandbox);
        if let Some(target) = &spec.process_namespace_of
            && namespaces.pid.is_none()
            && !namespaces.host_pid
        {
            let entry = self.running(target)?;
            let Phase::Running { pid, .. } = entry.phase() else {
                let message = format!("container {} is not running", entry.record.name);
                return Err(Error::Config { message });
            };
            namespaces.pid = Some(format!("/proc/{pid}/ns/pid").into());
        }
        Ok(namespaces)
    }

    async fn register(
        &self,
        id: &str,
        record: &Record,
        image: &LocalImage,
        specification: &Value,
    ) -> Result<()> {
        let options = RuncOptions {
            root: self.runc_root.display().to_string(),
        };
        let container = api::Container {
            id: id.to_owned(),
            labels: record.labels(),
            image: image.name.clone(),
            runtime: Some(api::container::Runtime {
                name: "io.containerd.runc.v2".into(),
                options: Some(Any {
                    type_url: "containerd.runc.v1.Options".into(),
                    value: prost::Message::encode_to_vec(&options),
                }),
            }),
            spec: Some(Any {
                type_url: SPEC_TYPE.into(),
                value: serde_json::to_vec(specification)
                    .map_err(|error| Error::other("encoding a container's specification", error))?,
            }),
            snapshotter: self.images.snapshotter().to_owned(),
            snapshot_key: id.to_owned(),
            extensions: record.extensions()?,
            ..Default::default()
        };
        let request = api::CreateContainerRequest {
            container: Some(container),
        };
        let answer = self.connection.containers().create(request).await;
        answer
            .map(drop)
            .map_err(failed(format!("creating container {}", record.name)))
    }

    async fn prepare_snapshot(
        &self,
        id: &str,
        record: &Record,
        image: &LocalImage,
    ) -> Result<Vec<containerd_client::types::Mount>> {
        let request = snapshot_api::PrepareSnapshotRequest {
            snapshotter: self.images.snapshotter().to_owned(),
            key: id.to_owned(),
            parent: image.chain_id.clone(),
            // A root of garbage collection by itself: it may exist before the container that names it.
            labels: HashMap::from([
                (
                    "containerd.io/gc.root".to_owned(),
                    jiff::Timestamp::now().to_string(),
                ),
                (SANDBOX_LABEL.to_owned(), record.sandbox_id.clone()),
            ]),
        };
        let answer = self.connection.snapshots().prepare(request).await;
        let answer = answer.map_err(failed(format!(
            "creating the snapshot of container {}",
            record.name
        )))?;
        Ok(answer.into_inner().mounts)
    }

    /// Makes the FIFOs of a container; fine if they are there.
    pub(crate) fn make_fifos(&self, entry: &Entry) -> Result<()> {
        let folder = self.folders.of(&entry.id);
        let doing = || format!("making the FIFOs of container {}", entry.record.name);
        std::fs::create_dir_all(&folder).map_err(|error| Error::other(doing(), error))?;
        let mut names = vec!["stdout"];
        if !entry.record.tty {
            names.push("stderr");
        }
        if entry.record.stdin {
            names.push("stdin");
        }
        names
            .into_iter()
            .try_for_each(|name| make_fifo(&folder.join(name)))
            .map_err(|error| Error::other(doing(), error))
    }

    /// Takes back what of a container was made. Errors are for the next start's clean-up.
    async fn unmake(&self, id: &str) {
        let request = api::DeleteContainerRequest { id: id.to_owned() };
        let _ = self.connection.containers().delete(request).await.or_gone();
        let _ = self.remove_snapshot(id).await;
        self.folders.remove(id);
    }

    pub(crate) async fn remove_snapshot(&self, key: &str) -> Result<()> {
        let request = snapshot_api::RemoveSnapshotRequest {
            snapshotter: self.images.snapshotter().to_owned(),
            key: key.to_owned(),
        };
        let answer = self.connection.snapshots().remove(request).await;
        answer
            .or_gone()
            .map_err(failed("removing a container's snapshot"))
    }
}

fn read_profile(seccomp: &Seccomp) -> Result<Option<Value>> {
    let Seccomp::Localhost(path) = seccomp else {
        return Ok(None);
    };
    let config = |message: String| Error::Config { message };
    let text = std::fs::read(path).map_err(|error| {
        config(format!(
            "cannot load seccomp profile {:?}: {error}",
            path.display()
        ))
    })?;
    let profile = serde_json::from_slice(&text).map_err(|error| {
        config(format!(
            "cannot decode seccomp profile {:?}: {error}",
            path.display()
        ))
    })?;
    Ok(Some(profile))
}

/// Mounts can go between host and container only if the host's root mount is shared, which a
/// machine without systemd does not do.
fn share_root_mount() {
    use nix::mount::{MsFlags, mount};
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let root = table.lines().find(|line| line.split(' ').nth(4) == Some("/"));
    if root.is_some_and(|line| line.contains(" shared:")) {
        return;
    }
    match mount(
        None::<&str>,
        Path::new("/"),
        None::<&str>,
        MsFlags::MS_SHARED | MsFlags::MS_REC,
        None::<&str>,
    ) {
        Ok(()) => tracing::info!("made the mounts of this machine shared, for mountPropagation"),
        Err(error) => tracing::warn!(%error, "the mounts of this machine cannot be made shared"),
    }
}
