//! Events: what components tell users, correlated as client-go does (`tools/record`).
//!
//! The same event again raises a count; more than ten similar ones of an object within ten minutes
//! become one "(combined from similar events)"; an object that is the subject of too many is cut
//! off (25 at once, then one in five minutes). Recording never waits: one task writes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt};
use tokio::sync::mpsc;

/// Similar events of one object within [`SIMILAR_WINDOW`] before they are combined.
const SIMILAR_LIMIT: usize = 10;
const SIMILAR_WINDOW: Duration = Duration::from_secs(600);
/// Events of one object at once, and how long until one more is let through.
const BURST: f64 = 25.0;
const REFILL: Duration = Duration::from_secs(300);
/// Objects that are remembered for correlation.
const REMEMBERED: usize = 1024;

/// `type` of an Event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventType {
    /// Something went as it should.
    Normal,
    /// Something went wrong.
    Warning,
}

impl EventType {
    fn as_str(self) -> &'static str {
        match self {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        }
    }
}

struct Occurrence {
    object: ObjectReference,
    kind: EventType,
    reason: String,
    message: String,
    at: Timestamp,
}

/// Writes events in the name of one component. Cheap to clone.
#[derive(Clone)]
pub struct Recorder(mpsc::UnboundedSender<Occurrence>);

impl Recorder {
    /// A recorder for `component` (`kubelet`, `default-scheduler`, ...) on `host` (empty: none).
    pub fn new(client: Client, component: &str, host: &str) -> Self {
        let (sender, mut receiver) = mpsc::unbounded_channel::<Occurrence>();
        let source = EventSource {
            component: Some(component.to_owned()),
            host: (!host.is_empty()).then(|| host.to_owned()),
        };
        let mut writer = Writer {
            client,
            source: Arc::new(source),
            correlator: Correlator::default(),
        };
        tokio::spawn(async move {
            while let Some(occurrence) = receiver.recv().await {
                writer.write(occurrence).await;
            }
        });
        Recorder(sender)
    }

    /// Records that something happened to `object`. Returns at once.
    pub fn event(&self, object: &ObjectReference, kind: EventType, reason: &str, message: impl Into<String>) {
        let occurrence = Occurrence {
            object: object.clone(),
            kind,
            reason: reason.to_owned(),
            message: message.into(),
            at: Timestamp::now(),
        };
        // The writer only ends with the runtime itself.
        let _ = self.0.send(occurrence);
    }
}

/// A reference to an object, as events carry it.
pub fn reference<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        name: object.meta().name.clone(),
        namespace: object.namespace(),
        uid: object.uid(),
        resource_version: object.resource_version(),
        field_path: None,
    }
}

/// What to do with an occurrence.
#[derive(Debug, PartialEq)]
enum Decision {
    Create {
        message: String,
    },
    Count {
        name: String,
        count: i32,
        message: String,
    },
    Drop,
}

