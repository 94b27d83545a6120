//! The executor: creates pods in growing batches, deletes them at once, adopts and releases.

use std::sync::Arc;

use futures_util::future::join_all;
use kobune_client::k8s_openapi::api::core::v1::Pod;
use kobune_client::kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kobune_client::kube::{self, Api};
use kobune_client::{EventType, Key};

use super::kinds::Replicated;
use super::plan::{self, Desired, Failure};
use crate::answers::{already_exists, answer, delete_exactly, namespace_is_terminating, unless_gone};
use crate::controller::{Context, Doing, ReconcileError};
use crate::expectations::Expectations;
use crate::{names, owner};

/// Creates `count` pods: one, then two, then four at a time, so that a pod nobody may create (quota,
/// admission) costs one request and not five hundred. Stops at the first failed batch.
pub async fn create<K: Replicated>(
    context: &Context,
    expected: &Expectations,
    key: &Key,
    workload: &K,
    desired: &Desired<'_>,
    count: usize,
) -> Result<(), Failure> {
    let api = Api::<Pod>::namespaced(context.client.clone(), &key.namespace);
    let (mut left, mut batch) = (count, 1);
    while left > 0 {
        let size = batch.min(left);
        let round = (0..size).map(|_| create_one(context, &api, expected, key, workload, desired));
        let failed = join_all(round).await.into_iter().find_map(Result::err);
        if let Some(error) = failed {
            return match namespace_is_terminating(&error) {
                true => Ok(()),
                false => Err(Failure {
                    reason: "FailedCreate",
                    message: answer(&error),
                }),
            };
        }
        left -= size;
        batch *= 2;
    }
    Ok(())
}

async fn create_one<K: Replicated>(
    context: &Context,
    api: &Api<Pod>,
    expected: &Expectations,
    key: &Key,
    workload: &K,
    desired: &Desired<'_>,
) -> Result<(), kube::Error> {
    loop {
        let reference = owner::controller_reference(&K::api_version(&()), &K::kind(&()), workload.meta());
        let pod = plan::new_pod(desired, reference, &names::random_suffix());
        let name = pod.metadata.name.clone().unwrap_or_default();
        expected.will_create(key, &name);
        match api.create(&PostParams::default(), &pod).await {
            Ok(_) => {
                context.event(
                    workload,
                    EventType::Normal,
                    "SuccessfulCreate",
                    format!("Created pod: {name}"),
                );
                return Ok(());
            }
            Err(error) => {
                expected.created(key, &name);
                if already_exists(&error) {
                    continue;
                }
                if !namespace_is_terminating(&error) {
                    let message = format!("Error creating: {}", answer(&error));
                    context.event(workload, EventType::Warning, "FailedCreate", message);
                }
                return Err(error);
            }
        }
    }
}

/// Deletes these pods, all at once.
pub async fn delete<K: Replicated>(
    context: &Context,
    expected: &Expectations,
    key: &Key,
    workload: &K,
    pods: Vec<Arc<Pod>>,
) -> Result<(), Failure> {
    let api = Api::<Pod>::namespaced(context.client.clone(), &key.namespace);
    // All are expected before the first goes: a change of one must not start another round.
    for pod in &pods {
        expected.will_delete(key, pod.metadata.uid.as_deref().unwrap_or_default());
    }
    let round = pods
        .iter()
        .map(|pod| delete_one(context, &api, expected, key, workload, pod));
    match join_all(round).await.into_iter().find_map(Result::err) {
        Some(error) => Err(Failure {
            reason: "FailedDelete",
            message: answer(&error),
        }),
        None => Ok(()),
    }
}

async fn delete_one<K: Replicated>(
    context: &Context,
    api: &Api<Pod>,
    expected: &Expectations,
    key: &Key,
    workload: &K,
    pod: &Pod,
) -> Result<(), kube::Error> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let outcome = delete_exactly(api, &pod.metadata, DeleteParams::default()).await;
    if !matches!(outcome, Ok(true)) {
        // No change will tell that it goes: either it was gone already, or it stays.
        expected.deleted(key, pod.metadata.uid.as_deref().unwrap_or_default());
    }
    let (kind, reason, message) = match &outcome {
        Ok(true) => (
            EventType::Normal,
            "SuccessfulDelete",
            format!("Deleted pod: {name}"),
        ),
        Ok(false) => return Ok(()),
        Err(error) => {
            let message = format!("Error deleting: {}", answer(error));
            (EventType::Warning, "FailedDelete", message)
        }
    };
    context.event(workload, kind, reason, message);
    outcome.map(drop)
}

/// Takes an orphan, unless the workload itself is on its way out (asked of the API, not the cache).
pub async fn adopt<K: Replicated>(
    context: &Context,
    workload: &K,
    pod: &Pod,
) -> Result<Option<()>, ReconcileError> {
    let key = Key::of(workload);
    let live = Api::<K>::namespaced(context.client.clone(), &key.namespace)
        .get_opt(&key.name)
        .await;
    let live = live.doing(|| format!("looking at {key} before an adoption"))?;
    let may = live.is_some_and(|live| {
        live.meta().uid == workload.meta().uid && live.meta().deletion_timestamp.is_none()
    });
    if !may {
        return Ok(None);
    }
    let reference = owner::controller_reference(&K::api_version(&()), &K::kind(&()), workload.meta());
    patch_owners(context, pod, owner::adopt_patch(&reference, &pod.metadata)).await
}

/// Lets a pod go whose labels no longer match.
pub async fn release<K: Replicated>(
    context: &Context,
    workload: &K,
    pod: &Pod,
) -> Result<(), ReconcileError> {
    patch_owners(context, pod, owner::release_patch(workload.meta(), &pod.metadata))
        .await
        .map(drop)
}

async fn patch_owners(
    context: &Context,
    pod: &Pod,
    patch: serde_json::Value,
) -> Result<Option<()>, ReconcileError> {
    let key = Key::of(pod);
    let api = Api::<Pod>::namespaced(context.client.clone(), &key.namespace);
    let patched = api
        .patch_metadata(&key.name, &PatchParams::default(), &Patch::Strategic(patch))
        .await;
    let patched = unless_gone(patched).doing(|| format!("changing the owner of pod {key}"))?;
    Ok(patched.map(drop))
}
