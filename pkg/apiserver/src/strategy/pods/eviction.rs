//! `pods/eviction` (policy/v1): a delete that the pod's disruption budgets may refuse.

use bytes::Bytes;
use http::{Response, StatusCode};
use kobune_api::meta;
use kobune_api::selectors::LabelSelector;
use kobune_api::status::{self, Status};
use serde_json::{Value, json};

use super::has_condition;
use crate::http::body::Body;
use crate::object::{at, fields, integer, text};
use crate::registry::call::Call;
use crate::registry::options::{DeleteOptions, WriteOptions};
use crate::registry::{delete, output, update};
use crate::rules;

/// POST of `pods/{name}/eviction`.
pub async fn evict(call: &Call<'_>, body: Bytes) -> Result<Response<Body>, Status> {
    let write = WriteOptions::parse(call.query, "CreateOptions")?;
    let eviction = rules::decode_part(call, &body, write.validation)?;
    let given = meta::name(&eviction);
    if !given.is_empty() && given != call.info.name {
        return Err(Status::bad_request(
            "name in URL does not match name in Eviction object",
        ));
    }
    let null = Value::Null;
    let mut options = DeleteOptions::from_object(eviction.get("deleteOptions").unwrap_or(&null))?;
    options.dry_run |= write.dry_run;
    let Some(record) = call.server.store.get(&call.key()) else {
        return Err(Status::not_found(call.row.resource(), call.info.name));
    };
    let pod = call.read(&record.value)?;
    if is_counted(&pod) {
        spend(call, &pod, &write).await?;
    }
    delete::evict(call, &options).await?;
    Ok(output::status(
        call,
        StatusCode::CREATED,
        &status::success(Some(201), None),
    ))
}

/// Pods that are over, not begun, or on their way out disrupt nobody.
fn is_counted(pod: &Value) -> bool {
    let phase = text(pod, &["status", "phase"]);
    !matches!(phase, "Succeeded" | "Failed" | "Pending") && meta::deletion_timestamp(pod).is_empty()
}

/// Takes one disruption from the pod's budget, or refuses with 429.
async fn spend(call: &Call<'_>, pod: &Value, options: &WriteOptions<'_>) -> Result<(), Status> {
    let Some(row) = call.server.rows.find("policy", "v1", "poddisruptionbudgets") else {
        return Ok(());
    };
    let budgets = budgets(call, &row, pod);
    let budget = match budgets.as_slice() {
        [] => return Ok(()),
        [budget] => budget,
        _ => {
            let why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
            return Err(Status::internal(why));
        }
    };
    let unready = !has_condition(pod, "Ready");
    let always = text(budget, &["spec", "unhealthyPodEvictionPolicy"]) == "AlwaysAllow";
    let healthy = integer(budget, &["status", "currentHealthy"]).unwrap_or(0);
    let desired = integer(budget, &["status", "desiredHealthy"]).unwrap_or(0);
    if unready && (always || healthy >= desired && desired > 0) {
        return Ok(());
    }
    let name = meta::name(budget).to_owned();
    let info = crate::http::info::RequestInfo {
        group: "policy",
        resource: "poddisruptionbudgets",
        subresource: "status",
        name: &name,
        ..call.info.clone()
    };
    let inner = Call {
        row: &row,
        info: &info,
        warnings: std::sync::Mutex::default(),
        ..*call
    };
    let pod_name = call.info.name.to_owned();
    update::change(&inner, "status", options, &mut |budget| {
        take(budget, &pod_name, call.now)
    })
    .await
    .map(drop)
}

fn budgets(call: &Call<'_>, row: &crate::registry::row::Row, pod: &Value) -> Vec<Value> {
    let snapshot = call.server.store.snapshot();
    let labels = meta::labels(pod).cloned().unwrap_or_default();
    let range = snapshot.range(&row.collection(call.info.namespace), None);
    range
        .filter_map(|record| serde_json::from_slice::<Value>(&record.value).ok())
        .filter(|budget| {
            let selector = LabelSelector::from_object(at(budget, &["spec", "selector"]));
            selector.is_ok_and(|selector| selector.matches(&labels))
        })
        .collect()
}

fn take(budget: &Value, pod: &str, now: jiff::Timestamp) -> Result<Value, Status> {
    let refuse = |why: &str| {
        Status::too_many(
            "Cannot evict pod as it would violate the pod's disruption budget.",
            0,
        )
        .with_cause("DisruptionBudget", why, "")
    };
    let name = meta::name(budget);
    let observed = integer(budget, &["status", "observedGeneration"]).unwrap_or(0);
    if observed < meta::generation(budget) {
        return Err(Status::too_many(
            "Cannot evict pod as it would violate the pod's disruption budget.",
            10,
        )
        .with_cause(
            "DisruptionBudget",
            format!("The disruption budget {name} is still being processed by the server."),
            "",
        ));
    }
    let allowed = integer(budget, &["status", "disruptionsAllowed"]).unwrap_or(0);
    if allowed <= 0 {
        let healthy = integer(budget, &["status", "currentHealthy"]).unwrap_or(0);
        let desired = integer(budget, &["status", "desiredHealthy"]).unwrap_or(0);
        return Err(refuse(&format!(
            "The disruption budget {name} needs {desired} healthy pods and has {healthy} currently"
        )));
    }
    let mut budget = budget.clone();
    let status = fields(&mut budget, "status");
    status.insert("disruptionsAllowed".to_owned(), (allowed - 1).into());
    let disrupted = status.entry("disruptedPods").or_insert_with(|| json!({}));
    disrupted[pod] = meta::time(now).into();
    Ok(budget)
}
