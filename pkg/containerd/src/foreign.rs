//! What is taken back out of a containerd that is not kobune's own: our namespace, with all in it.
//!
//! containerd deletes a namespace only when it is empty, and only its garbage collection deletes blobs and
//! snapshots. So what holds them goes first, images and leases, and then the collection is waited for.

use containerd_client::services::v1::{
    CreateRequest, DeleteImageRequest, DeleteNamespaceRequest, DeleteRequest, ListImagesRequest, ListRequest,
};
use kobune_runtime::Result;

use crate::connection::{Connection, Idempotent, failed};

/// Its end makes containerd collect, also when there was nothing else to delete.
const LAST_LEASE: &str = "kobune-reset";

/// Deletes the namespace of `connection`, whose containers are gone.
pub(crate) async fn remove_namespace(connection: &Connection) -> Result<()> {
    let images = connection.images().list(ListImagesRequest::default()).await;
    let images = images.map_err(failed("listing images"))?.into_inner().images;
    for image in images {
        let doing = format!("removing image {}", image.name);
        let request = DeleteImageRequest {
            name: image.name,
            ..Default::default()
        };
        let answer = connection.images().delete(request).await;
        answer.or_gone().map_err(failed(doing))?;
    }
    let last = CreateRequest {
        id: LAST_LEASE.to_owned(),
        ..Default::default()
    };
    let answer = connection.leases().create(last).await;
    answer.or_exists().map_err(failed("making a lease"))?;
    let leases = connection.leases().list(ListRequest::default()).await;
    let mut leases = leases.map_err(failed("listing leases"))?.into_inner().leases;
    leases.sort_by_key(|lease| lease.id == LAST_LEASE);
    for lease in leases {
        let request = DeleteRequest {
            sync: lease.id == LAST_LEASE,
            id: lease.id,
        };
        let answer = connection.leases().delete(request).await;
        answer.or_gone().map_err(failed("ending a lease"))?;
    }
    let request = DeleteNamespaceRequest {
        name: connection.namespace().to_owned(),
    };
    let answer = connection.namespaces().delete(request).await;
    answer.or_gone().map_err(failed(format!(
        "deleting the namespace {}",
        connection.namespace()
    )))
}
