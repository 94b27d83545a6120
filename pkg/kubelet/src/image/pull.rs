//! Makes sure that a container's image is here, as its `imagePullPolicy` says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kobune_client::EventType;
use kobune_runtime::{Error, Image, PullRequest, Runtime};

use super::access::Access;
use super::credentials::Credential;
use super::progress::Tally;
use crate::pod::backoff::go_duration;
use crate::pod::plan::Waiting;

/// `imagePullPolicy`; by default `Always` for `:latest` (or no tag), else `IfNotPresent`.
pub fn policy<'a>(policy: Option<&'a str>, image: &str) -> &'a str {
    match policy.filter(|p| !p.is_empty()) {
        Some(policy) => policy,
        None if tag(image).is_none_or(|t| t == "latest") && !image.contains('@') => "Always",
        None => "IfNotPresent",
    }
}

fn tag(image: &str) -> Option<&str> {
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split('@')
        .next()
        .and_then(|l| l.split_once(':'))
        .map(|(_, tag)| tag)
}

/// Records events of a container.
pub type Tell<'a> = dyn Fn(EventType, &str, String) + Send + Sync + 'a;

/// Who waits for a large image hears of it so often.
const PROGRESS_PAUSE: Duration = Duration::from_secs(10);

/// Why there is no image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// `state.waiting`
    pub waiting: Waiting,
    /// It was a pull that failed: the image back-off applies.
    pub pull: bool,
}

impl Failed {
    fn new(reason: &str, message: String, pull: bool) -> Self {
        Failed {
            waiting: Waiting {
                reason: reason.into(),
                message,
            },
            pull,
        }
    }
}

/// Pulls images, each reference once at a time.
pub struct Puller {
    under_way: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    access: Access,
}

/// One container's need of an image.
pub struct Need<'a> {
    /// As the user wrote it.
    pub image: &'a str,
    /// `imagePullPolicy`
    pub policy: &'a str,
    /// Credentials that fit.
    pub credentials: Vec<Credential>,
}

impl Puller {
    /// A puller that knows who may use what is here.
    pub fn new(access: Access) -> Self {
        Puller {
            under_way: Mutex::default(),
            access,
        }
    }

    /// The image, pulled if it has to be. `tell` records events of the container.
    pub async fn ensure(
        &self,
        runtime: &dyn Runtime,
        need: Need<'_>,
        tell: &Tell<'_>,
    ) -> Result<Image, Failed> {
        let image = need.image;
        if need.policy != "Always" {
            let here = present(runtime, image, tell).await?;
            if let Some(found) = here.filter(|found| self.allows(&need, found)) {
                let message = format!(
                    "Container image {image:?} already present on machine and can be accessed by the pod"
                );
                tell(EventType::Normal, "Pulled", message);
                return Ok(found);
            }
        }
        if need.policy == "Never" {
            // Nor is it said that it is here, to who may not use it.
            let message = format!("Container image {image:?} is not present with pull policy of Never");
            tell(EventType::Warning, "ErrImageNeverPull", message.clone());
            return Err(Failed::new("ErrImageNeverPull", message, false));
        }
        let waited = Instant::now();
        tell(EventType::Normal, "Pulling", format!("Pulling image {image:?}"));
        let gate = self.gate(image);
        let guard = gate.lock().await;
        let begun = Instant::now();
        let pulled = self.pull(runtime, &need, tell).await;
        drop(guard);
        drop(gate);
        self.sweep();
        match pulled {
            Ok(found) => {
                let (took, all) = (millis(begun), millis(waited));
                tell(
                    EventType::Normal,
                    "Pulled",
                    format!(
                        "Successfully pulled image {image:?} in {took} ({all} including waiting). Image size: {} bytes.",
                        found.size
                    ),
                );
                Ok(found)
            }
            Err(error @ Error::InvalidImageName { .. }) => Err(invalid_name(image, &error, tell)),
            Err(error) => {
                tell(
                    EventType::Warning,
                    "Failed",
                    format!("Failed to pull image {image:?}: {error}"),
                );
                Err(Failed::new("ErrImagePull", error.to_string(), true))
            }
        }
    }

    fn allows(&self, need: &Need<'_>, found: &Image) -> bool {
        let sources = need
            .credentials
            .iter()
            .map(|credential| credential.source.clone());
        self.access
            .allows(need.image, &found.id, &sources.collect::<Vec<_>>())
    }

