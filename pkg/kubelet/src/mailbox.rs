//! What a pod's worker has not looked at yet. Senders never wait and nothing is lost: the same news
//! twice is one, so a mailbox is never larger than its pod.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use kobune_client::k8s_openapi::api::core::v1::Pod;
use kobune_runtime::Container;
use tokio::sync::Notify;

use crate::probe::book::ProbeKind;

/// News for a worker.
#[derive(Debug, Default)]
pub struct Mail {
    /// The newest object.
    pub pod: Option<Arc<Pod>>,
    /// The object is gone from the API.
    pub gone: bool,
    /// Containers to look at.
    pub containers: BTreeSet<String>,
    /// All containers of the pod, after the runtime was away.
    pub listed: Option<Vec<Container>>,
    /// A ConfigMap or Secret it refers to changed.
    pub objects: bool,
    /// Results of probes: container id, probe, success.
    pub probes: VecDeque<(String, ProbeKind, bool)>,
}

/// One pod's inbox.
#[derive(Debug, Default)]
pub struct Mailbox {
    mail: Mutex<Mail>,
    notify: Notify,
}

impl Mailbox {
    fn post(&self, write: impl FnOnce(&mut Mail)) {
        write(&mut self.mail.lock().unwrap_or_else(PoisonError::into_inner));
        self.notify.notify_one();
    }

    /// The object changed.
    pub fn pod(&self, pod: Arc<Pod>) {
        self.post(|m| m.pod = Some(pod));
    }

    /// The object is gone; this was its last state.
    pub fn gone(&self, pod: Arc<Pod>) {
        self.post(|m| {
            m.pod = Some(pod);
            m.gone = true;
        });
    }

    /// Something happened to a container.
    pub fn container(&self, id: String) {
        self.post(|m| {
            m.containers.insert(id);
        });
    }

    /// Everything the runtime has of the pod.
    pub fn listed(&self, containers: Vec<Container>) {
        self.post(|m| m.listed = Some(containers));
    }

    /// A referenced object changed.
    pub fn objects_changed(&self) {
        self.post(|m| m.objects = true);
    }

    /// A probe has a new result.
    pub fn probe(&self, container: &str, kind: ProbeKind, success: bool) {
        self.post(|m| {
            // Only the newest result of each probe matters.
            m.probes.retain(|(id, k, _)| id != container || *k != kind);
            m.probes.push_back((container.to_owned(), kind, success));
        });
    }

    /// Takes everything.
    pub fn take(&self) -> Mail {
        std::mem::take(&mut self.mail.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for news; answers at once when there was some since the last wait.
    pub async fn wait(&self) {
        self.notify.notified().await;
    }
}
