//! The built-in rules: what each component of the cluster may do, and what everybody may.
//!
//! The rows say what upstream's bootstrap roles say, as far as the parts of kobune need it. When
//! RBAC comes, they become its bootstrap objects.

use super::{Attributes, Authorizer};

/// One row: verbs, group, resources (with `/subresource`), and in which namespace and for which name
/// it holds (empty: all).
struct Rule {
    verbs: &'static str,
    group: &'static str,
    resources: &'static str,
    namespace: &'static str,
}

const fn rule(verbs: &'static str, group: &'static str, resources: &'static str) -> Rule {
    Rule {
        verbs,
        group,
        resources,
        namespace: "",
    }
}

const READ: &str = "get list watch";
const WRITE: &str = "get list watch create update patch delete deletecollection";
const EVENTS: &str = "create update patch";

/// See the module.
pub struct Builtin;

impl Authorizer for Builtin {
    fn allows(&self, wanted: &Attributes<'_>) -> bool {
        let who = wanted.who;
        if who.user == "system:anonymous" {
            return !wanted.is_resource && wanted.verb == "get" && crate::authn::is_public(wanted.path);
        }
        if everybody(wanted) {
            return true;
        }
        rules_of(&who.user).iter().any(|rule| rule.holds(wanted))
            || is_controller(&who.user) && CONTROLLERS.iter().any(|rule| rule.holds(wanted))
    }
}

impl Rule {
    fn holds(&self, wanted: &Attributes<'_>) -> bool {
        let has = |list: &str, word: &str| list == "*" || list.split(' ').any(|item| item == word);
        let resource = || {
            self.resources.split(' ').any(|item| match item.split_once('/') {
                _ if item == "*" => true,
                None => item == wanted.resource && wanted.subresource.is_empty(),
                Some((resource, sub)) => {
                    (resource == "*" || resource == wanted.resource) && sub == wanted.subresource
                }
            })
        };
        wanted.is_resource
            && has(self.verbs, wanted.verb)
            && has(self.group, wanted.group)
            && (self.namespace.is_empty() || self.namespace == wanted.namespace)
            && resource()
    }
}

/// What every authenticated user may do: discovery, and asking about oneself.
fn everybody(wanted: &Attributes<'_>) -> bool {
    if wanted.is_resource {
        return wanted.verb == "create"
            && matches!(
                (wanted.group, wanted.resource),
                (
                    "authorization.k8s.io",
                    "selfsubjectaccessreviews" | "selfsubjectrulesreviews"
                ) | ("authentication.k8s.io", "selfsubjectreviews")
            );
    }
    let path = wanted.path;
    wanted.verb == "get"
        && (crate::authn::is_public(path)
            || ["/api", "/apis", "/openapi"].iter().any(|root| {
                path.strip_prefix(root)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }))
}

fn is_controller(user: &str) -> bool {
    user.starts_with("system:serviceaccount:kube-system:") && user.ends_with("-controller")
        || matches!(
            user,
            "system:serviceaccount:kube-system:generic-garbage-collector" | "system:kube-controller-manager"
        )
}

/// What every controller may do: tell events, hold a Lease, read what its caches hold.
const CONTROLLERS: &[Rule] = &[
    rule(EVENTS, "", "events"),
    rule(EVENTS, "events.k8s.io", "events"),
    rule(
        "get list watch create update patch",
        "coordination.k8s.io",
        "leases",
    ),
    rule(
        READ,
        "",
        "pods nodes services endpoints namespaces serviceaccounts replicationcontrollers persistentvolumeclaims persistentvolumes resourcequotas limitranges podtemplates configmaps",
    ),
    rule(READ, "apps", "*"),
    rule(READ, "batch", "*"),
    rule(READ, "discovery.k8s.io", "endpointslices"),
    rule(READ, "policy", "poddisruptionbudgets"),
    rule(READ, "autoscaling", "horizontalpodautoscalers"),
    rule(READ, "storage.k8s.io", "*"),
];

const SCHEDULER: &[Rule] = &[
    rule(EVENTS, "", "events"),
    rule(EVENTS, "events.k8s.io", "events"),
    rule(
        "get list watch create update patch",
        "coordination.k8s.io",
        "leases",
    ),
    rule(
        READ,
        "",
        "nodes pods services replicationcontrollers persistentvolumeclaims persistentvolumes namespaces",
    ),
    rule("get list watch delete", "", "pods"),
    rule("create", "", "pods/binding bindings"),
    rule("patch update", "", "pods/status"),
    rule("patch update", "", "persistentvolumeclaims persistentvolumes"),
    rule(READ, "apps", "replicasets statefulsets"),
    rule(READ, "policy", "poddisruptionbudgets"),
    rule(READ, "storage.k8s.io", "*"),
    rule(READ, "resource.k8s.io", "*"),
    rule(READ, "scheduling.k8s.io", "priorityclasses"),
    rule("create", "authentication.k8s.io", "tokenreviews"),
    rule("create", "authorization.k8s.io", "subjectaccessreviews"),
];

