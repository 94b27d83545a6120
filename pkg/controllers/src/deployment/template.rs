//! The pod template's identity: its hash, and whether two templates are one.

use std::io;

use kobune_client::k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec};
use kobune_client::k8s_openapi::api::core::v1::PodTemplateSpec;
use kobune_client::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::{names, owner};

/// The label by which the pods of different revisions are told apart.
pub const HASH_LABEL: &str = "pod-template-hash";

/// The hash in the label and in the ReplicaSet's name. `collisions` changes it when two different
/// templates met on one name.
pub fn hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    let mut hasher = Fnv(0x811c_9dc5);
    // Writing to a hasher cannot fail, and a template that came from JSON goes back to JSON.
    let _ = serde_json::to_writer(&mut hasher, template);
    if let Some(collisions) = collisions {
        hasher.add(&collisions.to_le_bytes());
    }
    names::safe_encode(hasher.0)
}

struct Fnv(u32);

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    }
}

impl io::Write for Fnv {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.add(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether the ReplicaSet runs the Deployment's template. The hash label and what the API server adds to
/// an empty template (`metadata: {}`, `creationTimestamp: null`) do not count.
pub fn is_current(deployment: &Deployment, set: &ReplicaSet) -> bool {
    let Some(wanted) = deployment.spec.as_ref().map(|spec| &spec.template) else {
        return false;
    };
    let Some(present) = set.spec.as_ref().and_then(|spec| spec.template.as_ref()) else {
        return false;
    };
    wanted.spec == present.spec && same_metadata(wanted, present)
}

fn same_metadata(a: &PodTemplateSpec, b: &PodTemplateSpec) -> bool {
    let part = |template: &PodTemplateSpec| {
        let mut meta = template.metadata.clone().unwrap_or_default();
        if let Some(labels) = &mut meta.labels {
            labels.remove(HASH_LABEL);
        }
        meta.labels = meta.labels.filter(|labels| !labels.is_empty());
        meta.annotations = meta.annotations.filter(|annotations| !annotations.is_empty());
        meta
    };
    part(a) == part(b)
}

/// The ReplicaSet that runs the Deployment's template; the oldest if there are several, so that everybody
/// agrees which.
pub fn current<'a>(deployment: &Deployment, sets: &'a [ReplicaSet]) -> Option<&'a ReplicaSet> {
    sets.iter()
        .filter(|set| is_current(deployment, set))
        .min_by(|a, b| {
            (&a.metadata.creation_timestamp, &a.metadata.name)
                .cmp(&(&b.metadata.creation_timestamp, &b.metadata.name))
        })
}

/// The ReplicaSet of the current template, without size and annotations.
pub fn new_set(deployment: &Deployment) -> ReplicaSet {
    let spec = deployment.spec.clone().unwrap_or_default();
    let collisions = deployment
        .status
        .as_ref()
        .and_then(|status| status.collision_count);
    let hash = hash(&spec.template, collisions);
    let mut pods = spec.template;
    let labels = pods
        .metadata
        .get_or_insert_default()
        .labels
        .get_or_insert_default();
    labels.insert(HASH_LABEL.into(), hash.clone());
    let mut selector = spec.selector;
    selector
        .match_labels
        .get_or_insert_default()
        .insert(HASH_LABEL.into(), hash.clone());
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!(
                "{}-{hash}",
                deployment.metadata.name.as_deref().unwrap_or_default()
            )),
            namespace: deployment.metadata.namespace.clone(),
            labels: pods.metadata.as_ref().and_then(|meta| meta.labels.clone()),
            owner_references: Some(vec![owner::controller_reference(
                "apps/v1",
                "Deployment",
                &deployment.metadata,
            )]),
            ..Default::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(0),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(pods),
        }),
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn template(image: &str) -> PodTemplateSpec {
        serde_json::from_value(json!({"metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": image}]}}))
        .unwrap()
    }

    #[test]
    fn the_hash_follows_the_template_and_the_collisions() {
        assert_eq!(hash(&template("a"), None), hash(&template("a"), None));
        assert_ne!(hash(&template("a"), None), hash(&template("b"), None));
        assert_ne!(hash(&template("a"), None), hash(&template("a"), Some(1)));
    }

    #[test]
    fn the_hash_label_does_not_make_a_difference() {
        let deployment: Deployment = serde_json::from_value(
            json!({"metadata": {}, "spec": {"selector": {}, "template": template("a")}}),
        )
        .unwrap();
        let mut labeled = template("a");
        labeled
            .metadata
            .as_mut()
            .unwrap()
            .labels
            .as_mut()
            .unwrap()
            .insert(HASH_LABEL.into(), "x".into());
        let set = |template| -> ReplicaSet {
            serde_json::from_value(json!({"metadata": {}, "spec": {"selector": {}, "template": template}}))
                .unwrap()
        };
        assert!(is_current(&deployment, &set(labeled)));
        assert!(!is_current(&deployment, &set(template("b"))));
    }
}
