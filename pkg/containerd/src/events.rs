//! What containerd tells: exits and kills for memory, over one stream that is kept up.
//!
//! ```text
//! connect -> subscribe, proven by an event of our own -> list -> follow ... broken -> pause -> connect
//! ```
//!
//! Subscribe answers only with the first event. So we publish one: when it comes back, nothing
//! that happens from then on is missed, and a list made after it completes the picture.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use containerd_client::events::{TaskExit, TaskOom};
use containerd_client::services::v1 as api;
use containerd_client::types::Envelope;
use jiff::Timestamp;
use kobune_runtime::{ContainerEvent, ContainerEventKind, Result};
use prost::Message;
use tonic::Streaming;

use crate::Containerd;
use crate::connection::failed;
use crate::container::exit::timestamp;

/// The topic of the event that proves a subscription.
const PROOF: &str = "/kobune/subscribed";
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl Containerd {
    /// Follows the events until shutdown; `loaded` is told when the first list is complete.
    pub(crate) async fn follow_events(self: Arc<Self>, loaded: tokio::sync::oneshot::Sender<Result<()>>) {
        let stop = self.stop.clone();
        tokio::select! {
            () = self.follow(Some(loaded)) => {}
            () = stop.cancelled() => {}
        }
    }

    async fn follow(self: &Arc<Self>, mut loaded: Option<tokio::sync::oneshot::Sender<Result<()>>>) {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.begin().await {
                Ok(stream) => {
                    pause = FIRST_PAUSE;
                    match loaded.take() {
                        Some(loaded) => drop(loaded.send(Ok(()))),
                        None => self.tell_resync(),
                    }
                    let error = self.listen(stream).await;
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
        let stream = self.subscribe().await?;
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

    async fn listen(self: &Arc<Self>, mut stream: Streaming<Envelope>) -> String {
        loop {
            match stream.message().await {
                Ok(Some(envelope)) => self.heard(&envelope),
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
