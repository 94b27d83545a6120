//! Fetching an image: resolve, download what is missing, unpack as layers arrive, name it.
//!
//! ```text
//! registry -> manifest -> [layer, layer, layer ...] three at a time -> content store
//!                             \-> unpacked in order, each as soon as it and those below are there
//! ```
//!
//! Requests for the same image at the same time are one pull.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::future::{self, FutureExt};
use kobune_runtime::{Error, Image, Progress, ProgressSink, PullRequest, RegistryAuth, Result};
use tokio::sync::{Semaphore, watch};

use super::content::{self, Lease};
use super::manifest::{Descriptor, Index, Manifest};
use super::records::{Images, Resolved};
use super::reference::Reference;
use super::registry::Repository;
use super::unpack::{Layer, Unpacker};

/// Layers of one image downloaded at once, as the CRI does.
const PARALLEL: usize = 3;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poison| poison.into_inner())
}

/// Pulls under way, and blobs being fetched by any of them.
#[derive(Default)]
pub(crate) struct Pulls {
    active: Mutex<Vec<Arc<Pull>>>,
    blobs: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// One pull, perhaps for several who asked.
struct Pull {
    reference: String,
    auth: Vec<RegistryAuth>,
    sinks: Mutex<Vec<ProgressSink>>,
    resolved: Mutex<Option<Progress>>,
    /// Set when it is over; the error in words, to be said to each.
    outcome: watch::Sender<Option<Result<(), String>>>,
}

impl Pull {
    fn tell(&self, progress: Progress) {
        if let Progress::Resolved { .. } = progress {
            *lock(&self.resolved) = Some(progress.clone());
        }
        for sink in lock(&self.sinks).iter() {
            sink(progress.clone());
        }
    }

    fn join(&self, sink: ProgressSink) {
        if let Some(resolved) = lock(&self.resolved).clone() {
            sink(resolved);
        }
        lock(&self.sinks).push(sink);
    }
}

impl Images {
    pub(crate) async fn pull(&self, request: &PullRequest, progress: ProgressSink) -> Result<Image> {
        let reference = Reference::parse(&request.reference)?;
        let name = reference.to_string();
        if !request.force
            && let Some(image) = self.image(&name).await?
        {
            return Ok(image);
        }
        let (pull, ours) = self.pulls.join(&name, &request.auth, progress);
        if ours {
            // Whoever comes later waits for this one; if it is dropped, they are told.
            let guard = Unfinished {
                pulls: &self.pulls,
                pull: &pull,
            };
            let outcome = self.fetch(&reference, request, &pull).await;
            guard.finish(outcome.as_ref().map(|_| ()).map_err(words));
            outcome?;
        } else {
            let mut outcome = pull.outcome.subscribe();
            let outcome = outcome
                .wait_for(Option::is_some)
                .await
                .map(|outcome| outcome.clone());
            if let Ok(Some(Err(message))) = outcome {
                return Err(Error::Pull {
                    reference: request.reference.clone(),
                    message,
                });
            }
        }
        let image = self.image(&name).await?;
        let image = image.ok_or_else(|| Error::Pull {
            reference: request.reference.clone(),
            message: "the image was removed while it was pulled".into(),
        })?;
        self.used(&image.id);
        Ok(image)
    }

    async fn fetch(&self, reference: &Reference, request: &PullRequest, pull: &Arc<Pull>) -> Result<()> {
        let registries = self.registries.as_deref();
        let repository = Repository::open(reference, &request.auth, registries, &self.proxies);
        let repository = repository.map_err(|error| pull_error(request, &error))?;
        let lease = Lease::begin(&self.connection).await?;
        let done = self.fetch_under(&lease, reference, &repository, pull).await;
        lease.end(done.is_err()).await;
        done.map_err(|error| match error {
            error @ (Error::Unavailable { .. } | Error::Pull { .. }) => error,
            error => pull_error(request, &error),
        })
    }

