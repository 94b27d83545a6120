//! Events: what components tell users, correlated as client-go does ([`correlate`]). Recording never
//! waits: one task writes.

mod correlate;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt};
use tokio::sync::mpsc;

use self::correlate::{Correlator, Entry};

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
        let Some(entry) = self.correlator.enter(&occurrence) else {
            return;
        };
        let written = match entry.count {
            1 => self.create(&api, &namespace, &occurrence, &entry).await,
            _ => self.count(&api, &namespace, &occurrence, &entry).await,
        };
        if let Err(error) = written {
            // A namespace that is being deleted takes no events; nothing else is lost with one.
            tracing::debug!(reason = occurrence.reason, %error, "an event was not recorded");
        }
    }

    async fn count(
        &self,
        api: &Api<Event>,
        namespace: &str,
        occurrence: &Occurrence,
        entry: &Entry,
    ) -> kube::Result<()> {
        let patch = serde_json::json!({"count": entry.count, "lastTimestamp": Time(occurrence.at),
            "message": entry.message});
        let patched = api
            .patch(&entry.name, &PatchParams::default(), &Patch::Merge(patch))
            .await;
        match patched {
            // It expired, or was never let through.
            Err(kube::Error::Api(status)) if status.code == 404 => {
                self.create(api, namespace, occurrence, entry).await
            }
            other => other.map(drop),
        }
    }

    async fn create(
        &self,
        api: &Api<Event>,
        namespace: &str,
        occurrence: &Occurrence,
        entry: &Entry,
    ) -> kube::Result<()> {
        let event = Event {
            metadata: ObjectMeta {
                name: Some(entry.name.clone()),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            involved_object: occurrence.object.clone(),
            reason: Some(occurrence.reason.clone()),
            message: Some(entry.message.clone()),
            type_: Some(occurrence.kind.as_str().to_owned()),
            source: Some((*self.source).clone()),
            first_timestamp: Some(Time(entry.first)),
            last_timestamp: Some(Time(occurrence.at)),
            event_time: None::<MicroTime>,
            count: Some(entry.count),
            reporting_component: self.source.component.clone(),
            reporting_instance: self.source.host.clone(),
            ..Event::default()
        };
        api.create(&PostParams::default(), &event).await.map(drop)
    }
}
