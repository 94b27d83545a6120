//! `/containerLogs`: which file is meant, and its stream.

use std::path::{Path, PathBuf};

use http::{Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use jiff::{SignedDuration, Timestamp};
use kobune_client::k8s_openapi::api::core::v1::Pod;
use kobune_runtime::{ContainerEventKind, ContainerState, Runtime};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::route::{Target, flag, value};
use super::{Answer, Refusal, Server};
use crate::logs::line::Output;
use crate::logs::{LogRequest, stream};
use crate::pod::history::status_of;

impl Server {
    pub(super) async fn logs(&self, target: &Target, pairs: &[(String, String)]) -> Result<Answer, Refusal> {
        let pod = self.pod(target)?;
        let mut request = parse(pairs, Timestamp::now())?;
        let previous = flag(pairs, "previous");
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let dir = self
            .context
            .config
            .log_dir
            .join(format!("{}_{}_{uid}", target.namespace, target.pod));
        let file = newest_log(&dir.join(&target.container), usize::from(previous));
        if let Some(reason) = unavailable(&pod, &target.container, previous, file.is_some()) {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, reason));
        }
        request.path = file.ok_or_else(|| {
            let message = format!(
                "failed to find the log of container {:?} in pod {:?}",
                target.container, target.pod
            );
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, message)
        })?;
        let ended = CancellationToken::new();
        if request.follow {
            self.cancel_at_end(&request.path, ended.clone());
        }
        let (to, from) = mpsc::channel(4);
        tokio::spawn(stream(request, ended, to));
        let frames = futures_util::stream::unfold(from, |mut from| async move {
            let piece = from.recv().await?;
            Some((piece.map(Frame::data), from))
        });
        let mut answer = Response::new(StreamBody::new(frames).boxed_unsync());
        let plain = http::HeaderValue::from_static("text/plain");
        answer.headers_mut().insert(http::header::CONTENT_TYPE, plain);
        Ok(answer)
    }

    /// Cancels the token when the container that writes this file does not run any more.
    fn cancel_at_end(&self, log: &Path, ended: CancellationToken) {
        let (runtime, log) = (self.context.runtime.clone(), log.to_owned());
        tokio::spawn(async move {
            let mut events = runtime.events();
            let mut id = writer_of(&*runtime, &log).await;
            while let Some(running) = &id {
                match events.recv().await {
                    Ok(e) if e.container_id == *running && e.kind == ContainerEventKind::Exited => break,
                    Ok(e) if e.kind != ContainerEventKind::Resync => {}
                    Err(tokio::sync::broadcast::error::RecvError::Closed) => break,
                    // The runtime was away, or too much happened at once: look again.
                    _ => id = writer_of(&*runtime, &log).await,
                }
            }
            ended.cancel();
        });
    }
}

/// The running container that writes a log.
async fn writer_of(runtime: &dyn Runtime, log: &Path) -> Option<String> {
    let all = runtime.containers().await.ok()?;
    let running = |s: &ContainerState| matches!(s, ContainerState::Running { .. } | ContainerState::Created);
    all.into_iter()
        .find(|c| c.log_path == log && running(&c.state))
        .map(|c| c.id)
}

/// Reads `PodLogOptions`.
fn parse(pairs: &[(String, String)], now: Timestamp) -> Result<LogRequest, Refusal> {
    let bad = |name: &str| Refusal::new(StatusCode::BAD_REQUEST, format!("invalid value of {name}"));
    let number = |names: [&str; 2]| match names
        .iter()
        .find_map(|n| value(pairs, n))
        .filter(|v| !v.is_empty())
    {
        Some(v) => v.parse::<i64>().map(Some).map_err(|_| bad(names[0])),
        None => Ok(None),
    };
    let mut since = None;
    if let Some(seconds) = number(["sinceSeconds", "sinceSeconds"])? {
        since = now.checked_sub(SignedDuration::from_secs(seconds)).ok();
    }
    if let Some(time) = value(pairs, "sinceTime").filter(|v| !v.is_empty()) {
        since = Some(time.parse().map_err(|_| bad("sinceTime"))?);
    }
    let natural = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok());
    Ok(LogRequest {
        path: PathBuf::new(),
        follow: flag(pairs, "follow"),
        since,
        tail: natural(number(["tailLines", "tail"])?),
        timestamps: flag(pairs, "timestamps"),
        limit: natural(number(["limitBytes", "limitBytes"])?),
        only: match value(pairs, "stream") {
            Some("Stdout") => Some(Output::Stdout),
            Some("Stderr") => Some(Output::Stderr),
            _ => None,
        },
    })
}

