//! The server that all tests share, and a namespace for each.

use std::ops::Deref;

use kobune_test_support::{self as support, Cluster, Options};

/// What a server without a node is started with.
pub fn without_node() -> Options {
    Options {
        without_node: true,
        ..Options::default()
    }
}

/// The shared server.
pub fn cluster() -> &'static Cluster {
    support::shared(without_node)
}

/// One test's own namespace on the shared server.
pub struct Space(support::Space);

impl Space {
    /// A new namespace.
    pub fn new(name: &str) -> Space {
        Space(support::Space::on(cluster(), name))
    }
}

impl Deref for Space {
    type Target = support::Space;
    fn deref(&self) -> &support::Space {
        &self.0
    }
}

/// A deployment of pods that no node can run here.
pub fn deployment(name: &str, image: &str, replicas: u32) -> String {
    format!(
        r#"{{"apiVersion":"apps/v1","kind":"Deployment","metadata":{{"name":"{name}"}},"spec":{{"replicas":{replicas},
        "selector":{{"matchLabels":{{"app":"{name}"}}}},"template":{{"metadata":{{"labels":{{"app":"{name}"}}}},
        "spec":{{"containers":[{{"name":"main","image":"{image}"}}]}}}}}}}}"#
    )
}

/// A config map with some metadata beside its name.
pub fn map(name: &str, metadata: &str) -> String {
    format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"{metadata}}},"data":{{"k":"v"}}}}"#
    )
}