/// The node's network and the DNS server look, and change nothing.
const NETWORK: &[Rule] = &[
    rule(READ, "", "services endpoints pods nodes namespaces"),
    rule(READ, "discovery.k8s.io", "endpointslices"),
    rule(READ, "networking.k8s.io", "*"),
    rule(EVENTS, "", "events"),
    rule(EVENTS, "events.k8s.io", "events"),
];

const PODS: Rule = rule(WRITE, "", "pods");

const DEPLOYMENT: &[Rule] = &[
    rule(
        "get list watch update patch",
        "apps",
        "deployments deployments/status deployments/finalizers",
    ),
    rule(WRITE, "apps", "replicasets"),
    rule("get list watch update", "", "pods"),
];
const REPLICASET: &[Rule] = &[
    rule(
        "get list watch update patch",
        "apps",
        "replicasets replicasets/status replicasets/finalizers",
    ),
    PODS,
];
const REPLICATION: &[Rule] = &[
    rule(
        "get list watch update patch",
        "",
        "replicationcontrollers replicationcontrollers/status replicationcontrollers/finalizers",
    ),
    PODS,
];
const STATEFULSET: &[Rule] = &[
    rule(
        "get list watch update patch",
        "apps",
        "statefulsets statefulsets/status statefulsets/finalizers",
    ),
    rule(WRITE, "apps", "controllerrevisions"),
    rule(WRITE, "", "persistentvolumeclaims"),
    PODS,
];
const DAEMONSET: &[Rule] = &[
    rule(
        "get list watch update patch",
        "apps",
        "daemonsets daemonsets/status daemonsets/finalizers",
    ),
    rule(WRITE, "apps", "controllerrevisions"),
    rule("create", "", "pods/binding"),
    PODS,
];
const JOB: &[Rule] = &[
    rule(
        "get list watch update patch",
        "batch",
        "jobs jobs/status jobs/finalizers",
    ),
    PODS,
];
const CRONJOB: &[Rule] = &[
    rule(
        "get list watch update patch",
        "batch",
        "cronjobs cronjobs/status cronjobs/finalizers",
    ),
    rule(WRITE, "batch", "jobs"),
];
const NAMESPACE: &[Rule] = &[
    rule("get list watch delete", "", "namespaces"),
    rule("update patch", "", "namespaces/finalize namespaces/status"),
    rule("get list watch delete deletecollection", "*", "*"),
];
const GARBAGE: &[Rule] = &[rule("get list watch patch update delete", "*", "*")];
const SERVICE_ACCOUNT: &[Rule] = &[rule("get list watch create update patch", "", "serviceaccounts")];
const TOKENS: &[Rule] = &[
    rule(WRITE, "", "secrets"),
    rule("get update", "", "serviceaccounts"),
];
const ENDPOINTS: &[Rule] = &[rule(WRITE, "", "endpoints endpoints/restricted")];
const ENDPOINT_SLICE: &[Rule] = &[
    rule(WRITE, "discovery.k8s.io", "endpointslices"),
    rule("update", "", "services/finalizers"),
];
const ENDPOINT_MIRROR: &[Rule] = &[
    rule(WRITE, "discovery.k8s.io", "endpointslices"),
    rule("update", "", "endpoints/finalizers"),
];
const NODES: &[Rule] = &[
    rule("get list watch update patch delete", "", "nodes nodes/status"),
    rule("get list watch update patch delete", "", "pods pods/status"),
];
const POD_GC: &[Rule] = &[
    rule("get list watch delete", "", "pods"),
    rule("patch update", "", "pods/status"),
];
const TTL: &[Rule] = &[rule("get list watch update patch", "", "nodes")];
const DISRUPTION: &[Rule] = &[
    rule(
        "get list watch update patch",
        "policy",
        "poddisruptionbudgets poddisruptionbudgets/status",
    ),
    rule("patch update", "", "pods/status"),
    rule("get", "*", "*/scale"),
];
const SERVICE_CIDR: &[Rule] = &[
    rule(
        "get list watch update patch",
        "networking.k8s.io",
        "servicecidrs servicecidrs/status servicecidrs/finalizers",
    ),
    rule(READ, "networking.k8s.io", "ipaddresses"),
];
const CERTIFICATES: &[Rule] = &[
    rule(
        "get list watch delete update patch",
        "certificates.k8s.io",
        "certificatesigningrequests certificatesigningrequests/status certificatesigningrequests/approval",
    ),
    rule("approve sign", "certificates.k8s.io", "signers"),
    rule("create", "authorization.k8s.io", "subjectaccessreviews"),
];
const ROOT_CA: &[Rule] = &[rule("get list watch create update patch", "", "configmaps")];
const QUOTA: &[Rule] = &[
    rule("list watch", "*", "*"),
    rule("update patch", "", "resourcequotas/status"),
];
const AUTOSCALER: &[Rule] = &[
    rule(
        "get list watch update patch",
        "autoscaling",
        "horizontalpodautoscalers horizontalpodautoscalers/status",
    ),
    rule("get update patch", "*", "*/scale"),
    rule(READ, "metrics.k8s.io", "*"),
];
const VOLUMES: &[Rule] = &[
    rule(
        WRITE,
        "",
        "persistentvolumes persistentvolumeclaims persistentvolumes/status persistentvolumeclaims/status pods",
    ),
    rule(READ, "storage.k8s.io", "*"),
    rule("update patch", "", "nodes/status"),
    rule(WRITE, "storage.k8s.io", "volumeattachments"),
];
fn rules_of(user: &str) -> &'static [Rule] {
    match user {
        "system:kube-scheduler" => return SCHEDULER,
        "system:kube-proxy" | "system:kobune:network" | "system:kobune:dns" => return NETWORK,
        // What all loops share in a process looks through garbage collection's eyes.
        "system:kube-controller-manager" => return GARBAGE,
        _ => {}
    }
    let Some(controller) = user.strip_prefix("system:serviceaccount:kube-system:") else {
        return &[];
    };
    match controller {
        "deployment-controller" => DEPLOYMENT,
        "replicaset-controller" => REPLICASET,
        "replication-controller" => REPLICATION,
        "statefulset-controller" => STATEFULSET,
        "daemon-set-controller" => DAEMONSET,
        "job-controller" | "ttl-after-finished-controller" => JOB,
        "cronjob-controller" => CRONJOB,
        "namespace-controller" => NAMESPACE,
        "generic-garbage-collector" => GARBAGE,
        "service-account-controller" => SERVICE_ACCOUNT,
        "tokens-controller" | "legacy-service-account-token-cleaner" => TOKENS,
        "endpoint-controller" => ENDPOINTS,
        "endpointslice-controller" => ENDPOINT_SLICE,
        "endpointslicemirroring-controller" => ENDPOINT_MIRROR,
        "node-controller" | "taint-eviction-controller" | "node-lifecycle-controller" => NODES,
        "pod-garbage-collector" | "pod-garbage-collector-controller" => POD_GC,
        "ttl-controller" => TTL,
        "disruption-controller" => DISRUPTION,
        "service-cidr-controller" | "service-cidrs-controller" => SERVICE_CIDR,
        "certificate-controller" => CERTIFICATES,
        "root-ca-cert-publisher" | "root-ca-cert-publisher-controller" => ROOT_CA,
        "resourcequota-controller" => QUOTA,
        "horizontal-pod-autoscaler" => AUTOSCALER,
        "persistent-volume-binder"
        | "attachdetach-controller"
        | "expand-controller"
        | "pvc-protection-controller"
        | "pv-protection-controller"
        | "ephemeral-volume-controller" => VOLUMES,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use kobune_pki::Identity;

    use super::*;

    fn allowed(user: &str, verb: &str, group: &str, resource: &str, subresource: &str) -> bool {
        let who = Identity::new(user, &["system:authenticated"]);
        Builtin.allows(&Attributes {
            who: &who,
            verb,
            is_resource: true,
            group,
            resource,
            subresource,
            namespace: "default",
            name: "x",
            path: "",
        })
    }

    #[test]
    fn the_scheduler_binds_pods_and_reads_no_secrets() {
        assert!(allowed("system:kube-scheduler", "create", "", "pods", "binding"));
        assert!(!allowed("system:kube-scheduler", "get", "", "secrets", ""));
        assert!(!allowed("system:kube-scheduler", "create", "", "pods", ""));
    }

    #[test]
    fn a_controller_may_do_its_own_work_only() {
        let deployment = "system:serviceaccount:kube-system:deployment-controller";
        assert!(allowed(deployment, "create", "apps", "replicasets", ""));
        assert!(allowed(deployment, "create", "", "events", ""));
        assert!(!allowed(deployment, "create", "", "pods", ""));
        assert!(!allowed(
            "system:serviceaccount:default:deployment-controller",
            "get",
            "",
            "pods",
            ""
        ));
    }

    #[test]
    fn nobody_in_particular_may_ask_about_himself_only() {
        assert!(allowed(
            "jane",
            "create",
            "authorization.k8s.io",
            "selfsubjectaccessreviews",
            ""
        ));
        assert!(!allowed("jane", "list", "", "pods", ""));
    }
}
