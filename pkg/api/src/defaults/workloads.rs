//! Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs, CronJobs, autoscalers.

use super::rule::{Rule, fill};
use super::{CLAIM, child, pod, text};
use serde_json::{Map, Value, json};

const DEPLOYMENT: &[Rule] = &[
    Rule::object("status"),
    Rule::nil_number("spec.replicas", 1),
    Rule::zero("spec.strategy.type", "RollingUpdate"),
    Rule::nil_number("spec.revisionHistoryLimit", 10),
    Rule::nil_number("spec.progressDeadlineSeconds", 600),
];

const STATEFUL_SET: &[Rule] = &[
    Rule::object("status"),
    Rule::zero("spec.podManagementPolicy", "OrderedReady"),
    Rule::zero("spec.persistentVolumeClaimRetentionPolicy.whenDeleted", "Retain"),
    Rule::zero("spec.persistentVolumeClaimRetentionPolicy.whenScaled", "Retain"),
    Rule::nil_number("spec.replicas", 1),
    Rule::nil_number("spec.revisionHistoryLimit", 10),
    Rule::zero("spec.volumeClaimTemplates[].apiVersion", "v1"),
    Rule::zero("spec.volumeClaimTemplates[].kind", "PersistentVolumeClaim"),
];

const DAEMON_SET: &[Rule] = &[
    Rule::object("status"),
    Rule::zero("spec.updateStrategy.type", "RollingUpdate"),
    Rule::nil_number("spec.revisionHistoryLimit", 10),
];

const CRON_JOB: &[Rule] = &[
    Rule::object("status"),
    Rule::zero("spec.concurrencyPolicy", "Allow"),
    Rule::nil_flag("spec.suspend", false),
    Rule::nil_number("spec.successfulJobsHistoryLimit", 3),
    Rule::nil_number("spec.failedJobsHistoryLimit", 1),
    Rule::object("spec.jobTemplate.metadata"),
];

const JOB_SPEC: &[Rule] = &[
    Rule::nil_number("parallelism", 1),
    Rule::nil("completionMode", "NonIndexed"),
    Rule::nil_flag("suspend", false),
    Rule::nil_flag("manualSelector", false),
];

/// The kinds of `apps` and `batch`.
pub(super) fn apply(group: &str, kind: &str, object: &mut Map<String, Value>) {
    match (group, kind) {
        ("apps", "Deployment") => {
            fill(object, DEPLOYMENT);
            with_spec(object, |spec| {
                rolling_update(spec, "strategy", json!("25%"), json!("25%"))
            });
        }
        ("apps", "ReplicaSet") => {
            fill(
                object,
                const { &[Rule::object("status"), Rule::nil_number("spec.replicas", 1)] },
            );
            with_spec(object, |_| ());
        }
        ("apps", "StatefulSet") => {
            fill(object, STATEFUL_SET);
            with_spec(object, stateful_set_spec);
        }
        ("apps", "DaemonSet") => {
            fill(object, DAEMON_SET);
            with_spec(object, |spec| {
                rolling_update(spec, "updateStrategy", json!(1), json!(0))
            });
        }
        ("batch", "Job") => {
            fill(object, const { &[Rule::object("status")] });
            with_spec(object, job_spec);
            labels_of_template(object);
        }
        ("batch", "CronJob") => {
            fill(object, CRON_JOB);
            let job = child(object, "spec").and_then(|spec| child(spec, "jobTemplate"));
            let spec = job.and_then(|job| child(job, "spec"));
            if let Some(spec) = spec {
                // A job that is still a template has no defaults of its own, only its pods have.
                pod::template(child(spec, "template"));
                failure_policy(spec);
            }
        }
        _ => {}
    }
}

/// A ReplicationController takes selector and labels from its template.
pub(super) fn replication_controller(object: &mut Map<String, Value>) {
    fill(
        object,
        const { &[Rule::object("status"), Rule::nil_number("spec.replicas", 1)] },
    );
    if let Some(spec) = child(object, "spec") {
        let labels = template_labels(spec).cloned();
        let silent = spec
            .get("selector")
            .and_then(Value::as_object)
            .is_none_or(Map::is_empty);
        if let (true, Some(labels)) = (silent, labels) {
            spec.insert("selector".to_owned(), Value::Object(labels));
        }
        // Other than the kinds of apps, it can be without a template.
        if let Some(Value::Object(template)) = spec.get_mut("template") {
            pod::template(Some(template));
        }
    }
    labels_of_template(object);
}

/// Applies `apply` to the spec and then the pod template's defaults.
fn with_spec(object: &mut Map<String, Value>, apply: impl FnOnce(&mut Map<String, Value>)) {
    if let Some(spec) = child(object, "spec") {
        apply(spec);
        pod::template(child(spec, "template"));
    }
}

