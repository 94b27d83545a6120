//! Parts that run: started in order, stopped in reverse.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long one part may take to stop before the next is told to.
const PATIENCE: Duration = Duration::from_secs(10);

struct Part {
    name: &'static str,
    cancel: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

/// The running parts of a server, oldest first.
pub struct Supervisor {
    parts: Vec<Part>,
    /// Cancelled when a part ends before it was told to.
    failed: CancellationToken,
}

impl Supervisor {
    /// No part yet.
    pub fn new() -> Self {
        Supervisor {
            parts: Vec::new(),
            failed: CancellationToken::new(),
        }
    }

    /// Starts a part. It gets a token, and returns soon after that is cancelled.
    pub fn start<F>(&mut self, name: &'static str, part: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let cancel = CancellationToken::new();
        let run = part(cancel.clone());
        let (stopping, failed) = (cancel.clone(), self.failed.clone());
        let task = tokio::spawn(async move {
            let ended = run.await;
            if !stopping.is_cancelled() {
                match &ended {
                    Ok(()) => tracing::error!(part = name, "a part ended by itself"),
                    Err(error) => tracing::error!(part = name, error = format!("{error:#}"), "a part failed"),
                }
                failed.cancel();
            }
            ended
        });
        self.parts.push(Part { name, cancel, task });
    }

    /// Waits until a part ends by itself.
    pub async fn failed(&self) {
        self.failed.cancelled().await;
    }

    /// Stops all parts, the newest first.
    pub async fn stop(mut self) {
        while let Some(Part {
            name,
            cancel,
            mut task,
        }) = self.parts.pop()
        {
            cancel.cancel();
            match tokio::time::timeout(PATIENCE, &mut task).await {
                Ok(Ok(Ok(()))) => tracing::debug!(part = name, "stopped"),
                Ok(Ok(Err(error))) => {
                    tracing::warn!(part = name, error = format!("{error:#}"), "stopped with an error")
                }
                Ok(Err(error)) => tracing::error!(part = name, %error, "a part panicked"),
                Err(_) => {
                    tracing::warn!(part = name, "did not stop in time and is left behind");
                    task.abort();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[tokio::test]
    async fn parts_stop_in_reverse_order() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut supervisor = Supervisor::new();
        for name in ["store", "api", "kubelet"] {
            let order = order.clone();
            supervisor.start(name, |cancel| async move {
                cancel.cancelled().await;
                order.lock().unwrap().push(name);
                Ok(())
            });
        }
        supervisor.stop().await;
        assert_eq!(*order.lock().unwrap(), ["kubelet", "api", "store"]);
    }

    #[tokio::test]
    async fn a_part_that_ends_by_itself_is_noticed() {
        let mut supervisor = Supervisor::new();
        supervisor.start("api", |_| async { anyhow::bail!("the port is taken") });
        supervisor.failed().await;
        supervisor.stop().await;
    }
}
