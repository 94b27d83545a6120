//! A pod as this node is asked to run it, with the questions everybody asks about it.

use std::sync::Arc;

use kobune_client::k8s_openapi::api::core::v1::{
    Container, ContainerRestartRule, ObjectReference, Pod, PodSpec, Probe,
};

/// What part a container plays in its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Runs to completion before the next.
    Init,
    /// An init container with `restartPolicy: Always`.
    Sidecar,
    /// One of `spec.containers`.
    Main,
    /// One of `spec.ephemeralContainers`.
    Ephemeral,
}

/// A pod with a spec, as the API server has it.
#[derive(Debug, Clone)]
pub struct Desired {
    pod: Arc<Pod>,
    ephemeral: Arc<[Container]>,
}

impl Desired {
    /// `None` for a pod without a spec or uid, which the API server never stores.
    pub fn new(pod: Arc<Pod>) -> Option<Self> {
        let spec = pod.spec.as_ref()?;
        pod.metadata.uid.as_ref()?;
        let ephemeral = spec
            .ephemeral_containers
            .iter()
            .flatten()
            .filter_map(as_container)
            .collect();
        Some(Desired { pod, ephemeral })
    }

    /// The object.
    pub fn pod(&self) -> &Arc<Pod> {
        &self.pod
    }
    /// `spec`
    pub fn spec(&self) -> &PodSpec {
        self.pod
            .spec
            .as_ref()
            .expect("a Desired is only made of a pod with a spec")
    }
    /// `metadata.uid`
    pub fn uid(&self) -> &str {
        self.pod.metadata.uid.as_deref().unwrap_or_default()
    }
    /// `metadata.name`
    pub fn name(&self) -> &str {
        self.pod.metadata.name.as_deref().unwrap_or_default()
    }
    /// `metadata.namespace`
    pub fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or_default()
    }
    /// `name_namespace(uid)`, the kubelet's way to write a pod in messages.
    pub fn full_name(&self) -> String {
        format!("{}_{}({})", self.name(), self.namespace(), self.uid())
    }
    /// `spec.initContainers`
    pub fn init(&self) -> &[Container] {
        self.spec().init_containers.as_deref().unwrap_or_default()
    }
    /// `spec.containers`
    pub fn main(&self) -> &[Container] {
        &self.spec().containers
    }
    /// `spec.ephemeralContainers`
    pub fn ephemeral(&self) -> &[Container] {
        &self.ephemeral
    }
    /// Every container with its role, init containers first.
    pub fn containers(&self) -> impl Iterator<Item = (Role, &Container)> {
        let init = self.init().iter().map(|c| (init_role(c), c));
        let main = self.main().iter().map(|c| (Role::Main, c));
        init.chain(main)
            .chain(self.ephemeral().iter().map(|c| (Role::Ephemeral, c)))
    }
    /// The container of that name.
    pub fn container(&self, name: &str) -> Option<(Role, &Container)> {
        self.containers().find(|(_, c)| c.name == name)
    }
    /// `spec.restartPolicy`, `Always` by default.
    pub fn restart_policy(&self) -> &str {
        self.spec().restart_policy.as_deref().unwrap_or("Always")
    }
    /// True once the API server has marked it for deletion.
    pub fn is_deleted(&self) -> bool {
        self.pod.metadata.deletion_timestamp.is_some()
    }
    /// `spec.terminationGracePeriodSeconds`, 30 by default.
    pub fn termination_grace(&self) -> i64 {
        self.spec().termination_grace_period_seconds.unwrap_or(30)
    }
    /// `spec.hostNetwork`
    pub fn host_network(&self) -> bool {
        self.spec().host_network.unwrap_or(false)
    }
    /// The phase the API server shows is Succeeded or Failed.
    pub fn phase_is_terminal(&self) -> bool {
        let phase = self.pod.status.as_ref().and_then(|s| s.phase.as_deref());
        matches!(phase, Some("Succeeded" | "Failed"))
    }
    /// A static or mirror pod's source annotation says where a pod comes from; all of ours come
    /// from the API.
    pub fn generation(&self) -> Option<i64> {
        self.pod.metadata.generation
    }

    /// What an event about the pod refers to.
    pub fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Pod".into()),
            name: self.pod.metadata.name.clone(),
            namespace: self.pod.metadata.namespace.clone(),
            uid: self.pod.metadata.uid.clone(),
            resource_version: self.pod.metadata.resource_version.clone(),
            field_path: None,
        }
    }

    /// What an event about one of its containers refers to.
    pub fn container_reference(&self, name: &str) -> ObjectReference {
        let list = match self.container(name) {
            Some((Role::Init | Role::Sidecar, _)) => "initContainers",
            Some((Role::Ephemeral, _)) => "ephemeralContainers",
            _ => "containers",
        };
        ObjectReference {
            field_path: Some(format!("spec.{list}{{{name}}}")),
            ..self.reference()
        }
    }

    /// Whether a container that ended with `exit_code` is started again: its own rules, then its
    /// own policy, then the pod's.
    pub fn restarts(&self, role: Role, container: &Container, exit_code: i32) -> bool {
        if role == Role::Ephemeral {
            return false;
        }
        if role == Role::Sidecar {
            return true;
        }
        for rule in container.restart_policy_rules.iter().flatten() {
            if rule_matches(rule, exit_code) {
                return rule.action == "Restart";
            }
        }
        match container
            .restart_policy
            .as_deref()
            .unwrap_or(self.restart_policy())
        {
            "Never" => false,
            "OnFailure" => exit_code != 0,
            // A plain init container of an Always pod is done when it succeeded.
            _ => role != Role::Init || exit_code != 0,
        }
    }
}

