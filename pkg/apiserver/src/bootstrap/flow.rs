//! The FlowSchemas and PriorityLevelConfigurations that every cluster has, as upstream names, ranks
//! and sizes them.

use serde_json::{Value, json};

/// Says that the object follows the server's version, unless an administrator sets it to false.
const AUTO_UPDATE: &str = "apf.kubernetes.io/autoupdate-spec";

const API_VERSION: &str = "flowcontrol.apiserver.k8s.io/v1";

/// How a level holds back what is too much.
enum Response {
    /// Refuses it.
    Reject,
    /// Queues it: the number of queues and how many a flow is dealt; each is 50 long.
    Queue(u32, u32),
}

/// A limited level: name, shares, the percentage that others may borrow.
struct Level(&'static str, u32, u32, Response);

const LEVELS: &[Level] = &[
    Level("catch-all", 5, 0, Response::Reject),
    Level("system", 30, 33, Response::Queue(64, 6)),
    Level("node-high", 40, 25, Response::Queue(64, 6)),
    Level("leader-election", 10, 0, Response::Queue(16, 4)),
    Level("workload-high", 40, 50, Response::Queue(128, 6)),
    Level("workload-low", 100, 90, Response::Queue(128, 6)),
    Level("global-default", 20, 50, Response::Queue(128, 6)),
];

/// Whom a schema is about.
#[derive(Clone, Copy)]
enum Subject {
    Group(&'static str),
    User(&'static str),
    /// All service accounts of kube-system.
    SystemAccounts,
}

/// What a schema is about.
#[derive(Clone, Copy)]
enum Requests {
    /// All there are.
    All,
    /// GETs of the health paths.
    Probes,
    /// Locks of leader election.
    Leases,
    /// A node's own object and Lease.
    NodeHealth,
}

/// A schema: name, level, precedence, what tells its flows apart, subjects, requests.
struct Schema(
    &'static str,
    &'static str,
    u32,
    Option<&'static str>,
    &'static [Subject],
    Requests,
);

const USER: Option<&str> = Some("ByUser");
const NAMESPACE: Option<&str> = Some("ByNamespace");
const EVERYBODY: &[Subject] = &[
    Subject::Group("system:unauthenticated"),
    Subject::Group("system:authenticated"),
];
const MANAGER: Subject = Subject::User("system:kube-controller-manager");
const SCHEDULER: Subject = Subject::User("system:kube-scheduler");
const NODES: &[Subject] = &[Subject::Group("system:nodes")];

const SCHEMAS: &[Schema] = &[
    Schema(
        "exempt",
        "exempt",
        1,
        None,
        &[Subject::Group("system:masters")],
        Requests::All,
    ),
    Schema("probes", "exempt", 2, None, EVERYBODY, Requests::Probes),
    Schema(
        "system-leader-election",
        "leader-election",
        100,
        USER,
        &[MANAGER, SCHEDULER, Subject::SystemAccounts],
        Requests::Leases,
    ),
    Schema(
        "system-node-high",
        "node-high",
        400,
        USER,
        NODES,
        Requests::NodeHealth,
    ),
    Schema("system-nodes", "system", 500, USER, NODES, Requests::All),
    Schema(
        "kube-controller-manager",
        "workload-high",
        800,
        NAMESPACE,
        &[MANAGER],
        Requests::All,
    ),
    Schema(
        "kube-scheduler",
        "workload-high",
        800,
        NAMESPACE,
        &[SCHEDULER],
        Requests::All,
    ),
    Schema(
        "kube-system-service-accounts",
        "workload-high",
        900,
        NAMESPACE,
        &[Subject::SystemAccounts],
        Requests::All,
    ),
    Schema(
        "service-accounts",
        "workload-low",
        9000,
        USER,
        &[Subject::Group("system:serviceaccounts")],
        Requests::All,
    ),
    Schema(
        "global-default",
        "global-default",
        9900,
        USER,
        EVERYBODY,
        Requests::All,
    ),
    Schema("catch-all", "catch-all", 10_000, USER, EVERYBODY, Requests::All),
];

/// Every level, ready to be created.
pub fn levels() -> Vec<Value> {
    let exempt = json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}});
    let mut levels = vec![object("PriorityLevelConfiguration", "exempt", exempt)];
    for Level(name, shares, lendable, response) in LEVELS {
        let response = match response {
            Response::Reject => json!({"type": "Reject"}),
            Response::Queue(queues, hand) => json!({"type": "Queue",
                "queuing": {"queues": queues, "handSize": hand, "queueLengthLimit": 50}}),
        };
        let spec = json!({"type": "Limited", "limited": {"nominalConcurrencyShares": shares,
            "lendablePercent": lendable, "limitResponse": response}});
        levels.push(object("PriorityLevelConfiguration", name, spec));
    }
    levels
}

/// Every schema, ready to be created.
pub fn schemas() -> Vec<Value> {
    let schema = |Schema(name, level, precedence, by, subjects, requests): &Schema| {
        let mut rule = requests.rules();
        rule["subjects"] = subjects.iter().copied().map(Subject::json).collect();
        let mut spec = json!({"priorityLevelConfiguration": {"name": level},
            "matchingPrecedence": precedence, "rules": [rule]});
        if let Some(by) = by {
            spec["distinguisherMethod"] = json!({ "type": by });
        }
        object("FlowSchema", name, spec)
    };
    SCHEMAS.iter().map(schema).collect()
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": API_VERSION, "kind": kind, "spec": spec,
        "metadata": {"name": name, "annotations": {AUTO_UPDATE: "true"}}})
}

impl Subject {
    fn json(self) -> Value {
        match self {
            Subject::Group(name) => json!({"kind": "Group", "group": {"name": name}}),
            Subject::User(name) => json!({"kind": "User", "user": {"name": name}}),
            Subject::SystemAccounts => json!({"kind": "ServiceAccount",
                "serviceAccount": {"name": "*", "namespace": "kube-system"}}),
        }
    }
}

impl Requests {
    fn rules(self) -> Value {
        let resources = |verbs: &[&str], group: &str, resources: &[&str], cluster: bool| {
            let mut rule = json!({"verbs": verbs, "apiGroups": [group], "resources": resources,
                "namespaces": ["*"]});
            if cluster {
                rule["clusterScope"] = true.into();
            }
            rule
        };
        let leases = "coordination.k8s.io";
        match self {
            Requests::All => json!({"resourceRules": [resources(&["*"], "*", &["*"], true)],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]}),
            Requests::Probes => json!({"nonResourceRules": [
                {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}]}),
            Requests::Leases => json!({"resourceRules": [
                resources(&["get", "create", "update"], leases, &["leases"], false)]}),
            Requests::NodeHealth => json!({"resourceRules": [
                resources(&["*"], "", &["nodes", "nodes/status"], true),
                resources(&["*"], leases, &["leases"], false)]}),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_leads_to_a_level() {
        let levels = levels();
        for schema in schemas() {
            let level = &schema["spec"]["priorityLevelConfiguration"]["name"];
            assert!(
                levels.iter().any(|known| known["metadata"]["name"] == *level),
                "{level}"
            );
        }
    }
}
