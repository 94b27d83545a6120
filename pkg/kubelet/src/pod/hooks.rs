//! Lifecycle hooks: `postStart` and `preStop`.

use std::time::Duration;

use kobune_client::k8s_openapi::api::core::v1::{Container, LifecycleHandler};
use kobune_runtime::Runtime;

use crate::exec::{self, Ended};
use crate::probe::http::{self, Target};
use crate::probe::run::port;

/// A hook has no limit of its own; the pod's grace period bounds preStop. This one is for the rest.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Which container a hook is for.
pub struct HookTarget<'a> {
    /// The runtime.
    pub runtime: &'a dyn Runtime,
    /// The container's spec.
    pub container: &'a Container,
    /// Its id.
    pub id: &'a str,
    /// The pod's address.
    pub ip: &'a str,
}

/// Runs a hook to its end.
pub async fn run(hook: &LifecycleHandler, target: &HookTarget<'_>) -> Result<(), String> {
    if let Some(sleep) = &hook.sleep {
        tokio::time::sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0))).await;
        return Ok(());
    }
    if let Some(action) = &hook.exec {
        let command = action.command.as_deref().unwrap_or_default();
        return match exec::run(target.runtime, target.id, command, LONGEST).await {
            Ended::Exit(0, _) => Ok(()),
            Ended::Exit(code, output) => Err(format!(
                "Exec lifecycle hook ({command:?}) failed - error: command '{}' exited with {code}: {output}, message: {output:?}",
                command.join(" ")
            )),
            Ended::TimedOut(_) => Err("the hook did not end".into()),
            Ended::Failed(message) => Err(message),
        };
    }
    if let Some(action) = &hook.http_get {
        let port = port(&action.port, target.container)?;
        let request = Target::of(action, target.ip, port);
        let answer = http::get(&request, LONGEST, "kube-lifecycle/1.36").await?;
        return match answer.status {
            200..=399 => Ok(()),
            status => Err(format!(
                "HTTP lifecycle hook ({}) failed - status {status}",
                request.path
            )),
        };
    }
    Err("invalid handler: it must have one of exec, httpGet or sleep".into())
}
