//! ResourceQuotas: their status follows their spec. The API server counts what is used, in the same
//! commit as each write; here is only seen to that every quota was counted since its limits changed, and
//! that its status shows those limits.

use async_trait::async_trait;
use kobune_client::k8s_openapi::api::core::v1::{ResourceQuota, ResourceQuotaStatus};
use kobune_client::kube::Api;
use kobune_client::kube::api::PostParams;
use kobune_client::{Cache, Change, Key};

use crate::answers::unless_gone;
use crate::controller::{Context, Controller, Doing, Next, ReconcileError, Sources};

/// See the module.
pub struct ResourceQuotas {
    context: Context,
    quotas: Cache<ResourceQuota>,
}

impl ResourceQuotas {
    pub(crate) fn new(context: Context, sources: &mut Sources) -> Self {
        let quotas = context.caches.get::<ResourceQuota>();
        let quotas = sources.changes(quotas, |change| match change {
            Change::Applied { object, previous } if needs_a_count(object, previous.as_deref()) => {
                vec![Key::of(&**object)]
            }
            _ => Vec::new(),
        });
        ResourceQuotas { context, quotas }
    }
}

/// A new quota, one with other limits or scopes than before, or one whose status shows other limits.
fn needs_a_count(quota: &ResourceQuota, previous: Option<&ResourceQuota>) -> bool {
    previous.is_none_or(|previous| previous.spec != quota.spec) || !shows_its_limits(quota)
}

fn shows_its_limits(quota: &ResourceQuota) -> bool {
    let wanted = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
    let shown = quota.status.as_ref().and_then(|status| status.hard.as_ref());
    wanted == shown
}

#[async_trait]
impl Controller for ResourceQuotas {
    async fn reconcile(&self, key: &Key) -> Result<Next, ReconcileError> {
        let Some(quota) = self.quotas.get_key(key) else {
            return Ok(Next::Changed);
        };
        let mut quota = (*quota).clone();
        quota.status = Some(ResourceQuotaStatus {
            hard: quota.spec.as_ref().and_then(|spec| spec.hard.clone()),
            // The server counts it.
            used: None,
        });
        let api = Api::<ResourceQuota>::namespaced(self.context.client.clone(), &key.namespace);
        let written = api
            .replace_status(&key.name, &PostParams::default(), &quota)
            .await;
        unless_gone(written).doing(|| format!("counting the quota {key} anew"))?;
        Ok(Next::Changed)
    }
}
