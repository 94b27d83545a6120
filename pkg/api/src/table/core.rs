//! The other kinds of the core group, and Events of either group.

use super::row::Row;
use super::{AGE, Cell, Column, NAME, network, workloads};
use serde_json::Value;

/// The columns of a kind of the core group, if it has its own.
pub(super) fn columns(kind: &str) -> Option<&'static [Column]> {
    Some(match kind {
        "Namespace" => {
            const {
                &[
                    NAME,
                    Column::text("Status", "Phase of the namespace.", "status.phase"),
                    AGE,
                ]
            }
        }
        "Node" => NODE,
        "Event" => EVENT,
        "Secret" => {
            const {
                &[
                    NAME,
                    Column::text("Type", "What the data is for.", "type"),
                    Column::size("Data", "How many entries there are.", "data").typed("string"),
                    AGE,
                ]
            }
        }
        "ConfigMap" => {
            const {
                &[
                    NAME,
                    Column::of("Data", "How many entries there are.", |row| {
                        (row.size("data") + row.size("binaryData")).into()
                    }),
                    AGE,
                ]
            }
        }
        "ServiceAccount" => const { &[NAME, AGE] },
        "PersistentVolume" => VOLUME,
        "PersistentVolumeClaim" => CLAIM,
        "ComponentStatus" => COMPONENT,
        "ResourceQuota" => {
            const {
                &[
                    NAME,
                    Column::of("Request", "Used and allowed requests.", |row| quota(row, false)),
                    Column::of("Limit", "Used and allowed limits.", |row| quota(row, true)),
                    AGE,
                ]
            }
        }
        "Service" | "Endpoints" => return network::columns(kind),
        "ReplicationController" | "PodTemplate" => return workloads::columns(kind),
        "Status" => {
            const {
                &[
                    Column::text("Status", "Success or Failure.", "status"),
                    Column::text("Reason", "Why, for programs.", "reason"),
                    Column::text("Message", "Why, for people.", "message"),
                ]
            }
        }
        _ => return None,
    })
}

const NODE: &[Column] = &[
    NAME,
    Column::of("Status", "Whether the node is ready and takes pods.", node_status),
    Column::of("Roles", "Roles of the node.", node_roles),
    AGE,
    Column::text(
        "Version",
        "Version of the kubelet.",
        "status.nodeInfo.kubeletVersion",
    ),
    Column::of("Internal-IP", "Address inside the cluster.", |row| {
        address(row, "InternalIP")
    })
    .wide(),
    Column::of("External-IP", "Address outside the cluster.", |row| {
        address(row, "ExternalIP")
    })
    .wide(),
    Column::text_or(
        "OS-Image",
        "Operating system.",
        "status.nodeInfo.osImage",
        "<unknown>",
    )
    .wide(),
    Column::of("Kernel-Version", "Kernel and architecture.", kernel).wide(),
    Column::text_or(
        "Container-Runtime",
        "Container runtime and its version.",
        "status.nodeInfo.containerRuntimeVersion",
        "<unknown>",
    )
    .wide(),
];

fn node_status(row: &Row<'_>) -> Value {
    let ready = match row.condition("status.conditions", "Ready") {
        None => "Unknown",
        Some(condition) if condition.text("status") == "True" => "Ready",
        Some(_) => "NotReady",
    };
    if row.is_true("spec.unschedulable") {
        format!("{ready},SchedulingDisabled").into()
    } else {
        ready.into()
    }
}

fn node_roles(row: &Row<'_>) -> Value {
    let labels = row.map("metadata.labels").into_iter().flatten();
    let mut roles: Vec<&str> = labels
        .filter_map(
            |(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
                None if key == "kubernetes.io/role" => value.as_str(),
                role => role,
            },
        )
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    roles.dedup();
    if roles.is_empty() {
        "<none>".into()
    } else {
        roles.join(",").into()
    }
}

fn address(row: &Row<'_>, kind: &str) -> Value {
    row.condition("status.addresses", kind)
        .map_or("<none>", |a| a.text("address"))
        .into()
}

