//! Stops one container: preStop hook, stop signal, and after the grace period a kill.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kobune_client::EventType;
use kobune_runtime::{Container, ContainerState};

use super::desired::Desired;
use super::hooks::{self, HookTarget};
use crate::context::Context;

/// After a hook that used the whole grace period a container still gets this long.
const MINIMUM: Duration = Duration::from_secs(2);

/// What to stop.
pub struct Kill {
    /// Shared things.
    pub context: Arc<Context>,
    /// The pod.
    pub pod: Desired,
    /// The container.
    pub container: Container,
    /// Time it has.
    pub grace: Duration,
    /// The `Killing` event's text; `None` when it was recorded before.
    pub message: Option<String>,
    /// The pod's address.
    pub ip: String,
    /// Run the preStop hook.
    pub hook: bool,
}

impl Kill {
    /// Stops it; answers it as it is then (`None`: gone).
    pub async fn run(self) -> kobune_runtime::Result<Option<Container>> {
        let name = &self.container.name;
        if let Some(message) = &self.message {
            self.context
                .tell_container(&self.pod, name, EventType::Normal, "Killing", message.clone());
        }
        let begun = Instant::now();
        let hooked = self.hook && self.pre_stop().await;
        let left = match hooked {
            true => self
                .grace
                .saturating_sub(begun.elapsed())
                .max(MINIMUM.min(self.grace)),
            false => self.grace,
        };
        let id = &self.container.id;
        self.context.runtime.stop_container(id, left).await?;
        if self.container.state == ContainerState::Created {
            // It never ran: there is nothing to tell of it.
            self.context.runtime.remove_container(id).await?;
            return Ok(None);
        }
        match self.context.runtime.container(id).await {
            Ok(container) => Ok(Some(container)),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// True when there was a hook.
    async fn pre_stop(&self) -> bool {
        if !matches!(self.container.state, ContainerState::Running { .. }) {
            return false;
        }
        let Some((_, spec)) = self.pod.container(&self.container.name) else {
            return false;
        };
        let Some(hook) = spec.lifecycle.as_ref().and_then(|l| l.pre_stop.as_ref()) else {
            return false;
        };
        let target = HookTarget {
            runtime: &*self.context.runtime,
            container: spec,
            id: &self.container.id,
            ip: &self.ip,
        };
        match tokio::time::timeout(self.grace, hooks::run(hook, &target)).await {
            Ok(Ok(())) => {}
            Ok(Err(message)) => {
                tracing::debug!(pod = %self.pod.full_name(), container = %spec.name, %message, "preStop failed");
                self.context.tell_container(
                    &self.pod,
                    &spec.name,
                    EventType::Warning,
                    "FailedPreStopHook",
                    "PreStopHook failed",
                );
            }
            Err(_) => tracing::debug!(pod = %self.pod.full_name(), "preStop used the whole grace period"),
        }
        true
    }
}
