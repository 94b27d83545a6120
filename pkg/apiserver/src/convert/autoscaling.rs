//! `autoscaling/v1` HorizontalPodAutoscaler over the stored v2: one CPU target has a field, what v1
//! has no field for travels in annotations under upstream's names.

use kobune_api::meta;
use serde_json::{Map, Value, json};

use super::Convert;
use crate::object::{as_map, fields};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

/// See the module.
pub struct AutoscalingV1;

impl Convert for AutoscalingV1 {
    fn serve(&self, object: &mut Value) {
        as_map(object).insert("apiVersion".into(), "autoscaling/v1".into());
        let mut kept = Map::new();
        let spec = fields(object, "spec");
        let metrics = take_cpu(spec, "metrics", "target", "targetCPUUtilizationPercentage");
        note(&mut kept, METRICS, metrics);
        note(&mut kept, BEHAVIOR, spec.remove("behavior"));
        if object.get("status").is_some() {
            let status = fields(object, "status");
            let current = take_cpu(
                status,
                "currentMetrics",
                "current",
                "currentCPUUtilizationPercentage",
            );
            note(&mut kept, CURRENT, current);
            note(&mut kept, CONDITIONS, status.remove("conditions"));
        }
        if !kept.is_empty() {
            let annotations = meta::metadata_mut(object).entry("annotations");
            as_map(annotations.or_insert_with(|| json!({}))).extend(kept);
        }
    }

    fn store(&self, object: &mut Value) {
        as_map(object).insert("apiVersion".into(), "autoscaling/v2".into());
        let mut kept = take_notes(object);
        let spec = fields(object, "spec");
        let metrics = kept.remove(METRICS);
        put_cpu(
            spec,
            "metrics",
            "target",
            "targetCPUUtilizationPercentage",
            metrics,
        );
        if let Some(behavior) = kept.remove(BEHAVIOR) {
            spec.insert("behavior".into(), behavior);
        }
        if object.get("status").is_some() {
            let status = fields(object, "status");
            let current = kept.remove(CURRENT);
            put_cpu(
                status,
                "currentMetrics",
                "current",
                "currentCPUUtilizationPercentage",
                current,
            );
            if let Some(conditions) = kept.remove(CONDITIONS) {
                status.insert("conditions".into(), conditions);
            }
        }
    }
}

/// Takes the first CPU utilization out of a list of metrics into its own field; what is left of the
/// list is given back.
fn take_cpu(map: &mut Map<String, Value>, list: &str, side: &str, field: &str) -> Option<Value> {
    let Some(Value::Array(mut metrics)) = map.remove(list) else {
        return None;
    };
    let cpu = metrics.iter().position(|metric| {
        metric["type"] == "Resource"
            && metric["resource"]["name"] == "cpu"
            && metric["resource"][side]["averageUtilization"].is_i64()
    });
    if let Some(at) = cpu {
        let metric = metrics.remove(at);
        map.insert(
            field.to_owned(),
            metric["resource"][side]["averageUtilization"].clone(),
        );
    }
    (!metrics.is_empty()).then_some(Value::Array(metrics))
}

fn put_cpu(map: &mut Map<String, Value>, list: &str, side: &str, field: &str, rest: Option<Value>) {
    let mut metrics = match rest {
        Some(Value::Array(metrics)) => metrics,
        _ => Vec::new(),
    };
    if let Some(percent) = map.remove(field) {
        let mut value = json!({ "averageUtilization": percent });
        if side == "target" {
            value["type"] = json!("Utilization");
        }
        metrics.insert(
            0,
            json!({"type": "Resource", "resource": {"name": "cpu", side: value}}),
        );
    }
    if !metrics.is_empty() {
        map.insert(list.to_owned(), Value::Array(metrics));
    }
}

fn note(kept: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        kept.insert(name.to_owned(), value.to_string().into());
    }
}

/// Takes our annotations off, read back as what they hold. One that cannot be read is dropped.
fn take_notes(object: &mut Value) -> Map<String, Value> {
    let mut kept = Map::new();
    let metadata = meta::metadata_mut(object);
    let Some(Value::Object(annotations)) = metadata.get_mut("annotations") else {
        return kept;
    };
    for name in [METRICS, CURRENT, CONDITIONS, BEHAVIOR] {
        let value = annotations.remove(name);
        let read = value.as_ref().and_then(Value::as_str).map(serde_json::from_str);
        if let Some(Ok(value)) = read {
            kept.insert(name.to_owned(), value);
        }
    }
    if annotations.is_empty() {
        metadata.remove("annotations");
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_target_is_a_field_and_the_rest_an_annotation() {
        let stored = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "x"}, "spec": {"maxReplicas": 3, "metrics": [
                {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}},
                {"type": "Resource", "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 50}}}]}});
        let mut object = stored.clone();
        AutoscalingV1.serve(&mut object);
        assert_eq!(object["spec"]["targetCPUUtilizationPercentage"], 80);
        assert!(object["spec"].get("metrics").is_none());
        AutoscalingV1.store(&mut object);
        assert_eq!(object, stored);
    }
}
