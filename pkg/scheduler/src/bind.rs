//! What the scheduler tells the API server: this pod goes there, or it cannot go anywhere now.

use jiff::Timestamp;
use kobune_client::Key;
use kobune_client::k8s_openapi::api::core::v1::{Binding, ObjectReference, Pod};
use kobune_client::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kobune_client::kube::api::{Patch, PatchParams, PostParams};
use kobune_client::kube::{self, Api};
use serde_json::json;

/// Binds the pod to the node by the binding subresource. The uid makes sure that it is this pod.
pub async fn bind(client: &kube::Client, pod: &Pod, node: &str) -> Result<(), kube::Error> {
    let key = Key::of(pod);
    let binding = Binding {
        metadata: ObjectMeta {
            name: Some(key.name.clone()),
            namespace: Some(key.namespace.clone()),
            uid: pod.metadata.uid.clone(),
            ..Default::default()
        },
        target: ObjectReference {
            kind: Some("Node".into()),
            name: Some(node.to_owned()),
            ..Default::default()
        },
    };
    let api = Api::<Pod>::namespaced(client.clone(), &key.namespace);
    let _: serde_json::Value = api
        .create_subresource("binding", &key.name, &PostParams::default(), &binding)
        .await?;
    Ok(())
}

/// The pod is gone or was bound meanwhile.
pub fn is_moot(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404 || status.code == 409)
}

/// Whether the pod's status says already why it cannot be placed.
pub fn is_marked_unschedulable(pod: &Pod, message: &str) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    conditions.iter().any(|condition| {
        condition.type_ == "PodScheduled"
            && condition.status == "False"
            && condition.reason.as_deref() == Some("Unschedulable")
            && condition.message.as_deref() == Some(message)
    })
}

/// Writes PodScheduled=False into the pod's status.
pub async fn mark_unschedulable(client: &kube::Client, pod: &Pod, message: &str) {
    let key = Key::of(pod);
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    let before = conditions
        .iter()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    let since = before
        .and_then(|condition| condition.last_transition_time.as_ref())
        .map(|time| time.0);
    let patch = json!({
        "metadata": {"uid": pod.metadata.uid},
        "status": {"conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
            "lastProbeTime": null, "lastTransitionTime": seconds(since.unwrap_or_else(Timestamp::now)),
            "observedGeneration": pod.metadata.generation,
        }]},
    });
    let api = Api::<Pod>::namespaced(client.clone(), &key.namespace);
    if let Err(error) = api
        .patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(patch))
        .await
        && !is_moot(&error)
    {
        tracing::warn!(pod = %key, %error, "a pod's status could not say that it found no node");
    }
}

/// Kubernetes' times have whole seconds.
fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