fn template_labels(spec: &Map<String, Value>) -> Option<&Map<String, Value>> {
    let labels = spec
        .get("template")?
        .get("metadata")?
        .get("labels")?
        .as_object()?;
    (!labels.is_empty()).then_some(labels)
}

fn labels_of_template(object: &mut Map<String, Value>) {
    let labels = object
        .get("spec")
        .and_then(Value::as_object)
        .and_then(template_labels)
        .cloned();
    let (Some(labels), Some(metadata)) = (labels, child(object, "metadata")) else {
        return;
    };
    if metadata
        .get("labels")
        .and_then(Value::as_object)
        .is_none_or(Map::is_empty)
    {
        metadata.insert("labels".to_owned(), Value::Object(labels));
    }
}

fn rolling_update(spec: &mut Map<String, Value>, strategy: &str, unavailable: Value, surge: Value) {
    let Some(strategy) = child(spec, strategy) else {
        return;
    };
    if text(strategy, "type") != "RollingUpdate" {
        return;
    }
    let Some(rolling) = child(strategy, "rollingUpdate") else {
        return;
    };
    for (key, value) in [("maxUnavailable", unavailable), ("maxSurge", surge)] {
        if rolling.get(key).is_none_or(Value::is_null) {
            rolling.insert(key.to_owned(), value);
        }
    }
}

fn stateful_set_spec(spec: &mut Map<String, Value>) {
    for claim in spec
        .get_mut("volumeClaimTemplates")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if let Value::Object(claim) = claim {
            fill(claim, CLAIM);
        }
    }
    let Some(strategy) = child(spec, "updateStrategy") else {
        return;
    };
    if text(strategy, "type").is_empty() {
        fill(
            strategy,
            const { &[Rule::zero("type", "RollingUpdate"), Rule::object("rollingUpdate")] },
        );
    }
    if text(strategy, "type") == "RollingUpdate" {
        fill(
            strategy,
            const { &[Rule::nil_number("rollingUpdate?.partition", 0)] },
        );
    }
}

fn job_spec(spec: &mut Map<String, Value>) {
    let given = |spec: &Map<String, Value>, key: &str| spec.get(key).is_some_and(|v| !v.is_null());
    if !given(spec, "completions") && !given(spec, "parallelism") {
        spec.insert("completions".to_owned(), json!(1));
    }
    fill(spec, JOB_SPEC);
    if !given(spec, "backoffLimit") {
        let limit = if given(spec, "backoffLimitPerIndex") {
            i32::MAX
        } else {
            6
        };
        spec.insert("backoffLimit".to_owned(), json!(limit));
    }
    if !given(spec, "podReplacementPolicy") {
        let policy = if given(spec, "podFailurePolicy") {
            "Failed"
        } else {
            "TerminatingOrFailed"
        };
        spec.insert("podReplacementPolicy".to_owned(), json!(policy));
    }
    failure_policy(spec);
}

fn failure_policy(spec: &mut Map<String, Value>) {
    fill(
        spec,
        const {
            &[Rule::zero(
                "podFailurePolicy?.rules[].onPodConditions[].status",
                "True",
            )]
        },
    );
}

/// The kinds of `autoscaling`.
pub(super) fn autoscaler(version: &str, kind: &str, object: &mut Map<String, Value>) {
    if kind != "HorizontalPodAutoscaler" {
        return;
    }
    fill(
        object,
        const { &[Rule::object("status"), Rule::nil_number("spec.minReplicas", 1)] },
    );
    let Some(spec) = child(object, "spec") else { return };
    if version == "v1" {
        fill(
            spec,
            const { &[Rule::nil_number("targetCPUUtilizationPercentage", 80)] },
        );
        return;
    }
    if spec
        .get("metrics")
        .and_then(Value::as_array)
        .is_none_or(Vec::is_empty)
    {
        let target = json!({ "type": "Utilization", "averageUtilization": 80 });
        let metric = json!({ "type": "Resource", "resource": { "name": "cpu", "target": target } });
        spec.insert("metrics".to_owned(), json!([metric]));
    }
    if let Some(Value::Object(behavior)) = spec.get_mut("behavior") {
        let percent = json!({ "type": "Percent", "value": 100, "periodSeconds": 15 });
        let pods = json!({ "type": "Pods", "value": 4, "periodSeconds": 15 });
        let up =
            json!({ "stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [pods, percent] });
        let down = json!({ "selectPolicy": "Max", "policies": [percent] });
        for (key, rules) in [("scaleUp", up), ("scaleDown", down)] {
            if let Value::Object(rules) = rules {
                super::fill_missing(behavior, key, rules);
            }
        }
    }
}