fn rule_matches(rule: &ContainerRestartRule, exit_code: i32) -> bool {
    let Some(on) = &rule.exit_codes else { return false };
    let listed = on.values.as_ref().is_some_and(|v| v.contains(&exit_code));
    match on.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        _ => false,
    }
}

/// Sidecar or plain init container.
pub fn init_role(container: &Container) -> Role {
    if container.restart_policy.as_deref() == Some("Always") {
        Role::Sidecar
    } else {
        Role::Init
    }
}

/// The grace period a probe gives the container it kills.
pub fn probe_grace(probe: Option<&Probe>) -> Option<i64> {
    probe.and_then(|p| p.termination_grace_period_seconds)
}

// An ephemeral container has all of a container's fields and one more.
fn as_container(e: &kobune_client::k8s_openapi::api::core::v1::EphemeralContainer) -> Option<Container> {
    serde_json::to_value(e).and_then(serde_json::from_value).ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A pod out of JSON, for the tests of this crate.
    pub(crate) fn pod(json: serde_json::Value) -> Desired {
        let mut value = serde_json::json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "web", "namespace": "default", "uid": "u1", "generation": 1},
            "spec": {"containers": [{"name": "a", "image": "nginx"}], "enableServiceLinks": true},
        });
        merge(&mut value, json);
        let pod: Pod = serde_json::from_value(value).unwrap();
        Desired::new(Arc::new(pod)).unwrap()
    }

    fn merge(into: &mut serde_json::Value, from: serde_json::Value) {
        match (into, from) {
            (serde_json::Value::Object(a), serde_json::Value::Object(b)) => {
                for (k, v) in b {
                    merge(a.entry(k).or_insert(serde_json::Value::Null), v);
                }
            }
            (a, b) => *a = b,
        }
    }

    #[test]
    fn restart_rules_come_before_policies() {
        let p = pod(
            serde_json::json!({"spec": {"restartPolicy": "Never", "containers": [{
            "name": "a", "image": "x", "restartPolicy": "Never",
            "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]}]}}),
        );
        assert!(p.restarts(Role::Main, &p.main()[0], 42));
        assert!(!p.restarts(Role::Main, &p.main()[0], 1));
    }

    #[test]
    fn an_init_container_that_succeeded_is_not_restarted() {
        let p = pod(serde_json::json!({}));
        assert!(!p.restarts(Role::Init, &p.main()[0], 0));
        assert!(p.restarts(Role::Init, &p.main()[0], 3));
        assert!(p.restarts(Role::Sidecar, &p.main()[0], 0));
        assert!(!p.restarts(Role::Ephemeral, &p.main()[0], 1));
    }

    #[test]
    fn an_event_names_the_container_by_field() {
        let p = pod(serde_json::json!({}));
        assert_eq!(
            p.container_reference("a").field_path.as_deref(),
            Some("spec.containers{a}")
        );
    }
}
