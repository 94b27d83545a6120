//! Starts one container: image, configuration, creation, start, postStart hook.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use kobune_client::EventType;
use kobune_client::k8s_openapi::api::core::v1::Container as Spec;
use kobune_runtime::{Container, ContainerSpec, ContainerState, Image};

use super::desired::{Desired, Role};
use super::env::{EnvInput, Referenced, environment};
use super::expand::expand;
use super::history::annotation;
use super::hooks::{self, HookTarget};
use super::plan::{Waiting, definition_hash};
use super::setup::{Prepared, referenced};
use super::{mounts, resources, security};
use crate::context::Context;
use crate::image::{credentials, pull};

/// What to start.
pub struct Start {
    /// Shared things.
    pub context: Arc<Context>,
    /// The pod.
    pub pod: Desired,
    /// The container's name.
    pub name: String,
    /// Its number.
    pub attempt: u32,
    /// Sandbox and volumes.
    pub prepared: Prepared,
    /// A container of the same name whose state nobody knows; it goes first.
    pub lost: Option<String>,
    /// The running container that an ephemeral one is to look at, or why it cannot.
    pub target: Option<Result<String, String>>,
}

/// Why a container was not started.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What to show.
    pub waiting: Waiting,
    /// The image back-off applies.
    pub pull: bool,
    /// The container there is nevertheless (it ended at once, or its hook failed).
    pub container: Option<Container>,
}

impl Failure {
    fn new(reason: &str, message: impl Into<String>) -> Self {
        let waiting = Waiting {
            reason: reason.into(),
            message: message.into(),
        };
        Failure {
            waiting,
            pull: false,
            container: None,
        }
    }
}

impl Start {
    /// Starts it. Given up half-way, what was made is found by the record that the runtime keeps.
    pub async fn run(self) -> Result<Container, Failure> {
        let Some((role, spec)) = self.pod.container(&self.name) else {
            return Err(Failure::new(
                "CreateContainerConfigError",
                "the pod has no such container any more",
            ));
        };
        if let Some(lost) = &self.lost {
            // Gone or not: the new one has another id.
            let _ = self
                .context
                .runtime
                .stop_container(lost, std::time::Duration::ZERO)
                .await;
        }
        let image = self.image(spec).await?;
        let _permit = self.context.permits.acquire().await;
        let config = match self.configuration(role, spec, &image).await {
            Ok(config) => config,
            Err(message) => return Err(self.failed("CreateContainerConfigError", message)),
        };
        let runtime = &self.context.runtime;
        let id = match runtime.create_container(&self.prepared.sandbox, &config).await {
            Ok(id) => id,
            Err(e @ kobune_runtime::Error::Config { .. }) => {
                return Err(self.failed("CreateContainerConfigError", e.to_string()));
            }
            Err(e) => return Err(self.failed("CreateContainerError", e.to_string())),
        };
        self.tell(EventType::Normal, "Created", "Container created".into());
        if let Err(error) = runtime.start_container(&id).await {
            return Err(self.not_started(&id, error).await);
        }
        self.tell(EventType::Normal, "Started", "Container started".into());
        let container = runtime
            .container(&id)
            .await
            .map_err(|e| self.failed("RunContainerError", e.to_string()))?;
        drop(_permit);
        self.link_log(&container);
        self.post_start(spec, container).await
    }

    fn tell(&self, kind: EventType, reason: &str, message: String) {
        self.context
            .tell_container(&self.pod, &self.name, kind, reason, message);
    }

    fn failed(&self, reason: &str, message: String) -> Failure {
        self.tell(EventType::Warning, "Failed", format!("Error: {message}"));
        Failure::new(reason, message)
    }

    async fn image(&self, spec: &Spec) -> Result<Image, Failure> {
        let name = spec.image.as_deref().unwrap_or_default();
        let secrets = self.pull_secrets().await;
        let need = pull::Need {
            image: name,
            policy: pull::policy(spec.image_pull_policy.as_deref(), name),
            credentials: credentials::fitting(secrets.secrets.values().map(|s| &**s), name),
        };
        let tell = |kind, reason: &str, message| self.tell(kind, reason, message);
        self.context
            .puller
            .ensure(&*self.context.runtime, need, &tell)
            .await
            .map_err(|failed| {
                self.tell(
                    EventType::Warning,
                    "Failed",
                    format!("Error: {}", failed.waiting.reason),
                );
                Failure {
                    waiting: failed.waiting,
                    pull: failed.pull,
                    container: None,
                }
            })
    }

