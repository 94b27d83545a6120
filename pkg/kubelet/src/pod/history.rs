//! The containers of one pod that the runtime has, newest attempt first.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use kobune_client::k8s_openapi::api::core::v1::{ContainerStatus, PodStatus};
use kobune_runtime::{Container, ContainerState};

/// Annotations that the kubelet keeps with a container, to adopt it after a restart.
pub mod annotation {
    /// Hash of what makes a container another one when it changes (its name and image).
    pub const HASH: &str = "io.kobune.container.hash";
    /// The image as `status.image` shows it.
    pub const IMAGE: &str = "io.kobune.container.image";
    /// The image as `status.imageID` shows it.
    pub const IMAGE_ID: &str = "io.kobune.container.image-id";
    /// Path on the host of the termination message file.
    pub const TERMINATION_FILE: &str = "io.kobune.container.termination-file";
    /// `terminationMessagePolicy`
    pub const TERMINATION_POLICY: &str = "io.kobune.container.termination-policy";
    /// Which of the pod's sandboxes it was made in.
    pub const SANDBOX: &str = "io.kobune.sandbox.attempt";
    /// Seconds of grace to stop it with when its pod's object is gone.
    pub const GRACE: &str = "io.kobune.pod.grace";
}

/// Newest and second newest attempt of one container.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// The newest attempt.
    pub current: Option<Container>,
    /// The one before it.
    pub previous: Option<Container>,
}

/// All attempts by container name.
#[derive(Debug, Clone, Default)]
pub struct Histories {
    by_name: BTreeMap<String, History>,
    notes: HashMap<String, String>,
}

impl Histories {
    /// This container is known to have ended: what says that it runs was looked up before its end and
    /// arrived after it. A container has one life, so nothing else can be meant.
    pub fn is_outdated(&self, container: &Container) -> bool {
        let ended = |c: &Container| matches!(c.state, ContainerState::Exited { .. });
        !ended(container) && self.by_id(&container.id).is_some_and(ended)
    }

    /// Takes in what the runtime says of one container. Answers the id of an attempt that is older
    /// than the two kept and can be removed.
    pub fn observe(&mut self, container: Container) -> Option<Container> {
        let history = self.by_name.entry(container.name.clone()).or_default();
        for slot in [&mut history.current, &mut history.previous] {
            if slot.as_ref().is_some_and(|c| c.id == container.id) {
                *slot = Some(container);
                return None;
            }
        }
        match &history.current {
            Some(current)
                if (current.attempt, current.created_at) > (container.attempt, container.created_at) =>
            {
                match &history.previous {
                    Some(p) if (p.attempt, p.created_at) > (container.attempt, container.created_at) => {
                        Some(container)
                    }
                    _ => history.previous.replace(container),
                }
            }
            _ => {
                let old = history.previous.take();
                history.previous = history.current.replace(container);
                old
            }
        }
    }

    /// Forgets a container that the runtime no longer has.
    pub fn remove(&mut self, id: &str) {
        for history in self.by_name.values_mut() {
            if history.previous.as_ref().is_some_and(|c| c.id == id) {
                history.previous = None;
            }
            if history.current.as_ref().is_some_and(|c| c.id == id) {
                history.current = history.previous.take();
            }
        }
        self.notes.remove(id);
    }

    /// Forgets everything (the sandbox is gone).
    pub fn clear(&mut self) {
        *self = Histories::default();
    }

    /// Remembers a container's termination message.
    pub fn note(&mut self, id: &str, message: String) {
        self.notes.insert(id.to_owned(), message);
    }

    /// A container's termination message, once it was read (empty: it wrote none).
    pub fn noted(&self, id: &str) -> Option<&str> {
        self.notes.get(id).map(String::as_str)
    }

    /// Newest attempt of a container.
    pub fn current(&self, name: &str) -> Option<&Container> {
        self.by_name.get(name)?.current.as_ref()
    }

    /// The attempt before the newest.
    pub fn previous(&self, name: &str) -> Option<&Container> {
        self.by_name.get(name)?.previous.as_ref()
    }

    /// A container by id.
    pub fn by_id(&self, id: &str) -> Option<&Container> {
        self.all().find(|c| c.id == id)
    }

    /// Every container that is known.
    pub fn all(&self) -> impl Iterator<Item = &Container> {
        self.by_name
            .values()
            .flat_map(|h| h.current.iter().chain(h.previous.iter()))
    }

    /// Containers that have a process, or may get one.
    pub fn alive(&self) -> impl Iterator<Item = &Container> {
        self.all()
            .filter(|c| matches!(c.state, ContainerState::Running { .. } | ContainerState::Created))
    }
}

