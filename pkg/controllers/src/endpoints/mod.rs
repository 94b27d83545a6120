//! Endpoints: one object for each Service with a selector, of the Service's name.

mod plan;

use std::sync::Arc;

use async_trait::async_trait;
use kobune_client::k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use kobune_client::kube::Api;
use kobune_client::kube::api::{DeleteParams, PostParams};
use kobune_client::{Cache, Key};

use crate::answers::unless_gone;
use crate::controller::{Context, Controller, Doing, Next, ReconcileError, Sources};
use crate::service_pods;

/// The Endpoints controller.
pub struct EndpointsController {
    context: Context,
    services: Cache<Service>,
    pods: Cache<Pod>,
    endpoints: Cache<Endpoints>,
}

impl EndpointsController {
    pub(crate) fn new(context: Context, sources: &mut Sources) -> Self {
        let services = sources.objects::<Service>();
        let pods = sources.keys::<Pod>(services_of(services.clone()));
        let endpoints = sources.objects::<Endpoints>();
        EndpointsController {
            context,
            services,
            pods,
            endpoints,
        }
    }

    /// The Service is gone: so are its endpoints, if they were made here.
    async fn remove(&self, api: &Api<Endpoints>, key: &Key) -> Result<(), ReconcileError> {
        let Some(present) = self.endpoints.get_key(key) else {
            return Ok(());
        };
        let labels = present.metadata.labels.as_ref();
        if labels.is_some_and(|labels| labels.contains_key("endpoints.kubernetes.io/managed-by")) {
            let deleted = api.delete(&key.name, &DeleteParams::default()).await;
            unless_gone(deleted).doing(|| format!("deleting the endpoints {key}"))?;
        }
        Ok(())
    }
}

/// The Services of its namespace that select a pod.
pub fn services_of(services: Cache<Service>) -> impl Fn(&Pod) -> Vec<Key> {
    move |pod| {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let found =
            services.filter(|key, service| key.namespace == namespace && service_pods::selects(service, pod));
        found.iter().map(|service| Key::of(&**service)).collect()
    }
}

/// The pods that a Service selects.
pub fn pods_of(pods: &Cache<Pod>, service: &Service) -> Vec<Arc<Pod>> {
    let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
    pods.filter(|key, pod| key.namespace == namespace && service_pods::selects(service, pod))
}

#[async_trait]
impl Controller for EndpointsController {
    async fn reconcile(&self, key: &Key) -> Result<Next, ReconcileError> {
        let api = Api::<Endpoints>::namespaced(self.context.client.clone(), &key.namespace);
        let Some(service) = self.services.get_key(key) else {
            self.remove(&api, key).await?;
            return Ok(Next::Changed);
        };
        if service_pods::selector(&service).is_none() || service.metadata.deletion_timestamp.is_some() {
            // Somebody else keeps the endpoints of such a Service.
            return Ok(Next::Changed);
        }
        let present = self.endpoints.get_key(key);
        let wanted = plan::wanted(&service, &pods_of(&self.pods, &service), present.as_deref());
        match present {
            Some(present) if plan::is_same(&present, &wanted) => {}
            Some(_) => {
                let written = api.replace(&key.name, &PostParams::default(), &wanted).await;
                unless_gone(written).doing(|| format!("updating the endpoints {key}"))?;
            }
            None => {
                let created = api.create(&PostParams::default(), &wanted).await;
                if !created
                    .as_ref()
                    .is_err_and(crate::answers::namespace_is_terminating)
                {
                    created.doing(|| format!("creating the endpoints {key}"))?;
                }
            }
        }
        Ok(Next::Changed)
    }
}