    /// Only the pull secrets; one that is missing is said and does not hinder a public image.
    async fn pull_secrets(&self) -> Referenced {
        let wanted = self.pod.spec().image_pull_secrets.as_deref().unwrap_or_default();
        if wanted.is_empty() {
            return Referenced::default();
        }
        let names = wanted.iter().map(|s| (s.name.clone(), false)).collect();
        let references = crate::volume::References {
            secrets: names,
            ..Default::default()
        };
        let found = self
            .context
            .objects
            .get(self.pod.namespace(), &references)
            .await
            .unwrap_or_default();
        let missing: Vec<&str> = references
            .secrets
            .keys()
            .filter(|n| !found.secrets.contains_key(*n))
            .map(String::as_str)
            .collect();
        if !missing.is_empty() {
            let message = format!(
                "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
                missing.join(", ")
            );
            self.context.tell(
                &self.pod,
                EventType::Warning,
                "FailedToRetrieveImagePullSecret",
                message,
            );
        }
        found
    }

    /// Everything decided; the error is `CreateContainerConfigError`'s message.
    async fn configuration(&self, role: Role, spec: &Spec, image: &Image) -> Result<ContainerSpec, String> {
        let (context, pod) = (&self.context, &self.pod);
        security::verify_non_root(pod, spec, &image.user)?;
        let env = self.environment(spec).await?;
        let dir = context.config.pod_dir(pod.uid());
        let log_dir = context.log_dir(pod).join(&self.name);
        let (mounts, termination) = {
            let (pod, spec, prepared) = (pod.clone(), spec.clone(), self.prepared.clone());
            let (env, attempt) = (env.clone(), self.attempt);
            let log_dir = log_dir.clone();
            let work = tokio::task::spawn_blocking(move || {
                std::fs::create_dir_all(&log_dir).map_err(|e| {
                    format!(
                        "create container log directory for container {} failed: {e}",
                        spec.name
                    )
                })?;
                mounts::mounts(&pod, &spec, attempt, &prepared, &env, &dir)
            });
            work.await.map_err(|e| e.to_string())??
        };
        let lookup = |n: &str| {
            env.iter()
                .rev()
                .find(|(name, _)| name == n)
                .map(|(_, v)| v.clone())
        };
        let expanded =
            |list: &Option<Vec<String>>| list.iter().flatten().map(|s| expand(s, lookup)).collect();
        let mut limits = resources::container(pod, role, spec, context.memory);
        limits.oom_score_adj = limits.oom_score_adj.map(|s| s.max(context.lowest_oom_score));
        Ok(ContainerSpec {
            name: self.name.clone(),
            attempt: self.attempt,
            image: image.id.clone(),
            command: expanded(&spec.command),
            args: expanded(&spec.args),
            working_dir: spec.working_dir.clone().filter(|d| !d.is_empty()),
            env: env.clone(),
            mounts,
            devices: Vec::new(),
            resources: limits,
            cgroup_parent: self.prepared.sandbox.spec.cgroup_parent.clone(),
            security: security::merged(pod, spec, &context.config.root_dir.join("seccomp")),
            log_path: log_dir.join(format!("{}.log", self.attempt)),
            log_max_size: context.config.log_max_size,
            log_max_files: context.config.log_max_files,
            stdin: spec.stdin.unwrap_or(false),
            stdin_once: spec.stdin_once.unwrap_or(false),
            tty: spec.tty.unwrap_or(false),
            stop_signal: spec.lifecycle.as_ref().and_then(|l| l.stop_signal.clone()),
            process_namespace_of: self.target.clone().transpose()?,
            annotations: self.annotations(spec, image, termination),
        })
    }

    async fn environment(&self, spec: &Spec) -> Result<Vec<(String, String)>, String> {
        let (context, pod) = (&self.context, &self.pod);
        let uses_objects = spec.env_from.as_ref().is_some_and(|e| !e.is_empty())
            || spec.env.iter().flatten().any(|e| e.value_from.is_some());
        let referenced = if uses_objects {
            referenced(context, pod).await?
        } else {
            Referenced::default()
        };
        // Without the Services a container would miss KUBERNETES_SERVICE_HOST.
        context.services.ready().await;
        let namespace = pod.namespace();
        let services = context
            .services
            .filter(|k, _| k.namespace == namespace || (k.namespace == "default" && k.name == "kubernetes"));
        let around = context.surroundings(pod, &self.prepared.ips);
        let input = EnvInput {
            pod,
            referenced: &referenced,
            services: &services,
            around: &around,
        };
        environment(&input, spec).map_err(|e| e.to_string())
    }