    /// Pulls, and notes whose credentials opened the registry.
    async fn pull(
        &self,
        runtime: &dyn Runtime,
        need: &Need<'_>,
        tell: &Tell<'_>,
    ) -> kobune_runtime::Result<Image> {
        // Somebody else may have brought it meanwhile, for himself.
        let here = runtime.image(need.image).await?;
        let request = PullRequest {
            reference: need.image.to_owned(),
            auth: need
                .credentials
                .iter()
                .map(|credential| credential.auth.clone())
                .collect(),
            force: need.policy == "Always" || here.is_some_and(|found| !self.allows(need, &found)),
        };
        let begun = self.access.begin(need.image);
        let tally = Arc::new(Tally::default());
        let pulled = watched(runtime, &request, &tally, tell).await;
        if let (Ok(found), Some(accepted)) = (&pulled, tally.accepted()) {
            let credential = accepted.and_then(|number| need.credentials.get(number));
            begun.brought(found, credential.map(|credential| credential.source.clone()));
        }
        pulled
    }

    /// Forgets who may use images that are gone.
    pub async fn forget_gone(&self, runtime: &dyn Runtime) {
        if let Ok(images) = runtime.images().await {
            self.access
                .retain(&images.into_iter().map(|image| image.id).collect());
        }
    }

    fn gate(&self, image: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut gates = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        gates.entry(image.to_owned()).or_default().clone()
    }

    fn sweep(&self) {
        let mut gates = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        gates.retain(|_, gate| Arc::strong_count(gate) > 1);
    }
}

/// Pulls, and says now and then how far that is.
async fn watched(
    runtime: &dyn Runtime,
    request: &PullRequest,
    tally: &Arc<Tally>,
    tell: &Tell<'_>,
) -> kobune_runtime::Result<Image> {
    let taking = Arc::clone(tally);
    let pulled = runtime.pull_image(request, Arc::new(move |progress| taking.take(progress)));
    tokio::pin!(pulled);
    loop {
        tokio::select! {
            pulled = &mut pulled => return pulled,
            () = tokio::time::sleep(PROGRESS_PAUSE) => {
                if let Some(news) = tally.news() {
                    let message = format!("Pulling image {:?}: {news}", request.reference);
                    tell(EventType::Normal, "Pulling", message);
                }
            }
        }
    }
}

fn millis(since: Instant) -> String {
    go_duration(std::time::Duration::from_millis(
        u64::try_from(since.elapsed().as_millis()).unwrap_or(0),
    ))
}

fn invalid_name(image: &str, error: &Error, tell: &Tell<'_>) -> Failed {
    let message = format!("Failed to apply default image tag {image:?}: {error}");
    tell(EventType::Warning, "InspectFailed", message.clone());
    Failed::new("InvalidImageName", message, false)
}

async fn present(runtime: &dyn Runtime, image: &str, tell: &Tell<'_>) -> Result<Option<Image>, Failed> {
    match runtime.image(image).await {
        Ok(found) => Ok(found),
        Err(error @ Error::InvalidImageName { .. }) => Err(invalid_name(image, &error, tell)),
        Err(error) => {
            let message = format!("Failed to inspect image {image:?}: {error}");
            tell(EventType::Warning, "InspectFailed", message.clone());
            Err(Failed::new("ImageInspectError", message, false))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pull_that_takes_long_is_told_of() {
        let runtime = kobune_runtime::fake::FakeRuntime::new();
        runtime.add_to_registry("large");
        runtime.hold_pulls(true);
        let told = Arc::new(Mutex::new(Vec::new()));
        let (notes, release) = (Arc::clone(&told), runtime.clone());
        let tell = move |_: EventType, reason: &str, message: String| {
            if message.contains("MiB") {
                release.hold_pulls(false);
            }
            notes.lock().unwrap().push(format!("{reason} {message}"));
        };
        let need = Need {
            image: "large",
            policy: "Always",
            credentials: Vec::new(),
        };
        let folder = tempfile::tempdir().unwrap();
        let puller = Puller::new(Access::open(folder.path().join("pulls.json")));
        puller.ensure(&runtime, need, &tell).await.unwrap();
        let told = told.lock().unwrap();
        assert_eq!(told[0], "Pulling Pulling image \"large\"");
        assert_eq!(
            told[1],
            "Pulling Pulling image \"large\": 1.0 of 4.0 MiB downloaded"
        );
        assert!(told[2].starts_with("Pulled Successfully pulled"), "{told:?}");
    }

    #[test]
    fn the_default_policy_depends_on_the_tag() {
        assert_eq!(policy(None, "nginx"), "Always");
        assert_eq!(policy(None, "nginx:latest"), "Always");
        assert_eq!(policy(None, "nginx:1.27"), "IfNotPresent");
        assert_eq!(policy(None, "localhost:5000/nginx"), "Always");
        assert_eq!(policy(None, "nginx@sha256:ab"), "IfNotPresent");
        assert_eq!(policy(Some("Never"), "nginx"), "Never");
    }
}
