//! What admission writes into new pods: their service account, their priority, and how long they
//! tolerate a node that does not answer.

use kobune_api::meta;
use kobune_api::status::Status;
use serde_json::{Value, json};

use crate::object::{at, fields, text};
use crate::registry::call::Call;

/// How long a pod stays on a node that is not ready or not reachable, in seconds.
const TOLERATED: i64 = 300;

/// A new pod.
pub fn create(call: &Call<'_>, pod: &mut Value) -> Result<(), Status> {
    service_account(pod);
    priority(call, pod)?;
    tolerate(pod, "node.kubernetes.io/not-ready");
    tolerate(pod, "node.kubernetes.io/unreachable");
    Ok(())
}

/// A pod without a service account has the one called `default`.
fn service_account(pod: &mut Value) {
    if meta::annotation(pod, "kubernetes.io/config.mirror").is_some() {
        return;
    }
    let spec = fields(pod, "spec");
    let given = spec
        .get("serviceAccountName")
        .and_then(Value::as_str)
        .unwrap_or("");
    let name = if given.is_empty() {
        "default".to_owned()
    } else {
        given.to_owned()
    };
    spec.insert("serviceAccountName".to_owned(), name.as_str().into());
    spec.insert("serviceAccount".to_owned(), name.into());
}

/// The class's value becomes the pod's priority.
fn priority(call: &Call<'_>, pod: &mut Value) -> Result<(), Status> {
    let name = text(pod, &["spec", "priorityClassName"]).to_owned();
    let class = if name.is_empty() {
        default_class(call)
    } else {
        Some(class(call, pod, &name)?)
    };
    let value = class
        .as_ref()
        .and_then(|class| class.get("value"))
        .and_then(Value::as_i64)
        .unwrap_or(0);
    let policy = class
        .as_ref()
        .map_or("", |class| text(class, &["preemptionPolicy"]));
    let policy = if policy.is_empty() {
        "PreemptLowerPriority"
    } else {
        policy
    };
    if let Some(given) = at(pod, &["spec", "priority"])
        .and_then(Value::as_i64)
        .filter(|given| *given != value)
    {
        let why = format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed {value} from the given PriorityClass name"
        );
        return Err(Status::forbidden(call.row.resource(), meta::name(pod), why));
    }
    let policy = policy.to_owned();
    let spec = fields(pod, "spec");
    if let Some(class) = class.filter(|_| name.is_empty()) {
        spec.insert("priorityClassName".to_owned(), meta::name(&class).into());
    }
    spec.insert("priority".to_owned(), value.into());
    spec.entry("preemptionPolicy").or_insert_with(|| policy.into());
    Ok(())
}

const CLASSES: &str = "/registry/scheduling.k8s.io/priorityclasses/";

fn class(call: &Call<'_>, pod: &Value, name: &str) -> Result<Value, Status> {
    let record = call.server.store.get(&format!("{CLASSES}{name}"));
    let class = record.and_then(|record| serde_json::from_slice(&record.value).ok());
    class.ok_or_else(|| {
        let why = format!("no PriorityClass with name {name} was found");
        Status::forbidden(call.row.resource(), meta::name(pod), why)
    })
}

/// The class that is the default for all, the lowest if there are several.
fn default_class(call: &Call<'_>) -> Option<Value> {
    let snapshot = call.server.store.snapshot();
    let classes = snapshot.range(CLASSES, None);
    classes
        .filter_map(|record| serde_json::from_slice::<Value>(&record.value).ok())
        .filter(|class| class["globalDefault"] == true)
        .min_by_key(|class| class["value"].as_i64())
}

fn tolerate(pod: &mut Value, taint: &str) {
    let tolerations = fields(pod, "spec")
        .entry("tolerations")
        .or_insert_with(|| json!([]));
    let Some(list) = tolerations.as_array_mut() else {
        return;
    };
    let covered = list.iter().any(|toleration| {
        let key = text(toleration, &["key"]);
        let effect = text(toleration, &["effect"]);
        (key == taint || key.is_empty()) && matches!(effect, "" | "NoExecute")
    });
    if !covered {
        list.push(json!({"key": taint, "operator": "Exists", "effect": "NoExecute",
            "tolerationSeconds": TOLERATED}));
    }
}
