//! What the kinds differ in without code: the columns of a table.

use kobune_api::kinds::Kind;

/// The facts of one kind.
#[derive(Debug, Clone, Copy, Default)]
pub struct Facts {
    /// `metadata.generation` is kept, and goes up when one of these fields changes; empty where the
    /// kind has no generation. `metadata` stands for `metadata.annotations`.
    pub generation: &'static [&'static str],
    /// A PUT to a name that does not exist creates it.
    pub create_on_update: bool,
    /// A PUT must carry a `resourceVersion`.
    pub conditional_update: bool,
    /// A delete answers with the object, not with a Status.
    pub returns_deleted: bool,
    /// A delete without a policy leaves the dependents.
    pub orphans: bool,
    /// Garbage collection does not know the kind.
    pub no_dependents: bool,
    /// A write of the status cannot change `metadata`.
    pub status_keeps_metadata: bool,
    /// A new object may bring its status along.
    pub created_with_status: bool,
    /// What users of the kind are warned of.
    pub deprecated: Option<&'static str>,
}

/// The facts of a kind.
pub fn facts(kind: &Kind) -> Facts {
    let id = (&*kind.group, &*kind.plural);
    Facts {
        generation: generation(id),
        create_on_update: creates_on_update(id),
        conditional_update: needs_version(id),
        returns_deleted: returns_deleted(id),
        orphans: matches!(id, ("", "replicationcontrollers") | ("batch", "jobs")),
        no_dependents: matches!(id, ("" | "events.k8s.io", "events")),
        status_keeps_metadata: keeps_metadata(id),
        created_with_status: matches!(id, ("", "nodes") | ("coordination.k8s.io", "leases")),
        deprecated: deprecated(id),
    }
}

fn deprecated(id: (&str, &str)) -> Option<&'static str> {
    match id {
        ("", "endpoints") => {
            Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
        }
        ("", "componentstatuses") => Some("v1 ComponentStatus is deprecated in v1.19+"),
        _ => None,
    }
}

fn generation(id: (&str, &str)) -> &'static [&'static str] {
    match id {
        ("apps", "deployments") => &["spec", "metadata"],
        ("", "podtemplates") => &["template"],
        ("discovery.k8s.io", "endpointslices") => &["endpoints", "ports", "addressType"],
        (
            "admissionregistration.k8s.io",
            "mutatingwebhookconfigurations" | "validatingwebhookconfigurations",
        ) => &["webhooks"],
        ("", "pods" | "replicationcontrollers")
        | ("apps", "daemonsets" | "replicasets" | "statefulsets")
        | ("batch", "jobs" | "cronjobs")
        | ("networking.k8s.io", "ingresses" | "ingressclasses" | "networkpolicies")
        | ("policy", "poddisruptionbudgets")
        | ("flowcontrol.apiserver.k8s.io", _)
        | ("resource.k8s.io", "deviceclasses" | "resourceslices" | "devicetaintrules")
        | ("apiextensions.k8s.io", "customresourcedefinitions")
        | (
            "admissionregistration.k8s.io",
            "validatingadmissionpolicies"
            | "validatingadmissionpolicybindings"
            | "mutatingadmissionpolicies"
            | "mutatingadmissionpolicybindings",
        ) => &["spec"],
        _ => &[],
    }
}

fn creates_on_update(id: (&str, &str)) -> bool {
    matches!(
        id,
        ("coordination.k8s.io", _)
            | ("", "endpoints" | "events" | "limitranges" | "services")
            | ("events.k8s.io", "events")
            | ("node.k8s.io", "runtimeclasses")
            | ("rbac.authorization.k8s.io", _)
    )
}

fn needs_version(id: (&str, &str)) -> bool {
    matches!(
        id,
        (
            "admissionregistration.k8s.io" | "coordination.k8s.io" | "storagemigration.k8s.io",
            _
        ) | ("node.k8s.io", "runtimeclasses")
            | ("policy", "poddisruptionbudgets")
            | (
                "storage.k8s.io",
                "csidrivers" | "csinodes" | "csistoragecapacities" | "volumeattachments"
            )
            | (
                "certificates.k8s.io",
                "clustertrustbundles" | "podcertificaterequests"
            )
    )
}

fn returns_deleted(id: (&str, &str)) -> bool {
    match id {
        ("", name) => matches!(
            name,
            "namespaces"
                | "persistentvolumes"
                | "persistentvolumeclaims"
                | "pods"
                | "podtemplates"
                | "resourcequotas"
                | "services"
                | "serviceaccounts"
        ),
        ("resource.k8s.io", _) => true,
        ("storage.k8s.io", name) => name != "csistoragecapacities",
        _ => false,
    }
}

fn keeps_metadata(id: (&str, &str)) -> bool {
    matches!(
        id,
        (
            "admissionregistration.k8s.io" | "resource.k8s.io" | "storagemigration.k8s.io",
            _
        ) | ("networking.k8s.io", "servicecidrs")
            | ("certificates.k8s.io", "podcertificaterequests")
            | ("storage.k8s.io", "volumeattachments")
            | ("apiextensions.k8s.io", _)
            | ("flowcontrol.apiserver.k8s.io", _)
            | ("apiregistration.k8s.io", _)
    )
}
