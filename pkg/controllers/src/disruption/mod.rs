//! Disruption budgets: how many pods of a kind may be evicted now. The eviction subresource takes from
//! `status.disruptionsAllowed`; this loop counts it anew when a pod or the budget changes. Keys are
//! budgets.

mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use kobune_client::k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kobune_client::k8s_openapi::api::core::v1::{Pod, ReplicationController};
use kobune_client::k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use kobune_client::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kobune_client::kube::api::PostParams;
use kobune_client::kube::core::SelectorExt;
use kobune_client::kube::{self, Api};
use kobune_client::{Cache, EventType, Key};

use crate::answers::{is_not_found, unless_gone};
use crate::controller::{Context, Controller, Doing, Next, ReconcileError, Sources};
use crate::{kinds, owner};
use plan::Counts;

/// The disruption controller.
pub struct Disruptions {
    context: Context,
    budgets: Cache<PodDisruptionBudget>,
    pods: Cache<Pod>,
    deployments: Cache<Deployment>,
    sets: Cache<ReplicaSet>,
    controllers: Cache<ReplicationController>,
}

/// Why what the pods' controllers want is not known.
#[derive(Debug, thiserror::Error)]
enum ScaleError {
    #[error("found no controllers for pod {0:?}")]
    Unknown(String),
    #[error("{0} does not implement the scale subresource")]
    Scaleless(String),
    #[error(transparent)]
    Api(#[from] kube::Error),
}

impl Disruptions {
    pub(crate) fn new(context: Context, sources: &mut Sources) -> Self {
        let budgets = sources.objects::<PodDisruptionBudget>();
        let known = budgets.clone();
        let pods = sources.keys::<Pod>(move |pod| budgets_of(&known, pod));
        Disruptions {
            context,
            budgets,
            pods,
            deployments: sources.reads(),
            sets: sources.reads(),
            controllers: sources.reads(),
        }
    }

    /// What the pods' controllers want in sum, and the pods that have none.
    async fn scale(&self, pods: &[Arc<Pod>]) -> Result<(i32, Vec<String>), ScaleError> {
        let (mut wanted, mut unmanaged) = (BTreeMap::new(), Vec::new());
        for pod in pods {
            let name = pod.metadata.name.clone().unwrap_or_default();
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            let Some(controller) = owner::controller_of(&pod.metadata) else {
                unmanaged.push(name);
                continue;
            };
            if wanted.contains_key(&controller.uid) {
                continue;
            }
            let scale = match self.known_scale(controller, namespace) {
                Some(scale) => Some(scale),
                None => self.asked_scale(controller, namespace).await?,
            };
            let scale = scale.ok_or(ScaleError::Unknown(name))?;
            wanted.insert(controller.uid.clone(), scale);
        }
        let mut distinct: BTreeMap<String, i32> = BTreeMap::new();
        distinct.extend(wanted.into_values());
        Ok((distinct.into_values().sum(), unmanaged))
    }

    /// Of the kinds that are cached: whose scale counts, and what it is.
    fn known_scale(&self, reference: &OwnerReference, namespace: &str) -> Option<(String, i32)> {
        let uid = Some(&reference.uid);
        let replicas = |replicas: Option<i32>| replicas.unwrap_or(1);
        match reference.kind.as_str() {
            "ReplicaSet" => {
                let set = self.sets.get(namespace, &reference.name)?;
                if set.metadata.uid.as_ref() != uid {
                    return None;
                }
                let above = owner::controller_of(&set.metadata).filter(|above| above.kind == "Deployment");
                let Some(above) = above else {
                    let wanted = set.spec.as_ref().and_then(|spec| spec.replicas);
                    return Some((reference.uid.clone(), replicas(wanted)));
                };
                let deployment = self.deployments.get(namespace, &above.name)?;
                let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas);
                let same = deployment.metadata.uid.as_ref() == Some(&above.uid);
                same.then(|| (above.uid.clone(), replicas(wanted)))
            }
            "ReplicationController" => {
                let controller = self.controllers.get(namespace, &reference.name)?;
                let wanted = controller.spec.as_ref().and_then(|spec| spec.replicas);
                let same = controller.metadata.uid.as_ref() == uid;
                same.then(|| (reference.uid.clone(), replicas(wanted)))
            }
            _ => None,
        }
    }