    async fn fetch_under(
        &self,
        lease: &Lease,
        reference: &Reference,
        repository: &Repository,
        pull: &Arc<Pull>,
    ) -> Result<()> {
        let ((target, bytes), credential) = repository.target(reference.identifier()).await?;
        content::write(lease, &target, &bytes).await?;
        let (blob, manifest) = self.choose(lease, repository, &target, bytes).await?;
        let mut missing = Vec::new();
        for part in std::iter::once(&manifest.config).chain(&manifest.layers) {
            match content::size(&self.connection, &part.digest).await? {
                Some(_) => lease.keep(&part.digest).await?,
                None => missing.push((part.digest.clone(), part.size)),
            }
        }
        pull.tell(Progress::Resolved {
            digest: target.digest.clone(),
            missing,
            credential,
        });
        self.blob(lease, repository, &manifest.config, pull).await?;
        let resolved = self.resolve(&target).await?;
        debug_assert_eq!(resolved.manifest_blob.digest, blob.digest);
        self.download(lease, repository, &resolved, pull).await?;
        self.tie(&target, &resolved).await?;
        self.name(&reference.to_string(), &target).await
    }

    /// From an index to the manifest for this machine.
    async fn choose(
        &self,
        lease: &Lease,
        repository: &Repository,
        target: &Descriptor,
        bytes: Vec<u8>,
    ) -> Result<(Descriptor, Manifest)> {
        let doing = || format!("reading manifest {}", target.digest);
        let (mut blob, mut bytes) = (target.clone(), bytes);
        for _ in 0..4 {
            if !blob.is_index() {
                let manifest =
                    serde_json::from_slice(&bytes).map_err(|error| Error::other(doing(), error))?;
                return Ok((blob, manifest));
            }
            let index: Index =
                serde_json::from_slice(&bytes).map_err(|error| Error::other(doing(), error))?;
            let chosen = index.for_this_machine().ok_or_else(|| {
                let platform = format!("linux/{}", super::manifest::architecture());
                Error::other(
                    doing(),
                    format!("no match for platform in manifest: {platform}: not found"),
                )
            })?;
            (blob, bytes) = repository.manifest(&chosen.digest).await?;
            content::write(lease, &blob, &bytes).await?;
        }
        Err(Error::other(doing(), "indexes are nested too deep"))
    }

    /// Downloads all layers, some at once, and unpacks them in order meanwhile.
    async fn download(
        &self,
        lease: &Lease,
        repository: &Repository,
        resolved: &Resolved,
        pull: &Arc<Pull>,
    ) -> Result<()> {
        let slots = Semaphore::new(PARALLEL);
        let mut arrived = Vec::new();
        let mut downloads = Vec::new();
        for layer in &resolved.manifest.layers {
            let (done, wait) = tokio::sync::oneshot::channel();
            let slots = &slots;
            downloads.push(async move {
                // Never closed: the semaphore lives as long as this function.
                let _slot = slots.acquire().await;
                self.blob(lease, repository, layer, pull).await?;
                let _ = done.send(());
                Ok::<_, Error>(())
            });
            arrived.push(wait.map(|sent| sent.map_err(|_| Error::other("downloading a layer", "it failed"))));
        }
        let tell = |progress| pull.tell(progress);
        let unpacked = self.unpack(lease, resolved, arrived.into_iter(), &tell);
        future::try_join(
            future::try_join_all(downloads).map(|done| done.map(drop)),
            unpacked,
        )
        .await
        .map(drop)
    }

    /// One blob, unless it is there; two pulls that need the same one fetch it once.
    async fn blob(
        &self,
        lease: &Lease,
        repository: &Repository,
        blob: &Descriptor,
        pull: &Arc<Pull>,
    ) -> Result<()> {
        let turn = Arc::clone(lock(&self.pulls.blobs).entry(blob.digest.clone()).or_default());
        let held = turn.lock().await;
        let fetched = match content::size(&self.connection, &blob.digest).await? {
            Some(_) => lease.keep(&blob.digest).await,
            None => {
                let tell = |bytes| {
                    let digest = blob.digest.clone();
                    pull.tell(Progress::Downloaded {
                        digest,
                        bytes,
                        total: blob.size,
                    });
                };
                repository.blob(lease, blob, &tell).await
            }
        };
        drop(held);
        let mut blobs = lock(&self.pulls.blobs);
        // Two: ours and the map's.
        if Arc::strong_count(&turn) <= 2 {
            blobs.remove(&blob.digest);
        }
        fetched
    }

