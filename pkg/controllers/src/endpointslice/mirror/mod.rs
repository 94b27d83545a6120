//! Mirroring: the Endpoints that a user keeps for a Service without a selector, as EndpointSlices.
//!
//! Keys are Endpoints, which have their Service's name.

mod plan;

use async_trait::async_trait;
use kobune_client::k8s_openapi::api::core::v1::{Endpoints, Service};
use kobune_client::{Cache, EventType, Key};

use super::plan::Writes;
use super::written::Slices;
use crate::controller::{Context, Controller, Next, ReconcileError, Sources};
use plan::MANAGER;

/// The mirroring controller.
pub struct Mirror {
    context: Context,
    services: Cache<Service>,
    endpoints: Cache<Endpoints>,
    slices: Slices,
}

impl Mirror {
    pub(crate) fn new(context: Context, sources: &mut Sources) -> Self {
        Mirror {
            services: sources.objects::<Service>(),
            endpoints: sources.objects::<Endpoints>(),
            slices: Slices::new(context.clone(), sources, MANAGER),
            context,
        }
    }
}

#[async_trait]
impl Controller for Mirror {
    async fn reconcile(&self, key: &Key) -> Result<Next, ReconcileError> {
        if self.slices.owes_a_look(key) {
            return Ok(Next::Changed);
        }
        let present = self.slices.of(key);
        let endpoints = self.endpoints.get_key(key);
        let service = self.services.get_key(key);
        let writes = match (&endpoints, &service) {
            (Some(endpoints), Some(service)) if plan::is_mirrored(endpoints, service) => {
                let mirrored = plan::writes(endpoints, &present);
                for warning in mirrored.warnings {
                    let (reason, message) = warning.said();
                    self.context
                        .event(&**endpoints, EventType::Warning, reason, message);
                }
                mirrored.writes
            }
            _ => Writes::nothing_left(&present),
        };
        self.slices.write(key, writes).await?;
        Ok(Next::Changed)
    }
}
