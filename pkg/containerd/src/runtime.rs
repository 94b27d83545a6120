//! The trait, each method where its topic is.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kobune_runtime::{
    AttachSpec, Container, ContainerEvent, ContainerSpec, Error, ExecSpec, FilesystemUsage, Image,
    ProgressSink, PullRequest, Resources, Result, Runtime, Sandbox, SandboxSpec, Session, Stats, Version,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::broadcast;

use crate::Containerd;
use crate::connection::failed;
use crate::sandbox::Sandboxes;

impl Containerd {
    /// Mounting and waiting for processes block: not on a thread of the scheduler.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Sandboxes) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let sandboxes = Arc::clone(&self.sandboxes);
        let done = tokio::task::spawn_blocking(move || work(&sandboxes)).await;
        done.unwrap_or_else(|error| Err(Error::other("working on a sandbox", error)))
    }
}

#[async_trait]
impl Runtime for Containerd {
    async fn version(&self) -> Result<Version> {
        let answer = self
            .connection
            .version()
            .version(())
            .await
            .map_err(failed("asking containerd's version"))?;
        // Debian writes 1.6.20~ds1.
        Ok(Version {
            name: "containerd".into(),
            version: answer.into_inner().version,
        })
    }

    async fn create_sandbox(&self, spec: &SandboxSpec) -> Result<Sandbox> {
        if !matches!(spec.runtime_handler.as_str(), "" | "runc") {
            let message = format!("no runtime for {:?} is configured", spec.runtime_handler);
            return Err(Error::Config { message });
        }
        let spec = spec.clone();
        self.blocking(move |sandboxes| sandboxes.create(&spec)).await
    }

    async fn remove_sandbox(&self, id: &str) -> Result<()> {
        let members = self
            .entries
            .all()
            .into_iter()
            .filter(|entry| entry.record.sandbox_id == id);
        futures_util::future::try_join_all(members.map(|entry| async move { self.remove(&entry.id).await }))
            .await?;
        let id = id.to_owned();
        self.blocking(move |sandboxes| sandboxes.remove(&id)).await
    }

    async fn sandboxes(&self) -> Result<Vec<Sandbox>> {
        self.blocking(Sandboxes::list).await
    }

    async fn create_container(&self, sandbox: &Sandbox, spec: &ContainerSpec) -> Result<String> {
        self.make_container(sandbox, spec).await
    }

    async fn start_container(&self, id: &str) -> Result<()> {
        self.start(id).await
    }

    async fn stop_container(&self, id: &str, grace: Duration) -> Result<()> {
        self.stop(id, grace).await
    }

    async fn remove_container(&self, id: &str) -> Result<()> {
        self.remove(id).await
    }

    async fn containers(&self) -> Result<Vec<Container>> {
        Ok(self.entries.all().iter().map(|entry| entry.container()).collect())
    }

    async fn container(&self, id: &str) -> Result<Container> {
        Ok(self.entries.get(id)?.container())
    }

    fn events(&self) -> broadcast::Receiver<ContainerEvent> {
        self.events.subscribe()
    }

    async fn update_resources(&self, id: &str, resources: &Resources) -> Result<()> {
        self.update(id, resources).await
    }

    async fn reopen_log(&self, id: &str) -> Result<()> {
        match self.entries.get(id)?.log() {
            Some(log) => log
                .reopen()
                .map_err(|error| Error::other("opening a container's log anew", error)),
            None => Ok(()),
        }
    }

    async fn exec(&self, id: &str, spec: &ExecSpec) -> Result<Session> {
        self.start_exec(id, spec).await
    }

    async fn attach(&self, id: &str, spec: &AttachSpec) -> Result<Session> {
        self.start_attach(id, spec)
    }

    async fn stats(&self, id: &str) -> Result<Stats> {
        let entry = self.entries.get(id)?;
        let stats = self.cgroups.stats(&entry.record.cgroup);
        let mut stats = stats.ok_or_else(|| Error::NotFound {
            what: format!("the control group of container {id}"),
        })?;
        stats.writable_layer_bytes = self.images.snapshot_size(id).await.unwrap_or(0);
        Ok(stats)
    }

    async fn pull_image(&self, request: &PullRequest, progress: ProgressSink) -> Result<Image> {
        self.images.pull(request, progress).await
    }

    async fn image(&self, reference: &str) -> Result<Option<Image>> {
        self.images.image(reference).await
    }

    async fn images(&self) -> Result<Vec<Image>> {
        self.images.list().await
    }

    async fn remove_image(&self, reference: &str) -> Result<()> {
        self.images.remove(reference).await
    }

    async fn import_images(&self, tar: &mut (dyn AsyncRead + Send + Unpin)) -> Result<Vec<String>> {
        self.images.import(tar).await
    }

    async fn export_images(
        &self,
        references: &[String],
        to: &mut (dyn AsyncWrite + Send + Unpin),
    ) -> Result<()> {
        self.images.export(references, to).await
    }

    async fn image_usage(&self) -> Result<FilesystemUsage> {
        self.images.usage().await
    }
}
