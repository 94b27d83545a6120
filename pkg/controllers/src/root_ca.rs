//! The ConfigMap `kube-root-ca.crt` of each namespace: what a pod verifies the API server with.

use std::collections::BTreeMap;

use async_trait::async_trait;
use kobune_client::k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kobune_client::kube::Api;
use kobune_client::kube::api::{ObjectMeta, PostParams};
use kobune_client::{Cache, Key};

use crate::answers::{already_exists, namespace_is_terminating};
use crate::controller::{Context, Controller, Doing, Next, ReconcileError, Sources};
use crate::serviceaccount::is_active;

const NAME: &str = "kube-root-ca.crt";
const DATA_KEY: &str = "ca.crt";
const DESCRIPTION: &str = "kubernetes.io/description";

/// Publishes the cluster's CA. Keys are names of namespaces.
pub struct RootCaPublisher {
    context: Context,
    namespaces: Cache<Namespace>,
    published: Cache<ConfigMap>,
    certificate: String,
}

impl RootCaPublisher {
    pub(crate) fn new(context: Context, sources: &mut Sources, certificate: &str) -> Self {
        let namespaces = sources.objects::<Namespace>();
        // Only the one name is watched: users' ConfigMaps are none of our memory.
        let published = context
            .caches
            .get_selected::<ConfigMap>(&format!("metadata.name={NAME}"));
        let published = sources.changes(published, |change| {
            let namespace = change.object().metadata.namespace.clone();
            namespace
                .map(|namespace| Key::new("", namespace))
                .into_iter()
                .collect()
        });
        RootCaPublisher {
            context,
            namespaces,
            published,
            certificate: certificate.to_owned(),
        }
    }

    fn wanted(&self, namespace: &str) -> ConfigMap {
        let description = "Certificates to verify the API server with, at its addresses inside the cluster.";
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(NAME.to_owned()),
                namespace: Some(namespace.to_owned()),
                annotations: Some(BTreeMap::from([(DESCRIPTION.to_owned(), description.to_owned())])),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([(DATA_KEY.to_owned(), self.certificate.clone())])),
            ..ConfigMap::default()
        }
    }
}

#[async_trait]
impl Controller for RootCaPublisher {
    async fn reconcile(&self, key: &Key) -> Result<Next, ReconcileError> {
        let namespace = &key.name;
        if !is_active(&self.namespaces, namespace) {
            return Ok(Next::Changed);
        }
        let wanted = self.wanted(namespace);
        let api = Api::<ConfigMap>::namespaced(self.context.client.clone(), namespace);
        let written = match self.published.get(namespace, NAME) {
            Some(present) if present.data == wanted.data => return Ok(Next::Changed),
            Some(_) => api.replace(NAME, &PostParams::default(), &wanted).await,
            None => api.create(&PostParams::default(), &wanted).await,
        };
        match written {
            Err(error) if already_exists(&error) || namespace_is_terminating(&error) => {}
            other => drop(other.doing(|| format!("publishing the root CA in {namespace}"))?),
        }
        Ok(Next::Changed)
    }
}
