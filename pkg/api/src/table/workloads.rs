//! Controllers of pods, their autoscalers and disruption budgets.

use super::row::Row;
use super::{AGE, Cell, Column, NAME, core};
use crate::selectors::LabelSelector;
use serde_json::Value;

/// The columns of a kind that runs pods, if it has its own.
pub(super) fn columns(kind: &str) -> Option<&'static [Column]> {
    Some(match kind {
        "Deployment" => DEPLOYMENT,
        "ReplicaSet" => REPLICA_SET,
        "ReplicationController" => REPLICATION_CONTROLLER,
        "StatefulSet" => STATEFUL_SET,
        "DaemonSet" => DAEMON_SET,
        "Job" => JOB,
        "CronJob" => CRON_JOB,
        "ControllerRevision" => REVISION,
        "HorizontalPodAutoscaler" => AUTOSCALER,
        "PodDisruptionBudget" => BUDGET,
        "PodTemplate" => POD_TEMPLATE,
        "Scale" => core::SCALE,
        _ => return None,
    })
}

const CONTAINERS: Column = Column::of("Containers", "Names of the containers.", |row| {
    row.joined("spec.template.spec.containers", "name").into()
})
.wide();
const IMAGES: Column = Column::of("Images", "Images of the containers.", |row| {
    row.joined("spec.template.spec.containers", "image").into()
})
.wide();
const SELECTOR: Column = Column::of("Selector", "Which pods belong to it.", |row| {
    row.selector("spec.selector").into()
})
.wide();

fn ready_of_wanted(row: &Row<'_>) -> Value {
    format!(
        "{}/{}",
        row.number("status.readyReplicas"),
        row.number("spec.replicas")
    )
    .into()
}

const DEPLOYMENT: &[Column] = &[
    NAME,
    Column::of("Ready", "Ready pods of those wanted.", ready_of_wanted),
    Column::number(
        "Up-to-date",
        "Pods of the newest template.",
        "status.updatedReplicas",
    )
    .typed("string"),
    Column::number(
        "Available",
        "Pods ready for long enough.",
        "status.availableReplicas",
    )
    .typed("string"),
    AGE,
    CONTAINERS,
    IMAGES,
    Column::of(
        "Selector",
        "Which pods belong to it.",
        |row| match LabelSelector::from_object(row.get("spec.selector")) {
            Ok(selector) => selector.to_string().into(),
            Err(_) => "<invalid>".into(),
        },
    )
    .wide(),
];

const DESIRED: Column = Column::number("Desired", "Wanted pods.", "spec.replicas");
const CURRENT: Column = Column::number("Current", "Pods there are.", "status.replicas");
const READY: Column = Column::number("Ready", "Pods that are ready.", "status.readyReplicas");

const REPLICA_SET: &[Column] = &[NAME, DESIRED, CURRENT, READY, AGE, CONTAINERS, IMAGES, SELECTOR];

const REPLICATION_CONTROLLER: &[Column] = &[
    NAME,
    DESIRED,
    CURRENT,
    READY,
    AGE,
    CONTAINERS,
    IMAGES,
    Column::of("Selector", "Which pods belong to it.", |row| {
        row.labels("spec.selector").into()
    })
    .wide(),
];

const STATEFUL_SET: &[Column] = &[
    NAME,
    Column::of("Ready", "Ready pods of those wanted.", ready_of_wanted),
    AGE,
    CONTAINERS,
    IMAGES,
];