    /// Unpacks each layer when it is there.
    pub(crate) async fn unpack<F>(
        &self,
        lease: &Lease,
        resolved: &Resolved,
        arrived: impl Iterator<Item = F> + Send,
        tell: &(dyn Fn(Progress) + Sync),
    ) -> Result<()>
    where
        F: Future<Output = Result<()>> + Send,
    {
        let unpacker = Unpacker {
            connection: &lease.connection,
            snapshotter: self.snapshotter(),
        };
        let chain = resolved.config.chain_ids();
        for (number, arrived) in arrived.enumerate() {
            arrived.await?;
            let blob = &resolved.manifest.layers[number];
            tell(Progress::Unpacked {
                digest: blob.digest.clone(),
                done: false,
            });
            let layer = Layer {
                blob,
                diff_id: &resolved.config.diff_ids[number],
                parent: number.checked_sub(1).map_or("", |below| &chain[below]),
                chain_id: &chain[number],
            };
            unpacker.apply(&layer).await?;
            tell(Progress::Unpacked {
                digest: blob.digest.clone(),
                done: true,
            });
        }
        Ok(())
    }

    /// Labels that keep all parts as long as there is a name for the whole.
    pub(crate) async fn tie(&self, target: &Descriptor, resolved: &Resolved) -> Result<()> {
        let manifest = &resolved.manifest;
        if target.digest != resolved.manifest_blob.digest {
            let labels = content::reference_labels(std::iter::once(&resolved.manifest_blob));
            content::label(&self.connection, &target.digest, labels).await?;
        }
        let parts = std::iter::once(&manifest.config).chain(&manifest.layers);
        content::label(
            &self.connection,
            &resolved.manifest_blob.digest,
            content::reference_labels(parts),
        )
        .await?;
        let snapshot = format!("containerd.io/gc.ref.snapshot.{}", self.snapshotter());
        let labels = HashMap::from([(snapshot, resolved.chain_id.clone())]);
        content::label(&self.connection, &manifest.config.digest, labels).await
    }
}

impl Pulls {
    /// The pull of this image with these credentials; true if it is a new one, for the caller to do.
    fn join(&self, reference: &str, auth: &[RegistryAuth], sink: ProgressSink) -> (Arc<Pull>, bool) {
        let mut active = lock(&self.active);
        if let Some(pull) = active
            .iter()
            .find(|pull| pull.reference == reference && pull.auth == auth)
        {
            pull.join(sink);
            return (Arc::clone(pull), false);
        }
        let pull = Arc::new(Pull {
            reference: reference.to_owned(),
            auth: auth.to_vec(),
            sinks: Mutex::new(vec![sink]),
            resolved: Mutex::default(),
            outcome: watch::Sender::new(None),
        });
        active.push(Arc::clone(&pull));
        (pull, true)
    }
}

/// A pull that has not finished; when it is dropped, those who wait are told.
struct Unfinished<'a> {
    pulls: &'a Pulls,
    pull: &'a Arc<Pull>,
}

impl Unfinished<'_> {
    fn finish(self, outcome: Result<(), String>) {
        self.pull.outcome.send_replace(Some(outcome));
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        lock(&self.pulls.active).retain(|pull| !Arc::ptr_eq(pull, self.pull));
        self.pull.outcome.send_if_modified(|outcome| {
            let interrupted = outcome.is_none();
            if interrupted {
                *outcome = Some(Err("the pull was interrupted".into()));
            }
            interrupted
        });
    }
}

fn words(error: &Error) -> String {
    match error {
        Error::Pull { message, .. } => message.clone(),
        other => other.to_string(),
    }
}

fn pull_error(request: &PullRequest, error: &Error) -> Error {
    Error::Pull {
        reference: request.reference.clone(),
        message: words(error),
    }
}