/// What is known of a container's newest life, from the runtime or, when that lost it, from the
/// status in the API.
#[derive(Debug, Clone, PartialEq)]
pub enum Life {
    /// It never ran.
    Never,
    /// Created, not started.
    Created,
    /// It runs.
    Running,
    /// It ended.
    Ended {
        /// As in its status.
        exit_code: i32,
        /// When.
        at: Option<Timestamp>,
    },
}

/// The newest life of the container `name`.
pub fn life(known: &Histories, status: &PodStatus, name: &str) -> Life {
    match known.current(name).map(|c| &c.state) {
        Some(ContainerState::Running { .. }) => Life::Running,
        Some(ContainerState::Created) => Life::Created,
        Some(ContainerState::Exited {
            exit_code,
            finished_at,
            ..
        }) => Life::Ended {
            exit_code: *exit_code,
            at: Some(*finished_at),
        },
        None => status_of(status, name).map_or(Life::Never, past_life),
    }
}

fn past_life(status: &ContainerStatus) -> Life {
    let state = status.state.as_ref();
    let last = status.last_state.as_ref();
    let ended = state
        .and_then(|s| s.terminated.as_ref())
        .or_else(|| last.and_then(|s| s.terminated.as_ref()));
    match ended {
        Some(t) => Life::Ended {
            exit_code: t.exit_code,
            at: t.finished_at.as_ref().map(|t| t.0),
        },
        None if state.is_some_and(|s| s.running.is_some()) => Life::Ended {
            exit_code: 137,
            at: None,
        },
        None => Life::Never,
    }
}

/// The status of a container, whatever list it is in.
pub fn status_of<'a>(status: &'a PodStatus, name: &str) -> Option<&'a ContainerStatus> {
    let lists = [
        &status.container_statuses,
        &status.init_container_statuses,
        &status.ephemeral_container_statuses,
    ];
    lists.into_iter().flatten().flatten().find(|s| s.name == name)
}

/// The number of the next attempt, which is also the restart count shown then.
pub fn next_attempt(known: &Histories, status: &PodStatus, name: &str) -> u32 {
    if let Some(current) = known.current(name) {
        return current.attempt + 1;
    }
    let Some(status) = status_of(status, name) else {
        return 0;
    };
    let count = u32::try_from(status.restart_count).unwrap_or(0);
    // With a container id the count is that container's; without, it was raised already.
    if status.container_id.is_some() {
        count + 1
    } else {
        count
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    pub(crate) fn container(name: &str, attempt: u32, state: ContainerState) -> Container {
        Container {
            id: format!("{name}-{attempt}"),
            sandbox_id: "u1".into(),
            pod_name: "web".into(),
            pod_namespace: "default".into(),
            name: name.into(),
            attempt,
            image: "nginx".into(),
            image_id: "sha256:1".into(),
            created_at: at(i64::from(attempt)),
            state,
            log_path: Default::default(),
            annotations: Default::default(),
            user: None,
        }
    }

    pub(crate) fn running() -> ContainerState {
        ContainerState::Running {
            started_at: at(0),
            pid: 1,
        }
    }

    pub(crate) fn exited(exit_code: i32, second: i64) -> ContainerState {
        ContainerState::Exited {
            started_at: Some(at(0)),
            finished_at: at(second),
            exit_code,
            oom_killed: false,
            message: None,
            lost: false,
        }
    }

    #[test]
    fn the_newest_two_attempts_are_kept() {
        let mut h = Histories::default();
        assert_eq!(h.observe(container("a", 1, exited(0, 1))), None);
        assert_eq!(h.observe(container("a", 0, exited(0, 1))), None);
        assert_eq!(h.current("a").unwrap().attempt, 1);
        let old = h.observe(container("a", 2, running())).unwrap();
        assert_eq!(old.attempt, 0);
        assert_eq!(
            (h.current("a").unwrap().attempt, h.previous("a").unwrap().attempt),
            (2, 1)
        );
        assert_eq!(next_attempt(&h, &PodStatus::default(), "a"), 3);
    }

    #[test]
    fn an_ended_container_does_not_come_back_to_life() {
        let mut known = Histories::default();
        known.observe(container("a", 0, exited(1, 5)));
        assert!(known.is_outdated(&container("a", 0, running())));
        assert!(!known.is_outdated(&container("a", 0, exited(1, 5))));
        assert!(!known.is_outdated(&container("a", 1, running())));
    }

    #[test]
    fn a_container_the_runtime_lost_counts_as_ended() {
        let status: PodStatus = serde_json::from_value(serde_json::json!({"containerStatuses": [
            {"name": "a", "image": "", "imageID": "", "ready": true, "restartCount": 2, "containerID": "containerd://x",
             "state": {"running": {}}}]})).unwrap();
        let h = Histories::default();
        assert_eq!(
            life(&h, &status, "a"),
            Life::Ended {
                exit_code: 137,
                at: None
            }
        );
        assert_eq!(next_attempt(&h, &status, "a"), 3);
    }
}