const DAEMON_SET: &[Column] = &[
    NAME,
    Column::number(
        "Desired",
        "Nodes that should run a pod.",
        "status.desiredNumberScheduled",
    ),
    Column::number("Current", "Those that do.", "status.currentNumberScheduled"),
    Column::number("Ready", "Those whose pod is ready.", "status.numberReady"),
    Column::number(
        "Up-to-date",
        "Those whose pod is of the newest template.",
        "status.updatedNumberScheduled",
    ),
    Column::number(
        "Available",
        "Those whose pod is ready for long enough.",
        "status.numberAvailable",
    ),
    Column::of("Node Selector", "Which nodes should.", |row| {
        row.labels("spec.template.spec.nodeSelector").into()
    }),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

const JOB: &[Column] = &[
    NAME,
    Column::of("Status", "How far the job is.", job_status),
    Column::of("Completions", "Finished pods of those wanted.", completions),
    Column::of("Duration", "How long it runs, or ran.", job_duration),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

fn job_status(row: &Row<'_>) -> Value {
    let holds = |kind: &str| row.holds("status.conditions", kind);
    if holds("Complete") {
        return "Complete".into();
    }
    if holds("Failed") {
        return "Failed".into();
    }
    if row.is_deleting() {
        return "Terminating".into();
    }
    let rest = ["Suspended", "FailureTarget", "SuccessCriteriaMet"];
    rest.into_iter()
        .find(|kind| holds(kind))
        .unwrap_or("Running")
        .into()
}

fn completions(row: &Row<'_>) -> Value {
    let done = row.number("status.succeeded");
    match row.get("spec.completions").and_then(Value::as_i64) {
        Some(wanted) => format!("{done}/{wanted}"),
        None => match row.number("spec.parallelism") {
            parallel @ 2.. => format!("{done}/1 of {parallel}"),
            _ => format!("{done}/1"),
        },
    }
    .into()
}

fn job_duration(row: &Row<'_>) -> Value {
    match (row.time("status.startTime"), row.time("status.completionTime")) {
        (None, _) => "".into(),
        (Some(start), None) => row.ago(start).into(),
        (Some(start), Some(end)) => super::human(end.duration_since(start)).into(),
    }
}

const CRON_JOB: &[Column] = &[
    NAME,
    Column::text("Schedule", "When it starts a job.", "spec.schedule"),
    Column::text_or("Timezone", "In which time zone.", "spec.timeZone", "<none>"),
    Column::of("Suspend", "Whether it rests.", |row| {
        match row.get("spec.suspend").and_then(Value::as_bool) {
            None => "<unset>".into(),
            Some(true) => "True".into(),
            Some(false) => "False".into(),
        }
    })
    .typed("boolean"),
    Column::size("Active", "Jobs that run.", "status.active"),
    Column::new(
        "Last Schedule",
        "string",
        "When it started the last job.",
        Cell::Since("status.lastScheduleTime", "<none>"),
    ),
    AGE,
    Column::of("Containers", "Names of the containers.", |row| {
        row.joined("spec.jobTemplate.spec.template.spec.containers", "name")
            .into()
    })
    .wide(),
    Column::of("Images", "Images of the containers.", |row| {
        row.joined("spec.jobTemplate.spec.template.spec.containers", "image")
            .into()
    })
    .wide(),
    Column::of("Selector", "Which pods belong to its jobs.", |row| {
        row.selector("spec.jobTemplate.spec.selector").into()
    })
    .wide(),
];

const REVISION: &[Column] = &[
    NAME,
    Column::of("Controller", "Whose revision it is.", |row| {
        let Some(owner) = row
            .list("metadata.ownerReferences")
            .find(|o| o.is_true("controller"))
        else {
            return "<none>".into();
        };
        let group = owner
            .text("apiVersion")
            .rsplit_once('/')
            .map_or("", |(group, _)| group);
        let dot = if group.is_empty() { "" } else { "." };
        format!(
            "{}{dot}{group}/{}",
            owner.text("kind").to_lowercase(),
            owner.text("name")
        )
        .into()
    }),
    Column::number("Revision", "Its number.", "revision").typed("string"),
    AGE,
];

const BUDGET: &[Column] = &[
    NAME,
    Column::of("Min Available", "Pods that must be available.", |row| {
        number_or_share(row, "spec.minAvailable")
    }),
    Column::of("Max Unavailable", "Pods that may be unavailable.", |row| {
        number_or_share(row, "spec.maxUnavailable")
    }),
    Column::number(
        "Allowed Disruptions",
        "Pods that may be evicted now.",
        "status.disruptionsAllowed",
    ),
    AGE,
];

fn number_or_share(row: &Row<'_>, path: &str) -> Value {
    match row.get(path) {
        None => "N/A".into(),
        Some(Value::String(share)) => share.as_str().into(),
        Some(number) => number.to_string().into(),
    }
}

const POD_TEMPLATE: &[Column] = &[
    NAME,
    Column::of("Containers", "Names of the containers.", |row| {
        row.joined("template.spec.containers", "name").into()
    }),
    Column::of("Images", "Images of the containers.", |row| {
        row.joined("template.spec.containers", "image").into()
    }),
    Column::of("Pod Labels", "Labels of the pods.", |row| {
        row.labels("template.metadata.labels").into()
    }),
];

const AUTOSCALER: &[Column] = &[
    NAME,
    Column::of("Reference", "What it scales.", |row| {
        format!(
            "{}/{}",
            row.text("spec.scaleTargetRef.kind"),
            row.text("spec.scaleTargetRef.name")
        )
        .into()
    }),
    Column::of("Targets", "Measured and wanted values.", |row| {
        targets(row).into()
    }),
    Column::of("MinPods", "Fewest replicas.", |row| {
        row.get("spec.minReplicas")
            .map_or_else(|| "<unset>".into(), |n| n.to_string().into())
    }),
    Column::number("MaxPods", "Most replicas.", "spec.maxReplicas").typed("string"),
    Column::number("Replicas", "Replicas there are.", "status.currentReplicas").typed("string"),
    AGE,
];

fn targets(row: &Row<'_>) -> String {
    if row.get("spec.targetCPUUtilizationPercentage").is_some() {
        let current = row.get("status.currentCPUUtilizationPercentage");
        let current = current.map_or_else(|| "<unknown>".to_owned(), |n| format!("{n}%"));
        return format!(
            "cpu: {current}/{}%",
            row.number("spec.targetCPUUtilizationPercentage")
        );
    }
    let statuses: Vec<Row<'_>> = row.list("status.currentMetrics").collect();
    let all: Vec<String> = row
        .list("spec.metrics")
        .enumerate()
        .map(|(i, m)| target(&m, statuses.get(i)))
        .collect();
    match all.len() {
        0 => "<none>".to_owned(),
        n @ 3.. => format!("{} + {} more...", all[..2].join(", "), n - 2),
        _ => all.join(", "),
    }
}

/// One metric: `current/wanted`, with the resource's name before it.
fn target(spec: &Row<'_>, status: Option<&Row<'_>>) -> String {
    let source = match spec.text("type") {
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        "Pods" => "pods",
        "Object" => "object",
        "External" => "external",
        _ => return "<unknown type>".to_owned(),
    };
    let of_resource = matches!(source, "resource" | "containerResource");
    let average = spec.get(&format!("{source}.target.averageValue")).is_some();
    let field = match (of_resource, average || source == "pods") {
        (_, true) => "averageValue",
        (true, false) => "averageUtilization",
        (false, false) => "value",
    };
    let show = |row: &Row<'_>, path: &str| -> Option<String> {
        row.get(path)?;
        if field == "averageUtilization" {
            Some(format!("{}%", row.number(path)))
        } else {
            Some(row.quantity(path))
        }
    };
    let current = status.and_then(|s| show(s, &format!("{source}.current.{field}")));
    let current = current.unwrap_or_else(|| "<unknown>".to_owned());
    let wanted = show(spec, &format!("{source}.target.{field}"));
    let wanted = wanted.unwrap_or_else(|| {
        if of_resource {
            "<auto>".to_owned()
        } else {
            "0".to_owned()
        }
    });
    if of_resource {
        return format!("{}: {current}/{wanted}", spec.text(&format!("{source}.name")));
    }
    let note = if average && source != "pods" { " (avg)" } else { "" };
    format!("{current}/{wanted}{note}")
}