fn kernel(row: &Row<'_>) -> Value {
    let kernel = row.text_or("status.nodeInfo.kernelVersion", "<unknown>");
    match row.text("status.nodeInfo.architecture") {
        "" => kernel.into(),
        architecture => format!("{kernel} ({architecture})").into(),
    }
}

const EVENT: &[Column] = &[
    Column::of("Last Seen", "When it was seen last.", |row| last_seen(row).into()),
    Column::text("Type", "Normal or Warning.", "type"),
    Column::text("Reason", "What happened, in one word.", "reason"),
    Column::of("Object", "What it happened to.", |row| event_object(row).into()),
    Column::of("Subobject", "The part it happened to.", |row| {
        either(row, "involvedObject.fieldPath", "regarding.fieldPath").into()
    })
    .wide(),
    Column::of("Source", "Who tells it.", |row| event_source(row).into()).wide(),
    Column::of("Message", "What happened, in words.", |row| {
        either(row, "message", "note").trim().into()
    }),
    Column::of("First Seen", "When it was seen first.", |row| {
        first_seen(row).into()
    })
    .wide(),
    Column::of("Count", "How often it was seen.", |row| event_count(row).into()).wide(),
    NAME.wide(),
];

/// The first of two fields that is not empty: the core group's name of it, or that of events.k8s.io.
fn either<'a>(row: &Row<'a>, core: &str, events: &str) -> &'a str {
    match row.text(core) {
        "" => row.text(events),
        text => text,
    }
}

fn first_seen(row: &Row<'_>) -> String {
    let path = ["firstTimestamp", "deprecatedFirstTimestamp"]
        .into_iter()
        .find(|p| row.time(p).is_some());
    row.since(path.unwrap_or("eventTime"))
}

fn last_seen(row: &Row<'_>) -> String {
    if row.get("series").is_some() {
        return row.since("series.lastObservedTime");
    }
    let path = ["lastTimestamp", "deprecatedLastTimestamp"]
        .into_iter()
        .find(|p| row.time(p).is_some());
    path.map_or_else(|| first_seen(row), |path| row.since(path))
}

fn event_count(row: &Row<'_>) -> i64 {
    if row.get("series").is_some() {
        return row.number("series.count");
    }
    row.number("count").max(row.number("deprecatedCount")).max(1)
}