    fn annotations(&self, spec: &Spec, image: &Image, termination: PathBuf) -> BTreeMap<String, String> {
        let policy = spec
            .termination_message_policy
            .clone()
            .unwrap_or_else(|| "File".into());
        let asked = spec.image.as_deref().unwrap_or_default();
        let shown = shown_tag(&image.tags, asked).to_owned();
        let image_id = image.digests.first().unwrap_or(&image.id).clone();
        let pairs = [
            (annotation::HASH, definition_hash(spec)),
            (annotation::IMAGE, shown),
            (annotation::IMAGE_ID, image_id),
            (
                annotation::TERMINATION_FILE,
                termination.to_string_lossy().into_owned(),
            ),
            (annotation::TERMINATION_POLICY, policy),
            (annotation::SANDBOX, self.prepared.sandbox.attempt.to_string()),
            (annotation::GRACE, self.pod.termination_grace().to_string()),
        ];
        pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
    }

    async fn not_started(&self, id: &str, error: kobune_runtime::Error) -> Failure {
        let mut failure = self.failed("RunContainerError", error.to_string());
        match self.context.runtime.container(id).await {
            Ok(container) if container.state != ContainerState::Created => {
                failure.container = Some(container);
            }
            _ => {
                let _ = self.context.runtime.remove_container(id).await;
            }
        }
        failure
    }

    /// The link that log collectors look for: `/var/log/containers/<pod>_<ns>_<container>-<id>.log`.
    fn link_log(&self, container: &Container) {
        let Some(dir) = &self.context.config.log_links else {
            return;
        };
        let pod = &self.pod;
        let name = format!(
            "{}_{}_{}-{}.log",
            pod.name(),
            pod.namespace(),
            self.name,
            container.id
        );
        let made = std::fs::create_dir_all(dir)
            .and_then(|()| std::os::unix::fs::symlink(&container.log_path, dir.join(name)));
        if let Err(error) = made {
            tracing::debug!(%error, "a link to a container's log was not made");
        }
    }

    async fn post_start(&self, spec: &Spec, container: Container) -> Result<Container, Failure> {
        let Some(hook) = spec.lifecycle.as_ref().and_then(|l| l.post_start.as_ref()) else {
            return Ok(container);
        };
        let target = HookTarget {
            runtime: &*self.context.runtime,
            container: spec,
            id: &container.id,
            ip: self.prepared.ips.first().map_or("127.0.0.1", String::as_str),
        };
        let Err(message) = hooks::run(hook, &target).await else {
            return Ok(container);
        };
        // The message may hold secrets: it goes to the status, not to an event.
        self.tell(
            EventType::Warning,
            "FailedPostStartHook",
            "PostStartHook failed".into(),
        );
        self.tell(EventType::Normal, "Killing", "FailedPostStartHook".into());
        let grace = std::time::Duration::from_secs(u64::try_from(self.pod.termination_grace()).unwrap_or(30));
        let _ = self.context.runtime.stop_container(&container.id, grace).await;
        let mut failure = Failure::new("PostStartHookError", message);
        failure.container = self.context.runtime.container(&container.id).await.ok();
        Err(failure)
    }
}

/// What `status.containerStatuses[].image` shows: the name asked for, as the runtime has it, though
/// the image may have others.
fn shown_tag<'a>(tags: &'a [String], asked: &'a str) -> &'a str {
    let is_asked = |tag: &&String| {
        let rest = tag.strip_suffix(asked);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
    };
    tags.iter()
        .find(is_asked)
        .or(tags.first())
        .map_or(asked, String::as_str)
}

#[cfg(test)]
mod tests {
    use super::shown_tag;

    #[test]
    fn the_name_that_was_asked_for_is_shown_of_an_image_that_has_several() {
        let tags: Vec<String> = ["docker.io/library/busybox:1.35", "docker.io/library/busybox:1.36"]
            .map(String::from)
            .into();
        assert_eq!(shown_tag(&tags, "busybox:1.36"), tags[1]);
        assert_eq!(shown_tag(&tags, "docker.io/library/busybox:1.36"), tags[1]);
        assert_eq!(shown_tag(&tags, "box:1.36"), tags[0]);
        assert_eq!(shown_tag(&[], "busybox@sha256:0"), "busybox@sha256:0");
    }
}
