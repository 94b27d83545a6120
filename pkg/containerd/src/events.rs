//! What containerd tells: exits and kills for memory, over one stream that is kept up.
//!
//! ```text
//! connect -> subscribe, proven by an event of our own -> list -> follow ... broken -> pause -> connect
//! ```
//!
//! Subscribe answers only with the first event. So we publish one: when it comes back, nothing
//! that happens from then on is missed, and a list made after it completes the picture.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use containerd_client::events::{TaskExit, TaskOom};
use containerd_client::services::v1 as api;
use containerd_client::types::Envelope;
use jiff::Timestamp;
use kobune_runtime::{ContainerEvent, ContainerEventKind, Error, Result};
use prost::Message;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use crate::Containerd;
use crate::connection::failed;
use crate::container::exit::timestamp;

/// The topic of the event that proves a subscription.
const PROOF: &str = "/kobune/subscribed";
/// How long our own event may take to come back.
const SUBSCRIBE_LIMIT: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl Containerd {
    /// Follows the events until shutdown; `loaded` is told when the first list is complete. Only
    /// borrows the runtime: dropping the last handle of it ends this too.
    pub(crate) async fn follow_events(
        this: Weak<Self>,
        stop: CancellationToken,
        loaded: oneshot::Sender<Result<()>>,
    ) {
        tokio::select! {
            () = Self::follow(this, Some(loaded)) => {}
            () = stop.cancelled() => {}
        }
    }

    async fn follow(this: Weak<Self>, mut loaded: Option<oneshot::Sender<Result<()>>>) {
        let mut pause = FIRST_PAUSE;
        loop {
            let Some(runtime) = this.upgrade() else { return };
            match runtime.begin().await {
                Ok(stream) => {
                    pause = FIRST_PAUSE;
                    match loaded.take() {
                        Some(loaded) => drop(loaded.send(Ok(()))),
                        None => runtime.tell_resync(),
                    }
                    drop(runtime);
                    let error = Self::listen(&this, stream).await;
                    tracing::warn!(error, "the connection to containerd broke; connecting again");
                }
                Err(error) => {
                    if let Some(loaded) = loaded.take() {
                        let _ = loaded.send(Err(error));
                        return;
                    }
                    tracing::debug!(%error, "containerd is not reachable");
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn begin(self: &Arc<Self>) -> Result<Streaming<Envelope>> {
        let stream = tokio::time::timeout(SUBSCRIBE_LIMIT, self.subscribe()).await;
        let stream = stream.unwrap_or_else(|_| {
            Err(Error::Unavailable {
                message: "containerd does not deliver events".into(),
            })
        })?;
        self.load().await?;
        Ok(stream)
    }

    async fn subscribe(&self) -> Result<Streaming<Envelope>> {
        let namespace = self.connection.namespace();
        let filters = vec![
            format!("namespace==\"{namespace}\",topic~=\"^/tasks/(exit|oom)$\""),
            format!("namespace==\"{namespace}\",topic==\"{PROOF}\""),
        ];
        let (mut events, mut publisher) = (self.connection.events(), self.connection.events());
        let subscribed = events.subscribe(api::SubscribeRequest { filters });
        tokio::pin!(subscribed);
        let mut pause = Duration::from_millis(5);
        loop {
            let proof = api::PublishRequest {
                topic: PROOF.into(),
                event: Some(containerd_client::to_any(&TaskOom {
                    container_id: String::new(),
                })),
            };
            let published = async {
                let _ = publisher.publish(proof).await;
                tokio::time::sleep(pause).await;
            };
            tokio::select! {
                biased;
                answer = &mut subscribed => {
                    return answer.map(tonic::Response::into_inner).map_err(failed("subscribing to containerd's events"));
                }
                () = published => pause = (pause * 2).min(Duration::from_secs(1)),
            }
        }
    }

    async fn listen(this: &Weak<Self>, mut stream: Streaming<Envelope>) -> String {
        loop {
            match stream.message().await {
                Ok(Some(envelope)) => match this.upgrade() {
                    Some(runtime) => runtime.heard(&envelope),
                    None => return "nobody listens any more".into(),
                },
                Ok(None) => return "containerd ended the stream".into(),
                Err(status) => return status.message().to_owned(),
            }
        }
    }

    fn heard(self: &Arc<Self>, envelope: &Envelope) {
        let Some(event) = &envelope.event else { return };
        match envelope.topic.as_str() {
            "/tasks/exit" => {
                let Ok(exit) = TaskExit::decode(event.value.as_slice()) else {
                    return;
                };
                // Commands that were run in a container end too; who ran them waits for them.
                if exit.id != exit.container_id {
                    return;
                }
                if let Some(entry) = self.entries.find(&exit.container_id) {
                    let this = Arc::clone(self);
                    let at = timestamp(exit.exited_at).unwrap_or_else(Timestamp::now);
                    tokio::spawn(async move { this.ended(&entry, exit.exit_status, at).await });
                }
            }
            "/tasks/oom" => {
                let Ok(oom) = TaskOom::decode(event.value.as_slice()) else {
                    return;
                };
                if let Some(entry) = self.entries.find(&oom.container_id) {
                    entry.oom.store(true, Ordering::Relaxed);
                    self.tell(&entry, ContainerEventKind::OutOfMemory);
                }
            }
            _ => {}
        }
    }

    fn tell_resync(&self) {
        let _ = self.events.send(ContainerEvent {
            sandbox_id: String::new(),
            container_id: String::new(),
            kind: ContainerEventKind::Resync,
        });
    }
}
