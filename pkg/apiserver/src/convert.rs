//! Resources that are served in two versions and stored in one.

use kobune_api::kinds::Kind;
use serde_json::Value;

/// Turns the stored version of an object into the served one and back.
pub trait Convert: Sync {
    /// From the stored version.
    fn serve(&self, object: &mut Value);
    /// To the stored version.
    fn store(&self, object: &mut Value);
}

/// Where a resource is stored (group and plural), and the conversion if its version is not the
/// stored one.
pub fn storage_of(kind: &Kind) -> (&str, &str, Option<&'static dyn Convert>) {
    match (&*kind.group, &*kind.version, &*kind.plural) {
        ("events.k8s.io", _, "events") => ("", "events", Some(&events::EventsV1)),
        ("autoscaling", "v1", "horizontalpodautoscalers") => (
            "autoscaling",
            "horizontalpodautoscalers",
            Some(&autoscaling::AutoscalingV1),
        ),
        (group, _, plural) => (group, plural, None),
    }
}

mod autoscaling;
mod events;
