//! Services: from the API's Services and EndpointSlices to packet rules.
//!
//! ```text
//! cache of Services ───────┐
//!                          ├─ changed Services ── plan ── one batch
//! cache of EndpointSlices ─┘
//! cache of ServiceCIDRs ───── ranges in which nothing may leave this node ── the whole table
//! ```
//!
//! State: [`Watched`] owns which slices belong to which Service; the ruleset owns what the kernel has.
//! The caches' changes come by unbounded channels of pointers; all that is there is taken at once, so
//! a burst becomes one batch while the batch before it is being applied.

pub mod plan;
mod watched;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kobune_client::k8s_openapi::api::core::v1::Service;
use kobune_client::k8s_openapi::api::discovery::v1::EndpointSlice;
use kobune_client::k8s_openapi::api::networking::v1::ServiceCIDR;
use kobune_client::{Cache, Caches, Changes, Key};
use tokio_util::sync::CancellationToken;

use crate::{Cidr, NetworkError, NodeNetwork};
use plan::{NodeView, ServicePlan};
use watched::Watched;

/// How long to wait before all rules are made anew after the kernel refused a change.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Keeps this node's packet rules in step with the cluster's Services until `cancel`. What the rules
/// say stays in force afterwards.
pub async fn run(network: Arc<NodeNetwork>, caches: Caches, cancel: CancellationToken) {
    let services = caches.get::<Service>();
    let slices = caches.get::<EndpointSlice>();
    let ranges = caches.get::<ServiceCIDR>();
    let follow = async {
        // Rules of an earlier run stay in force until everything is known.
        if services.ready().await && slices.ready().await && ranges.ready().await {
            let config = network.config();
            let node = NodeView {
                pod_cidr: config.pod_cidr,
                node_ip: config.node_ip,
                answered_here: config.cluster_dns,
            };
            let changes = Changed {
                services: services.subscribe(),
                slices: slices.subscribe(),
                ranges: ranges.subscribe(),
            };
            Follower {
                network,
                services,
                ranges,
                watched: Watched::default(),
                node,
            }
            .follow(changes)
            .await;
        }
    };
    tokio::select! {
        () = cancel.cancelled() => {}
        () = follow => {}
    }
}

/// What the caches tell.
struct Changed {
    services: Changes<Service>,
    slices: Changes<EndpointSlice>,
    ranges: Changes<ServiceCIDR>,
}

struct Follower {
    network: Arc<NodeNetwork>,
    services: Cache<Service>,
    ranges: Cache<ServiceCIDR>,
    watched: Watched,
    node: NodeView,
}

impl Follower {
    async fn follow(mut self, news: Changed) {
        let Changed {
            mut services,
            mut slices,
            mut ranges,
        } = news;
        let mut changed = BTreeSet::new();
        let (mut whole, mut moved) = (true, true);
        loop {
            while let Some(change) = services.try_next() {
                changed.insert(Key::of(&**change.object()));
            }
            while let Some(change) = slices.try_next() {
                self.watched.note(change, &mut changed);
            }
            while ranges.try_next().is_some() {
                moved = true;
            }
            if whole {
                changed.extend(self.services.list().iter().map(|service| Key::of(&**service)));
            }
            if !self.apply(std::mem::take(&mut changed), whole, moved).await {
                tokio::time::sleep(AFTER_FAILURE).await;
                (whole, moved) = (true, true);
                continue;
            }
            (whole, moved) = (false, false);
            tokio::select! {
                change = services.next() => match change {
                    Some(change) => { changed.insert(Key::of(&**change.object())); }
                    None => return,
                },
                change = slices.next() => match change {
                    Some(change) => self.watched.note(change, &mut changed),
                    None => return,
                },
                change = ranges.next() => match change {
                    Some(_) => moved = true,
                    None => return,
                },
            }
        }
    }

    /// Plans the changed Services and applies the plans, after the ranges if those `moved`; false when the
    /// kernel refused.
    async fn apply(&self, changed: BTreeSet<Key>, whole: bool, moved: bool) -> bool {
        let plans: Vec<_> = changed
            .iter()
            .map(|key| {
                let slices = self.watched.slices(key);
                let plan = match self.services.get_key(key) {
                    Some(service) => plan::plan(&service, &slices, &self.node),
                    None => ServicePlan::default(),
                };
                (Arc::from(key.to_string()), plan)
            })
            .collect();
        let count = plans.len();
        match self.set(plans, whole, moved).await {
            Ok(()) => {
                tracing::debug!(services = count, whole, "packet rules follow the Services");
                true
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "packet rules do not follow the Services; trying again");
                false
            }
        }
    }

    async fn set(
        &self,
        plans: Vec<(Arc<str>, ServicePlan)>,
        whole: bool,
        moved: bool,
    ) -> Result<(), NetworkError> {
        if moved {
            self.network
                .set_further_service_cidrs(self.further_ranges())
                .await?;
        }
        self.network.set_services(plans, whole).await
    }

    fn further_ranges(&self) -> Vec<Cidr> {
        let mut ranges: Vec<Cidr> = self
            .ranges
            .list()
            .iter()
            .flat_map(|object| ipv4_ranges(object))
            .collect();
        ranges.retain(|range| *range != self.network.config().service_cidr);
        ranges.sort_unstable_by_key(|range| (range.network(), range.prefix()));
        ranges.dedup();
        ranges
    }
}

/// The IPv4 ranges of a ServiceCIDR.
fn ipv4_ranges(object: &ServiceCIDR) -> impl Iterator<Item = Cidr> {
    let texts = object.spec.iter().flat_map(|spec| spec.cidrs.iter().flatten());
    // An IPv6 range is none of ours.
    texts.filter_map(|text| text.parse().ok())
}
