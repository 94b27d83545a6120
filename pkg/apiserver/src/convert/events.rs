//! `events.k8s.io/v1` over the stored `v1` Event: the same fields under other names.

use serde_json::{Map, Value};

use super::Convert;
use crate::object::as_map;

/// Served name, stored name.
const NAMES: [(&str, &str); 7] = [
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

/// See the module.
pub struct EventsV1;

impl Convert for EventsV1 {
    fn serve(&self, object: &mut Value) {
        let event = as_map(object);
        event.insert("apiVersion".into(), "events.k8s.io/v1".into());
        NAMES
            .iter()
            .for_each(|(served, stored)| rename(event, stored, served));
    }

    fn store(&self, object: &mut Value) {
        let event = as_map(object);
        event.insert("apiVersion".into(), "v1".into());
        NAMES
            .iter()
            .for_each(|(served, stored)| rename(event, served, stored));
        // The core version always has these two.
        for field in ["involvedObject", "source"] {
            event.entry(field).or_insert_with(|| Value::Object(Map::new()));
        }
    }
}

fn rename(event: &mut Map<String, Value>, from: &str, to: &str) {
    if let Some(value) = event.remove(from) {
        event.insert(to.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_survives_both_ways() {
        let served = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "note": "n",
            "regarding": {"kind": "Pod"}, "deprecatedSource": {"component": "c"}, "type": "Normal"});
        let mut object = served.clone();
        EventsV1.store(&mut object);
        assert_eq!(object["involvedObject"]["kind"], "Pod");
        assert_eq!(object["message"], "n");
        EventsV1.serve(&mut object);
        assert_eq!(object, served);
    }
}
