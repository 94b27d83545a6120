//! Empties a namespace: every kind that can be listed and deleted, pods first.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use kobune_client::k8s_openapi::api::core::v1::Pod;
use kobune_client::kube::api::{DeleteParams, ListParams};
use kobune_client::kube::core::{DynamicObject, Request};
use kobune_client::kube::{self, Api, Client, ResourceExt};

use super::plan::{Finding, Remains};
use crate::answers::unless_gone;
use crate::kinds::Kind;

/// Kinds emptied at once.
const AT_ONCE: usize = 8;

/// Deletes what there is and answers what stays. Other kinds wait for the pods: a pod that shuts down may
/// still need its service account, its config and its claims.
pub async fn delete(client: &Client, namespace: &str, kinds: &[Kind]) -> Finding {
    let mut finding = Finding::default();
    let (pods, others): (Vec<&Kind>, Vec<&Kind>) = kinds
        .iter()
        .filter(|kind| {
            kind.namespaced && kind.can("list") && (kind.can("delete") || kind.can("deletecollection"))
        })
        .partition(|kind| kind.resource.group.is_empty() && kind.resource.plural == "pods");
    for kind in pods {
        note(&mut finding, empty(client, namespace, kind).await);
    }
    if finding.look_again().is_some() {
        finding.longest_grace = longest_grace(client, namespace).await;
        return finding;
    }
    let mut results = stream::iter(others.into_iter().cloned())
        .map(|kind| async move { empty(client, namespace, &kind).await })
        .buffer_unordered(AT_ONCE);
    while let Some(result) = results.next().await {
        note(&mut finding, result);
    }
    finding.remains.sort_by(|a, b| a.resource.cmp(&b.resource));
    finding
}

fn note(finding: &mut Finding, result: Result<Option<Remains>, kube::Error>) {
    match result {
        Ok(None) => {}
        Ok(Some(remains)) => finding.remains.push(remains),
        Err(error) => finding.failures.push(error.to_string()),
    }
}

async fn empty(client: &Client, namespace: &str, kind: &Kind) -> Result<Option<Remains>, kube::Error> {
    let api = kind.api(client, namespace);
    let some = ListParams::default().limit(500);
    let present = unless_gone(api.list_metadata(&some).await)?;
    if present.is_none_or(|list| list.items.is_empty()) {
        return Ok(None);
    }
    if kind.can("deletecollection") {
        unless_gone(delete_collection(client, &api).await)?;
    } else {
        for object in api.list_metadata(&ListParams::default()).await?.items {
            unless_gone(api.delete(&object.name_any(), &DeleteParams::background()).await)?;
        }
    }
    let left = unless_gone(api.list_metadata(&ListParams::default()).await)?;
    let items = left.map(|list| list.items).unwrap_or_default();
    if items.is_empty() {
        return Ok(None);
    }
    let mut remains = Remains {
        resource: match kind.resource.group.as_str() {
            "" => format!("{}.", kind.resource.plural),
            group => format!("{}.{group}", kind.resource.plural),
        },
        count: items.len(),
        finalizers: Default::default(),
    };
    for finalizer in items.iter().flat_map(|item| item.finalizers()) {
        *remains.finalizers.entry(finalizer.clone()).or_default() += 1;
    }
    Ok(Some(remains))
}

/// Deletes all of a collection. The answer, with every object that was in it, is left unread: of ten thousand it
/// would take hundreds of megabytes.
async fn delete_collection(client: &Client, api: &Api<DynamicObject>) -> Result<(), kube::Error> {
    let request = Request::new(api.resource_url())
        .delete_collection(&DeleteParams::background(), &ListParams::default())
        .map_err(kube::Error::BuildRequest)?;
    client.request_stream(request).await.map(drop)
}

/// How long the slowest pod may take to stop.
async fn longest_grace(client: &Client, namespace: &str) -> Duration {
    let pods = Api::<Pod>::namespaced(client.clone(), namespace)
        .list_metadata(&ListParams::default())
        .await;
    let seconds = pods.map(|pods| {
        pods.items
            .iter()
            .filter_map(|pod| pod.metadata.deletion_grace_period_seconds)
            .max()
            .unwrap_or_default()
    });
    Duration::from_secs(seconds.unwrap_or_default().max(0) as u64)
}