fn event_object(row: &Row<'_>) -> String {
    let kind = either(row, "involvedObject.kind", "regarding.kind").to_lowercase();
    match either(row, "involvedObject.name", "regarding.name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    }
}

fn event_source(row: &Row<'_>) -> String {
    let first = |paths: [&str; 4]| paths.into_iter().map(|p| row.text(p)).find(|t| !t.is_empty());
    let component = first([
        "source.component",
        "deprecatedSource.component",
        "reportingComponent",
        "reportingController",
    ]);
    let host = first([
        "source.host",
        "deprecatedSource.host",
        "reportingInstance",
        "reportingInstance",
    ]);
    let component = component.unwrap_or_default();
    host.map_or_else(|| component.to_owned(), |host| format!("{component}, {host}"))
}

const VOLUME: &[Column] = &[
    NAME,
    Column::of("Capacity", "Size of the volume.", |row| {
        row.quantity("spec.capacity.storage").into()
    }),
    Column::of("Access Modes", "How it can be mounted.", |row| {
        access_modes(row, "spec.accessModes").into()
    }),
    Column::text(
        "Reclaim Policy",
        "What happens to it after use.",
        "spec.persistentVolumeReclaimPolicy",
    ),
    Column::of("Status", "Phase of the volume.", phase),
    Column::of("Claim", "The claim it is bound to.", |row| {
        match row.get("spec.claimRef") {
            None => "".into(),
            Some(_) => format!(
                "{}/{}",
                row.text("spec.claimRef.namespace"),
                row.text("spec.claimRef.name")
            )
            .into(),
        }
    }),
    Column::of("StorageClass", "Storage class of the volume.", |row| {
        storage_class(row).into()
    }),
    Column::text_or(
        "VolumeAttributesClass",
        "Attributes class of the volume.",
        "spec.volumeAttributesClassName",
        "<unset>",
    ),
    Column::text("Reason", "Why it is in this phase.", "status.reason"),
    AGE,
    Column::text_or("VolumeMode", "Filesystem or Block.", "spec.volumeMode", "<unset>").wide(),
];

const CLAIM: &[Column] = &[
    NAME,
    Column::of("Status", "Phase of the claim.", phase),
    Column::text("Volume", "The volume it is bound to.", "spec.volumeName"),
    Column::of("Capacity", "Size of that volume.", |row| {
        match row.text("spec.volumeName") {
            "" => "".into(),
            _ => row.quantity("status.capacity.storage").into(),
        }
    }),
    Column::of(
        "Access Modes",
        "How that volume can be mounted.",
        |row| match row.text("spec.volumeName") {
            "" => "".into(),
            _ => access_modes(row, "status.accessModes").into(),
        },
    ),
    Column::of("StorageClass", "Storage class of the claim.", |row| {
        storage_class(row).into()
    }),
    Column::text_or(
        "VolumeAttributesClass",
        "Attributes class of the claim.",
        "spec.volumeAttributesClassName",
        "<unset>",
    ),
    AGE,
    Column::text_or("VolumeMode", "Filesystem or Block.", "spec.volumeMode", "<unset>").wide(),
];

fn phase(row: &Row<'_>) -> Value {
    if row.is_deleting() {
        "Terminating".into()
    } else {
        row.text("status.phase").into()
    }
}

fn storage_class<'a>(row: &Row<'a>) -> &'a str {
    let old = row
        .map("metadata.annotations")
        .and_then(|a| a.get("volume.beta.kubernetes.io/storage-class"));
    old.and_then(Value::as_str)
        .unwrap_or_else(|| row.text("spec.storageClassName"))
}

fn access_modes(row: &Row<'_>, path: &str) -> String {
    let modes = row.texts(path);
    let short = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    short
        .iter()
        .filter(|(mode, _)| modes.contains(mode))
        .map(|(_, s)| *s)
        .collect::<Vec<_>>()
        .join(",")
}

const COMPONENT: &[Column] = &[
    NAME,
    Column::of("Status", "Whether the component is healthy.", |row| {
        match row.condition("conditions", "Healthy").map(|c| c.text("status")) {
            None => "Unknown".into(),
            Some("True") => "Healthy".into(),
            Some(_) => "Unhealthy".into(),
        }
    }),
    Column::of("Message", "What the component says.", |row| {
        row.condition("conditions", "Healthy")
            .map_or("", |c| c.text("message"))
            .into()
    }),
    Column::of("Error", "What is wrong with it.", |row| {
        row.condition("conditions", "Healthy")
            .map_or("", |c| c.text("error"))
            .into()
    }),
];

fn quota(row: &Row<'_>, limits: bool) -> Value {
    let mut cells = Vec::new();
    let used = row.map("status.used");
    for (resource, hard) in row.map("status.hard").into_iter().flatten() {
        if resource.starts_with("limits.") != limits {
            continue;
        }
        let canonical = |value: Option<&Value>| {
            value
                .and_then(|v| crate::quantity::Quantity::from_json(v).ok())
                .unwrap_or(crate::quantity::Quantity::ZERO)
        };
        let used = canonical(used.and_then(|used| used.get(resource)));
        cells.push(format!("{resource}: {used}/{}", canonical(Some(hard))));
    }
    cells.join(", ").into()
}

/// The columns of an autoscaling `Scale`.
pub(super) const SCALE: &[Column] = &[
    Column::new("Name", "string", "Name of the object.", Cell::Name),
    Column::number("Desired", "Wanted replicas.", "spec.replicas"),
    Column::number("Available", "Observed replicas.", "status.replicas"),
    AGE,
];
