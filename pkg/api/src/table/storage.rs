//! Kinds of storage.k8s.io.

use super::row::Row;
use super::{AGE, Column, NAME};

/// The columns of a kind of storage.k8s.io, if it has its own.
pub(super) fn columns(kind: &str) -> Option<&'static [Column]> {
    Some(match kind {
        "StorageClass" => {
            const {
                &[
                    Column::of("Name", "Name of the object.", |row| {
                        let mark = if is_default_class(row) { " (default)" } else { "" };
                        format!("{}{mark}", row.text("metadata.name")).into()
                    })
                    .naming(),
                    Column::text("Provisioner", "Who makes the volumes.", "provisioner"),
                    Column::text_or(
                        "ReclaimPolicy",
                        "What happens to them after use.",
                        "reclaimPolicy",
                        "Delete",
                    ),
                    Column::text_or(
                        "VolumeBindingMode",
                        "When they are bound.",
                        "volumeBindingMode",
                        "Immediate",
                    ),
                    Column::flag(
                        "AllowVolumeExpansion",
                        "Whether they may grow.",
                        "allowVolumeExpansion",
                        false,
                    )
                    .typed("string"),
                    AGE,
                ]
            }
        }
        "VolumeAttributesClass" => {
            const {
                &[
                    NAME,
                    Column::text("DriverName", "Driver of the volumes.", "driverName"),
                    AGE,
                ]
            }
        }
        "VolumeAttachment" => {
            const {
                &[
                    NAME,
                    Column::text("Attacher", "Who attaches it.", "spec.attacher").naming(),
                    Column::text("PV", "The volume.", "spec.source.persistentVolumeName"),
                    Column::text("Node", "The node.", "spec.nodeName"),
                    Column::flag("Attached", "Whether it is attached.", "status.attached", false),
                    AGE,
                ]
            }
        }
        "CSINode" => {
            const {
                &[
                    NAME,
                    Column::size("Drivers", "Drivers on the node.", "spec.drivers"),
                    AGE,
                ]
            }
        }
        "CSIDriver" => CSI_DRIVER,
        "CSIStorageCapacity" => {
            const {
                &[
                    NAME,
                    Column::text(
                        "StorageClassName",
                        "Storage class of the capacity.",
                        "storageClassName",
                    ),
                    Column::of("Capacity", "What is left.", |row| match row.get("capacity") {
                        None => "<unset>".into(),
                        Some(_) => row.quantity("capacity").into(),
                    }),
                ]
            }
        }
        _ => return None,
    })
}

fn is_default_class(row: &Row<'_>) -> bool {
    row.is_annotated("storageclass.kubernetes.io/is-default-class")
        || row.is_annotated("storageclass.beta.kubernetes.io/is-default-class")
}

const CSI_DRIVER: &[Column] = &[
    NAME,
    Column::flag(
        "AttachRequired",
        "Whether volumes must be attached.",
        "spec.attachRequired",
        true,
    ),
    Column::flag(
        "PodInfoOnMount",
        "Whether the driver wants to know the pod.",
        "spec.podInfoOnMount",
        false,
    ),
    Column::flag(
        "StorageCapacity",
        "Whether it tells its capacity.",
        "spec.storageCapacity",
        false,
    ),
    Column::of(
        "TokenRequests",
        "Audiences of the tokens it wants.",
        |row| match row.get("spec.tokenRequests") {
            None => "<unset>".into(),
            Some(_) => row.joined("spec.tokenRequests", "audience").into(),
        },
    ),
    Column::flag(
        "RequiresRepublish",
        "Whether volumes are published again.",
        "spec.requiresRepublish",
        false,
    ),
    Column::of("Modes", "Lifecycles of its volumes.", |row| {
        match row.texts("spec.volumeLifecycleModes").join(",") {
            none if none.is_empty() => "<none>".into(),
            modes => modes.into(),
        }
    }),
    AGE,
];