    /// Of all others the `scale` subresource is asked for.
    async fn asked_scale(
        &self,
        reference: &OwnerReference,
        namespace: &str,
    ) -> Result<Option<(String, i32)>, ScaleError> {
        if matches!(reference.kind.as_str(), "ReplicaSet" | "ReplicationController") {
            return Ok(None);
        }
        let client = &self.context.client;
        let served = kinds::discover(client).await?;
        let same = |kind: &&kinds::Kind| {
            kind.resource.kind == reference.kind && kind.resource.api_version == reference.api_version
        };
        let Some(kind) = served.iter().find(same) else {
            return Ok(None);
        };
        match kind.api(client, namespace).get_scale(&reference.name).await {
            Ok(scale) if scale.metadata.uid.as_ref() == Some(&reference.uid) => {
                let wanted = scale.spec.and_then(|spec| spec.replicas);
                Ok(Some((reference.uid.clone(), wanted.unwrap_or_default())))
            }
            Ok(_) => Ok(None),
            Err(error) if is_not_found(&error) => Err(ScaleError::Scaleless(format!(
                "{}.{}",
                kind.resource.plural, kind.resource.group
            ))),
            Err(error) => Err(error.into()),
        }
    }

    async fn write(
        &self,
        budget: &PodDisruptionBudget,
        status: PodDisruptionBudgetStatus,
    ) -> Result<(), ReconcileError> {
        if budget.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let key = Key::of(budget);
        let changed = PodDisruptionBudget {
            status: Some(status),
            ..budget.clone()
        };
        let api = Api::<PodDisruptionBudget>::namespaced(self.context.client.clone(), &key.namespace);
        let written = api
            .replace_status(&key.name, &PostParams::default(), &changed)
            .await;
        unless_gone(written).doing(|| format!("writing the status of the disruption budget {key}"))?;
        Ok(())
    }

    /// The pods of a budget.
    fn pods_of(&self, budget: &PodDisruptionBudget) -> Vec<Arc<Pod>> {
        let namespace = budget.metadata.namespace.as_deref().unwrap_or_default();
        self.pods
            .filter(|key, pod| key.namespace == namespace && selects(budget, pod))
    }

    fn tell(&self, budget: &PodDisruptionBudget, pods: &[Arc<Pod>], unmanaged: &[String]) {
        if pods.is_empty() {
            self.context
                .event(budget, EventType::Normal, "NoPods", "No matching pods found");
        }
        if !unmanaged.is_empty() {
            let message = "Pods selected by this PodDisruptionBudget were found to be unmanaged. As a result, the \
                status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account \
                for these pods please set \".spec.minAvailable\" field of the PDB to an integer value.";
            self.context
                .event(budget, EventType::Warning, "UnmanagedPods", message);
        }
    }
}

/// A budget without a selector selects nothing; one with an empty selector, everything.
fn selects(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let none = BTreeMap::new();
    let labels = pod.metadata.labels.as_ref().unwrap_or(&none);
    selector.is_some_and(|selector| owner::selector(selector).matches(labels))
}

/// The budgets that a pod counts for.
fn budgets_of(budgets: &Cache<PodDisruptionBudget>, pod: &Pod) -> Vec<Key> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let found = budgets.filter(|key, budget| key.namespace == namespace && selects(budget, pod));
    found.iter().map(|budget| Key::of(&**budget)).collect()
}

#[async_trait]
impl Controller for Disruptions {
    async fn reconcile(&self, key: &Key) -> Result<Next, ReconcileError> {
        let Some(budget) = self.budgets.get_key(key) else {
            return Ok(Next::Changed);
        };
        let pods = self.pods_of(&budget);
        let there = i32::try_from(pods.len()).unwrap_or(i32::MAX);
        let scale = match plan::counts(&budget) {
            Counts::Pods => Ok((there, Vec::new())),
            Counts::Scale => self.scale(&pods).await,
        };
        let now = Timestamp::now();
        let (expected, unmanaged) = match scale {
            Ok(scale) => scale,
            Err(error) => {
                let why = error.to_string();
                let message = format!("Failed to calculate the number of expected pods: {why}");
                self.context.event(
                    &*budget,
                    EventType::Warning,
                    "CalculateExpectedPodCountFailed",
                    message,
                );
                self.write(&budget, plan::failed(&budget, why, now)).await?;
                return Ok(Next::Changed);
            }
        };
        let verdict = plan::verdict(&budget, &pods, expected, now);
        if budget.status.as_ref() != Some(&verdict.status) {
            self.tell(&budget, &pods, &unmanaged);
        }
        for pod in &verdict.undeleted {
            let message = format!("Pod was expected by PDB {key} to be deleted but it wasn't");
            self.context
                .event(&**pod, EventType::Warning, "NotDeleted", message);
        }
        self.write(&budget, verdict.status).await?;
        Ok(verdict.again.into())
    }
}
