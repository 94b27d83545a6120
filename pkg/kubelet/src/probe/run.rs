//! One task per running container that has probes: the startup probe first, then liveness and
//! readiness side by side, each in its period.

use std::sync::Arc;
use std::time::Duration;

use kobune_client::EventType;
use kobune_client::k8s_openapi::api::core::v1::{Container, Probe};
use kobune_client::k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::net::TcpStream;

use super::book::ProbeKind;
use super::http::{self, Target};
use crate::context::Context;
use crate::exec::{self, Ended};
use crate::mailbox::Mailbox;
use crate::pod::desired::Desired;

/// A container under probes.
pub struct Probed {
    /// Shared things.
    pub context: Arc<Context>,
    /// The pod.
    pub pod: Desired,
    /// The container.
    pub container: Container,
    /// Its id.
    pub id: String,
    /// The pod's address.
    pub ip: String,
    /// Where results go.
    pub mailbox: Arc<Mailbox>,
}

/// Stops the probes when dropped.
pub struct Running(tokio::task::AbortHandle);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Begins the probes of a container; `None` when it has none.
pub fn start(probed: Probed) -> Option<Running> {
    let c = &probed.container;
    if c.startup_probe.is_none() && c.liveness_probe.is_none() && c.readiness_probe.is_none() {
        return None;
    }
    Some(Running(
        tokio::spawn(async move { probed.run().await }).abort_handle(),
    ))
}

impl Probed {
    async fn run(&self) {
        if let Some(probe) = &self.container.startup_probe {
            self.until_started(probe).await;
        }
        tokio::join!(
            self.forever(ProbeKind::Liveness, self.container.liveness_probe.as_ref()),
            self.forever(ProbeKind::Readiness, self.container.readiness_probe.as_ref()),
        );
    }

    async fn until_started(&self, probe: &Probe) {
        let mut count = Threshold::new(probe);
        tokio::time::sleep(seconds(probe.initial_delay_seconds, 0)).await;
        loop {
            let outcome = self.once(ProbeKind::Startup, probe).await;
            if let Some(success) = count.add(outcome) {
                self.mailbox.probe(&self.id, ProbeKind::Startup, success);
                if success {
                    return;
                }
            }
            tokio::time::sleep(period(probe)).await;
        }
    }

    async fn forever(&self, kind: ProbeKind, probe: Option<&Probe>) {
        let Some(probe) = probe else { return };
        let mut count = Threshold::new(probe);
        tokio::time::sleep(seconds(probe.initial_delay_seconds, 0)).await;
        loop {
            let outcome = self.once(kind, probe).await;
            if let Some(success) = count.add(outcome) {
                self.mailbox.probe(&self.id, kind, success);
            }
            tokio::time::sleep(period(probe)).await;
        }
    }

    /// One attempt; `None` when it says nothing (the runtime could not run the command).
    async fn once(&self, kind: ProbeKind, probe: &Probe) -> Option<bool> {
        let result = self.attempt(probe).await;
        match result {
            Ok(()) => Some(true),
            Err(message) => {
                let text = format!("{} probe failed: {message}", kind.title());
                let name = &self.container.name;
                self.context
                    .tell_container(&self.pod, name, EventType::Warning, "Unhealthy", text);
                Some(false)
            }
        }
    }

