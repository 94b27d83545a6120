//! The kinds that the API server serves, as its discovery tells: also those nobody knew at compile time.

use kobune_client::kube::api::DynamicObject;
use kobune_client::kube::core::discovery::{ApiResource, Scope};
use kobune_client::kube::{self, Api, Client, Discovery};

/// One served kind.
#[derive(Debug, Clone)]
pub struct Kind {
    /// Group, version, kind and plural.
    pub resource: ApiResource,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    verbs: Vec<String>,
}

impl Kind {
    /// Whether the API server offers the verb.
    pub fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|offered| offered == verb)
    }

    /// Access to the objects of a namespace; of a kind of cluster scope, to all.
    pub fn api(&self, client: &Client, namespace: &str) -> Api<DynamicObject> {
        match self.namespaced {
            true => Api::namespaced_with(client.clone(), namespace, &self.resource),
            false => Api::all_with(client.clone(), &self.resource),
        }
    }
}

/// Asks the API server for all kinds, each in the version it prefers.
pub async fn discover(client: &Client) -> Result<Vec<Kind>, kube::Error> {
    let discovery = Discovery::new(client.clone()).run_aggregated().await?;
    let kinds = discovery.groups().flat_map(|group| group.recommended_resources());
    Ok(kinds
        .map(|(resource, capabilities)| Kind {
            resource,
            namespaced: capabilities.scope == Scope::Namespaced,
            verbs: capabilities.operations,
        })
        .collect())
}
