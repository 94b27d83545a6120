//! The role of a server's node, as `kubectl get nodes` shows it. A kubelet may not say this of itself
//! (admission refuses it), so the server does.

use anyhow::{Result, bail};
use kobune_client::k8s_openapi::api::core::v1::Node;
use kobune_client::kube::api::{Patch, PatchParams};
use kobune_client::kube::{Api, Client, Error};
use kobune_client::{Caches, Change};
use tokio_util::sync::CancellationToken;

/// k3s' label and value.
const ROLE: (&str, &str) = ("node-role.kubernetes.io/control-plane", "true");

/// Gives the node `name` its role whenever it is there without.
pub async fn keep(client: Client, caches: Caches, name: String, cancel: CancellationToken) -> Result<()> {
    let nodes = Api::<Node>::all(client);
    let mut changes = caches.get::<Node>().subscribe();
    loop {
        let change = tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            change = changes.next() => change,
        };
        let Some(change) = change else {
            bail!("the watch of nodes ended");
        };
        let Change::Applied { object: node, .. } = change else {
            continue;
        };
        if node.metadata.name.as_deref() == Some(&name)
            && !has_role(&node)
            && let Err(error) = give(&nodes, &name).await
        {
            // The next change of the node, its status at the latest, brings us here again.
            tracing::warn!(%error, node = name, "the node's role could not be written");
        }
    }
}

fn has_role(node: &Node) -> bool {
    let labels = node.metadata.labels.as_ref();
    labels.is_some_and(|labels| labels.contains_key(ROLE.0))
}

async fn give(nodes: &Api<Node>, name: &str) -> Result<(), Error> {
    let patch = Patch::Merge(serde_json::json!({"metadata": {"labels": {ROLE.0: ROLE.1}}}));
    nodes
        .patch_metadata(name, &PatchParams::default(), &patch)
        .await
        .map(drop)
}