    async fn attempt(&self, probe: &Probe) -> Result<(), String> {
        let timeout = seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1));
        if let Some(action) = &probe.exec {
            let command = action.command.as_deref().unwrap_or_default();
            return match exec::run(&*self.context.runtime, &self.id, command, timeout).await {
                Ended::Exit(0, _) => Ok(()),
                Ended::Exit(_, output) => Err(output),
                Ended::TimedOut(after) => {
                    let after = crate::pod::backoff::go_duration(after);
                    Err(format!(
                        "command timed out: {:?} timed out after {after}",
                        command.join(" ")
                    ))
                }
                Ended::Failed(message) => Err(message),
            };
        }
        if let Some(action) = &probe.http_get {
            let port = port(&action.port, &self.container)?;
            let target = Target::of(action, &self.ip, port);
            let answer = http::get(&target, timeout, "kube-probe/1.36").await?;
            return match answer.status {
                200..=399 => Ok(()),
                status => Err(format!("HTTP probe failed with statuscode: {status}")),
            };
        }
        if let Some(action) = &probe.tcp_socket {
            let port = port(&action.port, &self.container)?;
            let host = action
                .host
                .as_deref()
                .filter(|h| !h.is_empty())
                .unwrap_or(&self.ip);
            return tcp(host, port, timeout).await;
        }
        if let Some(action) = &probe.grpc {
            let port = u16::try_from(action.port).map_err(|_| format!("invalid port {}", action.port))?;
            let service = action.service.as_deref().unwrap_or_default();
            return super::grpc::check(&self.ip, port, service, timeout).await;
        }
        Err(format!(
            "missing probe handler for {}:{}",
            self.pod.full_name(),
            self.container.name
        ))
    }
}

async fn tcp(host: &str, port: u16, timeout: Duration) -> Result<(), String> {
    let failed = |why: &str| Err(format!("dial tcp {host}:{port}: {why}"));
    match tokio::time::timeout(timeout, TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(e)) => failed(&format!("connect: {}", http::reason(&e))),
        Err(_) => failed("i/o timeout"),
    }
}

/// A port by number or by the name of one of the container's ports.
pub fn port(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => container
            .ports
            .iter()
            .flatten()
            .find(|p| p.name.as_ref() == Some(name))
            .map(|p| p.container_port)
            .or_else(|| name.parse().ok()),
    };
    number
        .and_then(|n| u16::try_from(n).ok())
        .filter(|n| *n > 0)
        .ok_or_else(|| format!("couldn't find port: {port:?} in container {}", container.name))
}

fn seconds(value: Option<i32>, default: u64) -> Duration {
    Duration::from_secs(value.and_then(|v| u64::try_from(v).ok()).unwrap_or(default))
}

fn period(probe: &Probe) -> Duration {
    seconds(probe.period_seconds, 10).max(Duration::from_secs(1))
}

/// Counts successes and failures in a row until a threshold is reached.
struct Threshold {
    success: i32,
    failure: i32,
    last: Option<bool>,
    run: i32,
    told: Option<bool>,
}

impl Threshold {
    fn new(probe: &Probe) -> Self {
        Threshold {
            success: probe.success_threshold.unwrap_or(1).max(1),
            failure: probe.failure_threshold.unwrap_or(3).max(1),
            last: None,
            run: 0,
            told: None,
        }
    }

    /// A new verdict, when this outcome changes it.
    fn add(&mut self, outcome: Option<bool>) -> Option<bool> {
        let success = outcome?;
        self.run = if self.last == Some(success) {
            self.run + 1
        } else {
            1
        };
        self.last = Some(success);
        let enough = self.run >= if success { self.success } else { self.failure };
        if !enough || self.told == Some(success) {
            return None;
        }
        self.told = Some(success);
        Some(success)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_change_at_their_thresholds() {
        let probe = Probe {
            failure_threshold: Some(2),
            success_threshold: Some(1),
            ..Default::default()
        };
        let mut t = Threshold::new(&probe);
        let verdicts: Vec<_> = [true, false, false, false, true]
            .into_iter()
            .map(|o| t.add(Some(o)))
            .collect();
        assert_eq!(verdicts, [Some(true), None, Some(false), None, Some(true)]);
    }

    #[test]
    fn ports_are_found_by_name() {
        let container: Container = serde_json::from_value(serde_json::json!({
            "name": "a", "ports": [{"name": "http", "containerPort": 8080}]}))
        .unwrap();
        assert_eq!(port(&IntOrString::String("http".into()), &container), Ok(8080));
        assert_eq!(port(&IntOrString::Int(80), &container), Ok(80));
        assert!(port(&IntOrString::String("nope".into()), &container).is_err());
    }
}
