//! ServiceCIDRs: the ranges that cluster addresses come from. A range is said to be ready, is protected by
//! a finalizer, and goes only when no address needs it any more. Keys are ServiceCIDRs; an IPAddress
//! concerns the ranges that hold it.

mod plan;

use std::net::IpAddr;

use async_trait::async_trait;
use jiff::Timestamp;
use kobune_client::k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use kobune_client::kube::Api;
use kobune_client::kube::api::{Patch, PatchParams};
use kobune_client::{Cache, Key};
use serde_json::{Value, json};

use crate::answers::unless_gone;
use crate::controller::{Context, Controller, Doing, Next, ReconcileError, Sources};
use plan::{Prefix, Seen, Step};

const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
const MANAGED_BY: &str = "ipaddress.kubernetes.io/managed-by";
const ALLOCATOR: &str = "ipallocator.k8s.io";

/// See the module.
pub struct ServiceCidrs {
    context: Context,
    ranges: Cache<ServiceCIDR>,
    addresses: Cache<IPAddress>,
}

impl ServiceCidrs {
    pub(crate) fn new(context: Context, sources: &mut Sources) -> Self {
        let known = context.caches.get::<ServiceCIDR>();
        // A range that comes or goes may be what another one waits for.
        let ranges = sources.keys(move |changed: &ServiceCIDR| {
            let waiting = known.list().into_iter();
            let waiting = waiting.filter(|range| range.metadata.deletion_timestamp.is_some());
            let mut keys = vec![Key::of(changed)];
            keys.extend(waiting.map(|range| Key::of(&*range)));
            keys.dedup();
            keys
        });
        let known = ranges.clone();
        let addresses = sources.keys(move |address: &IPAddress| ranges_of(&known, address));
        ServiceCidrs {
            context,
            ranges,
            addresses,
        }
    }

    fn step(&self, range: &ServiceCIDR) -> Step {
        let others = self.ranges.list().into_iter().filter(|other| {
            other.metadata.deletion_timestamp.is_none() && other.metadata.uid != range.metadata.uid
        });
        let others: Vec<Prefix> = others.flat_map(|other| prefixes(&other)).collect();
        let leaving = range.metadata.deletion_timestamp.as_ref();
        let since = leaving.map(|time| Timestamp::now().duration_since(time.0));
        // Who is not to go needs no look at the addresses.
        let taken = match leaving {
            Some(_) => self.addresses.list().iter().filter_map(|ip| taken(ip)).collect(),
            None => Vec::new(),
        };
        let finalizers = range.metadata.finalizers.iter().flatten();
        plan::step(Seen {
            ranges: &prefixes(range),
            others: &others,
            taken: &taken,
            leaving_since: since.map(|since| since.try_into().unwrap_or_default()),
            protected: finalizers.into_iter().any(|name| name == FINALIZER),
        })
    }

    async fn patch(&self, key: &Key, patch: Value) -> Result<(), ReconcileError> {
        let api = Api::<ServiceCIDR>::all(self.context.client.clone());
        let patched = api
            .patch(&key.name, &PatchParams::default(), &Patch::Strategic(patch))
            .await;
        unless_gone(patched).doing(|| format!("changing the finalizers of {key}"))?;
        Ok(())
    }

    /// Says whether addresses may be taken of the range, unless it says so already.
    async fn tell(&self, key: &Key, range: &ServiceCIDR, ready: bool) -> Result<(), ReconcileError> {
        let (status, reason, message) = match ready {
            true => ("True", "", "Kubernetes Service CIDR is ready"),
            false => (
                "False",
                "Terminating",
                "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR",
            ),
        };
        let conditions = range.status.iter().flat_map(|status| status.conditions.iter());
        let told = conditions
            .flatten()
            .any(|told| told.type_ == "Ready" && told.status == status);
        if told {
            return Ok(());
        }
        let condition = json!({"type": "Ready", "status": status, "reason": reason, "message": message,
            "lastTransitionTime": format!("{:.0}", Timestamp::now())});
        let patch = Patch::Strategic(json!({"status": {"conditions": [condition]}}));
        let api = Api::<ServiceCIDR>::all(self.context.client.clone());
        let patched = api.patch_status(&key.name, &PatchParams::default(), &patch).await;
        unless_gone(patched).doing(|| format!("telling the state of {key}"))?;
        Ok(())
    }
}

fn prefixes(range: &ServiceCIDR) -> Vec<Prefix> {
    let listed = range.spec.iter().flat_map(|spec| spec.cidrs.iter());
    listed.flatten().filter_map(|cidr| cidr.parse().ok()).collect()
}

/// The address, if the server took it for a Service.
fn taken(address: &IPAddress) -> Option<IpAddr> {
    let by = address.metadata.labels.as_ref()?.get(MANAGED_BY)?;
    let name = address.metadata.name.as_ref()?;
    (by == ALLOCATOR).then(|| name.parse().ok()).flatten()
}

/// The ranges on their way out that hold this address: all others do not care.
fn ranges_of(ranges: &Cache<ServiceCIDR>, address: &IPAddress) -> Vec<Key> {
    let Some(address) = taken(address) else {
        return Vec::new();
    };
    let leaving = ranges.list().into_iter().filter(|range| {
        let is_leaving = range.metadata.deletion_timestamp.is_some();
        is_leaving && prefixes(range).iter().any(|prefix| prefix.holds(address))
    });
    leaving.map(|range| Key::of(&*range)).collect()
}

#[async_trait]
impl Controller for ServiceCidrs {
    async fn reconcile(&self, key: &Key) -> Result<Next, ReconcileError> {
        let Some(range) = self.ranges.get_key(key) else {
            return Ok(Next::Changed);
        };
        match self.step(&range) {
            Step::Protect => {
                self.patch(key, json!({"metadata": {"finalizers": [FINALIZER]}}))
                    .await?;
                self.tell(key, &range, true).await?;
            }
            Step::Ready => self.tell(key, &range, true).await?,
            Step::Needed => self.tell(key, &range, false).await?,
            Step::Wait(left) => return Ok(Next::After(left)),
            Step::Release => {
                let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": [FINALIZER]}});
                self.patch(key, patch).await?;
            }
            Step::Nothing => {}
        }
        Ok(Next::Changed)
    }
}
