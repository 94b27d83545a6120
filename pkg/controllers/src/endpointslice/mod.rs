//! EndpointSlices: the endpoints of each Service with a selector, a hundred to a slice. Those that users
//! give to a Service without one are mirrored by [`mirror`].

pub mod mirror;
mod plan;
mod written;

use async_trait::async_trait;
use kobune_client::k8s_openapi::api::core::v1::{Pod, Service};
use kobune_client::{Cache, Key};

use self::plan::{MANAGER, Writes};
use self::written::Slices;
use crate::controller::{Context, Controller, Next, ReconcileError, Sources};
use crate::endpoints::{pods_of, services_of};
use crate::service_pods;

/// The EndpointSlice controller.
pub struct EndpointSlices {
    services: Cache<Service>,
    pods: Cache<Pod>,
    slices: Slices,
}

impl EndpointSlices {
    pub(crate) fn new(context: Context, sources: &mut Sources) -> Self {
        let services = sources.objects::<Service>();
        let pods = sources.keys::<Pod>(services_of(services.clone()));
        EndpointSlices {
            services,
            pods,
            slices: Slices::new(context, sources, MANAGER),
        }
    }
}

#[async_trait]
impl Controller for EndpointSlices {
    async fn reconcile(&self, key: &Key) -> Result<Next, ReconcileError> {
        if self.slices.owes_a_look(key) {
            return Ok(Next::Changed);
        }
        let present = self.slices.of(key);
        let service = self.services.get_key(key);
        let writes = match &service {
            None => Writes::nothing_left(&present),
            Some(service) if service.metadata.deletion_timestamp.is_some() => Writes::default(),
            // A Service without a selector has slices of others' making, or none.
            Some(service) if service_pods::selector(service).is_none() => Writes::default(),
            Some(service) => plan::writes(service, &pods_of(&self.pods, service), &present),
        };
        self.slices.write(key, writes).await?;
        Ok(Next::Changed)
    }
}