/// The log of the newest attempt, or of one `back` attempts before.
fn newest_log(dir: &Path, back: usize) -> Option<PathBuf> {
    let attempt = |p: &Path| p.file_name()?.to_str()?.strip_suffix(".log")?.parse::<u32>().ok();
    let entries = std::fs::read_dir(dir).ok()?.flatten().map(|e| e.path());
    let mut logs: Vec<(u32, PathBuf)> = entries.filter_map(|p| Some((attempt(&p)?, p))).collect();
    logs.sort_unstable_by_key(|(n, _)| std::cmp::Reverse(*n));
    logs.into_iter().nth(back).map(|(_, p)| p)
}

/// Why there is no log, in upstream's words.
fn unavailable(pod: &Pod, container: &str, previous: bool, has_file: bool) -> Option<String> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let status = pod.status.as_ref().and_then(|s| status_of(s, container));
    let Some(status) = status else {
        return (!has_file).then(|| format!("container {container:?} in pod {name:?} is not available"));
    };
    if previous {
        let ended = status.last_state.as_ref().is_some_and(|s| s.terminated.is_some());
        let missing = format!("previous terminated container {container:?} in pod {name:?} not found");
        return (!ended && !has_file).then_some(missing);
    }
    let waiting = status.state.as_ref().and_then(|s| s.waiting.as_ref());
    let reason = waiting
        .and_then(|w| w.reason.as_deref())
        .unwrap_or("ContainerCreating");
    if has_file {
        return None;
    }
    let why = match reason {
        "ErrImagePull" | "ImageInspectError" => "image can't be pulled",
        "ImagePullBackOff" => "trying and failing to pull image",
        reason => reason,
    };
    Some(format!(
        "container {container:?} in pod {name:?} is waiting to start: {why}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_attempts_log_is_chosen() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["0.log", "2.log", "10.log", "10.log.20240101", "x"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(newest_log(dir.path(), 0).unwrap(), dir.path().join("10.log"));
        assert_eq!(newest_log(dir.path(), 1).unwrap(), dir.path().join("2.log"));
        assert_eq!(newest_log(dir.path(), 3), None);
    }

    #[test]
    fn a_container_that_waits_has_no_log_and_says_why() {
        let pod: Pod = serde_json::from_value(serde_json::json!({"metadata": {"name": "web"}, "status": {
            "containerStatuses": [{"name": "a", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": "ImagePullBackOff"}}}]}}))
        .unwrap();
        assert_eq!(
            unavailable(&pod, "a", false, false).unwrap(),
            "container \"a\" in pod \"web\" is waiting to start: trying and failing to pull image"
        );
        assert_eq!(unavailable(&pod, "a", false, true), None);
        assert_eq!(
            unavailable(&pod, "a", true, false).unwrap(),
            "previous terminated container \"a\" in pod \"web\" not found"
        );
    }

    #[test]
    fn options_are_read_from_the_query() {
        let pairs =
            super::super::route::query(Some("follow=true&tailLines=5&sinceSeconds=10&timestamps=true"));
        let now = Timestamp::from_second(100).unwrap();
        let r = parse(&pairs, now).unwrap();
        assert!(r.follow && r.timestamps);
        assert_eq!(
            (r.tail, r.since),
            (Some(5), Some(Timestamp::from_second(90).unwrap()))
        );
    }
}
