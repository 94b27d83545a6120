//! Pods.

use super::row::Row;
use super::{AGE, Column, NAME};
use jiff::Timestamp;
use serde_json::Value;

/// The columns of a Pod.
pub(super) const COLUMNS: &[Column] = &[
    NAME,
    Column::of("Ready", "Ready containers of all containers.", |row| {
        ready(row).into()
    }),
    Column::of("Status", "What the containers of the pod are up to.", |row| {
        summary(row).reason.into()
    }),
    Column::of(
        "Restarts",
        "How often the containers were restarted, and when last.",
        |row| restarts(row).into(),
    ),
    AGE,
    Column::of("IP", "Address of the pod.", |row| ip(row).into()).wide(),
    Column::text_or("Node", "Node the pod runs on.", "spec.nodeName", "<none>").wide(),
    Column::text_or(
        "Nominated Node",
        "Node that is being made free for the pod.",
        "status.nominatedNodeName",
        "<none>",
    )
    .wide(),
    Column::of(
        "Readiness Gates",
        "Further conditions that hold, of those needed.",
        gates,
    )
    .wide(),
];

/// What the containers say together.
struct Summary {
    reason: String,
    ready: usize,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

fn ready(row: &Row<'_>) -> String {
    let sidecars = row.list("spec.initContainers").filter(is_sidecar).count();
    format!(
        "{}/{}",
        summary(row).ready,
        row.size("spec.containers") + sidecars
    )
}

fn restarts(row: &Row<'_>) -> String {
    let Summary {
        restarts,
        last_restart,
        ..
    } = summary(row);
    match last_restart {
        Some(then) if restarts != 0 => format!("{restarts} ({} ago)", row.ago(then)),
        _ => restarts.to_string(),
    }
}

/// An init container that goes on running beside the containers.
fn is_sidecar(container: &Row<'_>) -> bool {
    container.text("restartPolicy") == "Always"
}

fn summary(row: &Row<'_>) -> Summary {
    let phase = row.text("status.phase");
    let mut reason = row.text_or("status.reason", phase).to_owned();
    if row
        .list("status.conditions")
        .any(|c| c.text("type") == "PodScheduled" && c.text("reason") == "SchedulingGated")
    {
        reason = "SchedulingGated".to_owned();
    }
    let mut init = Initialization::of(row);
    let mut summary = Summary {
        ready: init.ready_sidecars,
        restarts: init.restarts,
        last_restart: init.last_restart,
        reason: init.reason.take().unwrap_or(reason),
    };
    if !init.initializing || row.holds("status.conditions", "Initialized") {
        summary.restarts = init.sidecar_restarts;
        summary.last_restart = init.last_sidecar_restart;
        add_containers(row, &mut summary);
    }
    if row.is_deleting() {
        if row.text("status.reason") == "NodeLost" {
            summary.reason = "Unknown".to_owned();
        } else if !matches!(phase, "Succeeded" | "Failed") {
            summary.reason = "Terminating".to_owned();
        }
    }
    summary
}

/// What the init containers say.
#[derive(Default)]
struct Initialization {
    initializing: bool,
    reason: Option<String>,
    ready_sidecars: usize,
    restarts: i64,
    last_restart: Option<Timestamp>,
    sidecar_restarts: i64,
    last_sidecar_restart: Option<Timestamp>,
}

impl Initialization {
    fn of(row: &Row<'_>) -> Self {
        let mut init = Initialization::default();
        let sidecars: Vec<&str> = row
            .list("spec.initContainers")
            .filter(is_sidecar)
            .map(|c| c.text("name"))
            .collect();
        for (i, status) in row.list("status.initContainerStatuses").enumerate() {
            let sidecar = sidecars.contains(&status.text("name"));
            let terminated = status.time("lastState.terminated.finishedAt");
            init.restarts += status.number("restartCount");
            init.last_restart = init.last_restart.max(terminated);
            if sidecar {
                init.sidecar_restarts += status.number("restartCount");
                init.last_sidecar_restart = init.last_sidecar_restart.max(terminated);
            }
            let ended = status.get("state.terminated");
            if ended.is_some() && status.number("state.terminated.exitCode") == 0 {
                continue;
            }
            if sidecar && status.is_true("started") {
                init.ready_sidecars += usize::from(status.is_true("ready"));
                continue;
            }
            init.initializing = true;
            init.reason = Some(match status.text("state.waiting.reason") {
                _ if ended.is_some() => format!("Init:{}", termination(&status)),
                "" | "PodInitializing" => format!("Init:{i}/{}", row.size("spec.initContainers")),
                reason => format!("Init:{reason}"),
            });
            break;
        }
        init
    }
}

/// Why a container ended: the reason, or else the signal or the exit code.
fn termination(status: &Row<'_>) -> String {
    let reason = status.text("state.terminated.reason");
    let signal = status.number("state.terminated.signal");
    if !reason.is_empty() {
        reason.to_owned()
    } else if signal != 0 {
        format!("Signal:{signal}")
    } else {
        format!("ExitCode:{}", status.number("state.terminated.exitCode"))
    }
}

fn add_containers(row: &Row<'_>, summary: &mut Summary) {
    let mut running = false;
    let mut error = None;
    for status in row.list("status.containerStatuses").rev() {
        summary.restarts += status.number("restartCount");
        summary.last_restart = summary
            .last_restart
            .max(status.time("lastState.terminated.finishedAt"));
        let waiting = status.text("state.waiting.reason");
        if !waiting.is_empty() {
            summary.reason = waiting.to_owned();
        } else if status.get("state.terminated").is_some() {
            summary.reason = termination(&status);
            if status.number("state.terminated.exitCode") != 0 {
                error = Some(summary.reason.clone());
            }
        } else if status.is_true("ready") && status.get("state.running").is_some() {
            running = true;
            summary.ready += 1;
        }
    }
    // One container is done, but the pod is not.
    if summary.reason == "Completed" {
        if running && row.holds("status.conditions", "Ready") {
            summary.reason = "Running".to_owned();
        } else if let Some(error) = error {
            summary.reason = error;
        } else if running {
            summary.reason = "NotReady".to_owned();
        }
    }
}

fn ip<'a>(row: &Row<'a>) -> &'a str {
    let first = row.list("status.podIPs").next().map(|ip| ip.text("ip"));
    match first.unwrap_or_else(|| row.text("status.podIP")) {
        "" => "<none>",
        ip => ip,
    }
}

fn gates(row: &Row<'_>) -> Value {
    let gates = row.list("spec.readinessGates");
    if gates.len() == 0 {
        return "<none>".into();
    }
    let total = gates.len();
    let open = gates
        .filter(|gate| row.holds("status.conditions", gate.text("conditionType")))
        .count();
    format!("{open}/{total}").into()
}
