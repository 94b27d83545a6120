//! The controllers: one loop ([`controller`]), one table ([`table::TABLE`]), one file or folder per controller.
//!
//! To learn how a controller works, open its `plan.rs`: it decides from what was seen, with no I/O and no
//! clock. The `mod.rs` beside it gathers, asks the plan and does what it says.
//!
//! **Invariant**: nothing here runs unless a watch or a deadline wakes it.

mod answers;
pub mod controller;
mod deployment;
mod disruption;
mod endpoints;
mod endpointslice;
mod expectations;
mod garbage;
mod kinds;
mod names;
mod namespace;
mod node_lifecycle;
mod owner;
mod pace;
mod pod;
mod pod_gc;
mod replicaset;
mod resource_quota;
mod root_ca;
mod service_cidr;
mod service_pods;
mod serviceaccount;
pub mod table;

use kobune_client::{Caches, Recorder, kube};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::controller::{Context, Sources};

/// What the controllers must be told.
#[derive(Debug, Clone)]
pub struct Config {
    /// The cluster's CA certificate (PEM), published in every namespace as `kube-root-ca.crt`.
    pub root_ca: String,
}

/// Runs every controller of the table until `cancel`. `client_of` gives each its own identity: it is
/// called with the controller's name and answers a client for
/// `system:serviceaccount:kube-system:{name}`. The caches are shared by all.
pub async fn run(
    config: Config,
    client_of: impl Fn(&str) -> kube::Client,
    caches: Caches,
    cancel: CancellationToken,
) {
    let mut running = JoinSet::new();
    for row in table::TABLE {
        let client = client_of(row.name);
        let context = Context {
            recorder: Recorder::new(client.clone(), row.name, ""),
            client,
            caches: caches.clone(),
            cancel: cancel.clone(),
        };
        let mut sources = Sources::new(caches.clone(), cancel.clone());
        let controller = (row.build)(context, &mut sources, &config);
        running.spawn(controller::run(row.name, controller, row.workers, sources));
    }
    while running.join_next().await.is_some() {}
}
