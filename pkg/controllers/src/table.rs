//! The controllers of this process: one row each.

use std::sync::Arc;

use kobune_client::k8s_openapi::api::apps::v1::ReplicaSet;
use kobune_client::k8s_openapi::api::core::v1::ReplicationController;

use crate::Config;
use crate::controller::{Context, Controller, Sources};
use crate::replicaset::Replicas;

/// Builds a controller and wires its sources.
type Build = fn(Context, &mut Sources, &Config) -> Arc<dyn Controller>;

/// One controller.
pub struct Row {
    /// As in upstream's `--controllers`; the identity is `system:serviceaccount:kube-system:{name}`.
    pub name: &'static str,
    /// How many keys it handles at once.
    pub workers: usize,
    pub(crate) build: Build,
}

/// Every controller. StatefulSet, DaemonSet, Job and CronJob have their place after the ReplicaSet.
pub const TABLE: &[Row] = &[
    Row {
        name: "deployment-controller",
        workers: 4,
        build: |context, sources, _| Arc::new(crate::deployment::Deployments::new(context, sources)),
    },
    Row {
        name: "replicaset-controller",
        workers: 4,
        build: |context, sources, _| Arc::new(Replicas::<ReplicaSet>::new(context, sources)),
    },
    Row {
        name: "replication-controller",
        workers: 2,
        build: |context, sources, _| Arc::new(Replicas::<ReplicationController>::new(context, sources)),
    },
    Row {
        name: "endpoint-controller",
        workers: 2,
        build: |context, sources, _| Arc::new(crate::endpoints::EndpointsController::new(context, sources)),
    },
    Row {
        name: "endpointslice-controller",
        workers: 2,
        build: |context, sources, _| Arc::new(crate::endpointslice::EndpointSlices::new(context, sources)),
    },
    Row {
        name: "endpointslicemirroring-controller",
        workers: 2,
        build: |context, sources, _| Arc::new(crate::endpointslice::mirror::Mirror::new(context, sources)),
    },
    Row {
        name: "service-cidr-controller",
        workers: 1,
        build: |context, sources, _| Arc::new(crate::service_cidr::ServiceCidrs::new(context, sources)),
    },
    Row {
        name: "disruption-controller",
        workers: 2,
        build: |context, sources, _| Arc::new(crate::disruption::Disruptions::new(context, sources)),
    },
    Row {
        name: "service-account-controller",
        workers: 1,
        build: |context, sources, _| {
            Arc::new(crate::serviceaccount::DefaultServiceAccounts::new(
                context, sources,
            ))
        },
    },
    Row {
        name: "root-ca-cert-publisher",
        workers: 1,
        build: |context, sources, config| {
            Arc::new(crate::root_ca::RootCaPublisher::new(
                context,
                sources,
                &config.root_ca,
            ))
        },
    },
    Row {
        name: "namespace-controller",
        workers: 4,
        build: |context, sources, _| Arc::new(crate::namespace::Namespaces::new(context, sources)),
    },
    Row {
        name: "resourcequota-controller",
        workers: 2,
        build: |context, sources, _| Arc::new(crate::resource_quota::ResourceQuotas::new(context, sources)),
    },
    Row {
        name: "generic-garbage-collector",
        workers: 16,
        build: |context, sources, _| Arc::new(crate::garbage::Garbage::new(context, sources)),
    },
    Row {
        name: "pod-garbage-collector",
        workers: 1,
        build: |context, sources, _| Arc::new(crate::pod_gc::PodCollector::new(context, sources)),
    },
    Row {
        name: "node-controller",
        workers: 2,
        build: |context, sources, _| Arc::new(crate::node_lifecycle::NodeLifecycle::new(context, sources)),
    },
    Row {
        name: "taint-eviction-controller",
        workers: 4,
        build: |context, sources, _| {
            Arc::new(crate::node_lifecycle::eviction::TaintEviction::new(
                context, sources,
            ))
        },
    },
];