type SubjectKey = (String, String, String);
type SimilarKey = (SubjectKey, &'static str, String);

#[derive(Default)]
struct Correlator {
    similar: HashMap<SimilarKey, Vec<(Timestamp, String)>>,
    counted: HashMap<(SimilarKey, String), (String, i32)>,
    buckets: HashMap<SubjectKey, (f64, Timestamp)>,
}

impl Correlator {
    fn decide(&mut self, occurrence: &Occurrence) -> (Decision, (SimilarKey, String)) {
        self.shed();
        let subject = subject(&occurrence.object);
        let similar: SimilarKey = (
            subject.clone(),
            occurrence.kind.as_str(),
            occurrence.reason.clone(),
        );
        let message = self.combine(&similar, occurrence);
        let same = (similar, message.clone());
        if !self.admit(subject, occurrence.at) {
            return (Decision::Drop, same);
        }
        let decision = match self.counted.get_mut(&same) {
            Some((name, count)) => {
                *count += 1;
                Decision::Count {
                    name: name.clone(),
                    count: *count,
                    message,
                }
            }
            None => Decision::Create { message },
        };
        (decision, same)
    }

    /// The message, or the combined form when too many different ones came.
    fn combine(&mut self, similar: &SimilarKey, occurrence: &Occurrence) -> String {
        let seen = self.similar.entry(similar.clone()).or_default();
        seen.retain(|(at, _)| occurrence.at.duration_since(*at).unsigned_abs() < SIMILAR_WINDOW);
        if !seen.iter().any(|(_, message)| *message == occurrence.message) {
            if seen.len() >= SIMILAR_LIMIT {
                return format!("(combined from similar events): {}", occurrence.message);
            }
            seen.push((occurrence.at, occurrence.message.clone()));
        }
        occurrence.message.clone()
    }

    fn admit(&mut self, subject: SubjectKey, at: Timestamp) -> bool {
        let (tokens, filled) = self.buckets.entry(subject).or_insert((BURST, at));
        let elapsed = at.duration_since(*filled).as_secs_f64().max(0.0);
        *tokens = (*tokens + elapsed / REFILL.as_secs_f64()).min(BURST);
        *filled = at;
        if *tokens < 1.0 {
            return false;
        }
        *tokens -= 1.0;
        true
    }

    /// Correlation is a convenience: its memory is bounded by starting over.
    fn shed(&mut self) {
        if self.buckets.len() > REMEMBERED || self.counted.len() > 4 * REMEMBERED {
            *self = Correlator::default();
        }
    }
}

fn subject(object: &ObjectReference) -> SubjectKey {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let path = text(&object.field_path);
    (
        format!("{}/{}", text(&object.kind), text(&object.namespace)),
        text(&object.name),
        text(&object.uid) + &path,
    )
}

struct Writer {
    client: Client,
    source: Arc<EventSource>,
    correlator: Correlator,
}

impl Writer {
    async fn write(&mut self, occurrence: Occurrence) {
        let namespace = match occurrence.object.namespace.as_deref() {
            Some(namespace) if !namespace.is_empty() => namespace.to_owned(),
            _ => "default".to_owned(),
        };
        let api = Api::<Event>::namespaced(self.client.clone(), &namespace);
        let (decision, same) = self.correlator.decide(&occurrence);
        let written = match decision {
            Decision::Drop => return,
            Decision::Create { message } => self.create(&api, &namespace, &occurrence, message, same).await,
            Decision::Count { name, count, message } => {
                let patch = serde_json::json!({"count": count, "lastTimestamp": Time(occurrence.at), "message": message});
                match api
                    .patch(&name, &PatchParams::default(), &Patch::Merge(patch))
                    .await
                {
                    Err(kube::Error::Api(status)) if status.code == 404 => {
                        // It expired: begin anew.
                        self.create(&api, &namespace, &occurrence, message, same).await
                    }
                    other => other.map(drop),
                }
            }
        };
        if let Err(error) = written {
            // A namespace that is being deleted takes no events; nothing else is lost with one.
            tracing::debug!(reason = occurrence.reason, %error, "an event was not recorded");
        }
    }

    async fn create(
        &mut self,
        api: &Api<Event>,
        namespace: &str,
        occurrence: &Occurrence,
        message: String,
        same: (SimilarKey, String),
    ) -> kube::Result<()> {
        let subject = occurrence.object.name.clone().unwrap_or_default();
        let name = format!("{subject}.{:x}", occurrence.at.as_nanosecond());
        let event = Event {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            involved_object: occurrence.object.clone(),
            reason: Some(occurrence.reason.clone()),
            message: Some(message),
            type_: Some(occurrence.kind.as_str().to_owned()),
            source: Some((*self.source).clone()),
            first_timestamp: Some(Time(occurrence.at)),
            last_timestamp: Some(Time(occurrence.at)),
            event_time: None::<MicroTime>,
            count: Some(1),
            reporting_component: self.source.component.clone(),
            reporting_instance: self.source.host.clone(),
            ..Event::default()
        };
        api.create(&PostParams::default(), &event).await?;
        self.correlator.counted.insert(same, (name, 1));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn occurrence(message: &str, second: i64) -> Occurrence {
        Occurrence {
            object: ObjectReference {
                name: Some("web".into()),
                ..ObjectReference::default()
            },
            kind: EventType::Warning,
            reason: "BackOff".into(),
            message: message.into(),
            at: Timestamp::from_second(1_000_000 + second).unwrap(),
        }
    }

    #[test]
    fn the_same_event_again_is_counted() {
        let mut correlator = Correlator::default();
        let (first, same) = correlator.decide(&occurrence("a", 0));
        assert_eq!(first, Decision::Create { message: "a".into() });
        correlator.counted.insert(same, ("web.1".into(), 1));
        let (second, _) = correlator.decide(&occurrence("a", 1));
        assert_eq!(
            second,
            Decision::Count {
                name: "web.1".into(),
                count: 2,
                message: "a".into()
            }
        );
    }

    #[test]
    fn many_similar_events_are_combined() {
        let mut correlator = Correlator::default();
        for index in 0..10 {
            correlator.decide(&occurrence(&format!("m{index}"), index));
        }
        let (decision, _) = correlator.decide(&occurrence("m10", 10));
        assert_eq!(
            decision,
            Decision::Create {
                message: "(combined from similar events): m10".into()
            }
        );
    }

    #[test]
    fn a_noisy_object_is_cut_off_and_let_through_again() {
        let mut correlator = Correlator::default();
        for _ in 0..25 {
            assert_ne!(correlator.decide(&occurrence("a", 0)).0, Decision::Drop);
        }
        assert_eq!(correlator.decide(&occurrence("a", 0)).0, Decision::Drop);
        assert_ne!(correlator.decide(&occurrence("a", 301)).0, Decision::Drop);
    }
}
