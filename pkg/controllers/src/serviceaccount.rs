//! The service account `default` of each namespace.

use async_trait::async_trait;
use kobune_client::k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kobune_client::kube::Api;
use kobune_client::kube::api::{ObjectMeta, PostParams};
use kobune_client::{Cache, Key};

use crate::answers::{already_exists, namespace_is_terminating};
use crate::controller::{Context, Controller, Doing, Next, ReconcileError, Sources};

const NAME: &str = "default";

/// Makes the account where it is missing. Keys are names of namespaces.
pub struct DefaultServiceAccounts {
    context: Context,
    namespaces: Cache<Namespace>,
    accounts: Cache<ServiceAccount>,
}

impl DefaultServiceAccounts {
    pub(crate) fn new(context: Context, sources: &mut Sources) -> Self {
        let namespaces = sources.objects::<Namespace>();
        let accounts = sources.keys(|account: &ServiceAccount| {
            let is_default = account.metadata.name.as_deref() == Some(NAME);
            let namespace = account.metadata.namespace.clone().filter(|_| is_default);
            namespace
                .map(|namespace| Key::new("", namespace))
                .into_iter()
                .collect()
        });
        DefaultServiceAccounts {
            context,
            namespaces,
            accounts,
        }
    }
}

/// A namespace that is there and not on its way out.
pub fn is_active(namespaces: &Cache<Namespace>, name: &str) -> bool {
    namespaces
        .get("", name)
        .is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_none())
}

#[async_trait]
impl Controller for DefaultServiceAccounts {
    async fn reconcile(&self, key: &Key) -> Result<Next, ReconcileError> {
        let namespace = &key.name;
        if !is_active(&self.namespaces, namespace) || self.accounts.get(namespace, NAME).is_some() {
            return Ok(Next::Changed);
        }
        let account = ServiceAccount {
            metadata: ObjectMeta {
                name: Some(NAME.to_owned()),
                namespace: Some(namespace.clone()),
                ..ObjectMeta::default()
            },
            ..ServiceAccount::default()
        };
        let api = Api::<ServiceAccount>::namespaced(self.context.client.clone(), namespace);
        match api.create(&PostParams::default(), &account).await {
            Err(error) if already_exists(&error) || namespace_is_terminating(&error) => {}
            other => drop(other.doing(|| format!("creating the default service account of {namespace}"))?),
        }
        Ok(Next::Changed)
    }
}
