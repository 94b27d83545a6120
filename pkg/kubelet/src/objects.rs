//! The ConfigMaps and Secrets that pods of this node refer to: one watch per object, as long as a
//! pod needs it. A node sees only what its pods may see.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use kobune_client::cache::Cached;
use kobune_client::k8s_openapi::NamespaceResourceScope;
use kobune_client::k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kobune_client::kube::runtime::{WatchStreamExt, watcher};
use kobune_client::kube::{Api, Client, Resource};
use tokio::sync::watch;

use crate::mailbox::Mailbox;
use crate::pod::env::Referenced;
use crate::volume::References;

/// How long a first look may take before the pod is told that it failed.
const FIRST_LOOK: Duration = Duration::from_secs(30);

/// Why an object could not be looked at; a missing one is no error.
#[derive(Debug, Clone, thiserror::Error)]
#[error("failed to get {kind} {namespace}/{name}: {message}")]
pub struct LookError {
    kind: String,
    namespace: String,
    name: String,
    message: String,
}

#[derive(Debug)]
enum Seen<K> {
    NotYet,
    Missing,
    Found(Arc<K>),
    Failed(String),
}

impl<K> Clone for Seen<K> {
    fn clone(&self) -> Self {
        match self {
            Seen::NotYet => Seen::NotYet,
            Seen::Missing => Seen::Missing,
            Seen::Found(object) => Seen::Found(object.clone()),
            Seen::Failed(message) => Seen::Failed(message.clone()),
        }
    }
}

type Users = Arc<Mutex<HashMap<String, Arc<Mailbox>>>>;

struct Entry<K> {
    seen: watch::Receiver<Seen<K>>,
    users: Users,
    task: tokio::task::AbortHandle,
}

impl<K> Drop for Entry<K> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Slot = (String, String);

/// The watched objects of one kind.
struct Watched<K> {
    client: Client,
    entries: Mutex<HashMap<Slot, Entry<K>>>,
}

trait Object: Cached + Resource<Scope = NamespaceResourceScope> {}
impl<K: Cached + Resource<Scope = NamespaceResourceScope>> Object for K {}

impl<K: Object> Watched<K> {
    fn new(client: Client) -> Self {
        Watched {
            client,
            entries: Mutex::default(),
        }
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, HashMap<Slot, Entry<K>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pod uses exactly these objects from now on.
    fn set_users(&self, namespace: &str, names: &BTreeMap<String, bool>, pod: &str, mailbox: &Arc<Mailbox>) {
        let mut entries = self.entries();
        for name in names.keys() {
            let slot = (namespace.to_owned(), name.clone());
            let entry = entries.entry(slot).or_insert_with(|| self.start(namespace, name));
            lock(&entry.users).insert(pod.to_owned(), mailbox.clone());
        }
        entries.retain(|(of, name), entry| {
            let mut users = lock(&entry.users);
            if of == namespace && !names.contains_key(name) {
                users.remove(pod);
            }
            !users.is_empty()
        });
    }

    fn start(&self, namespace: &str, name: &str) -> Entry<K> {
        let (sender, seen) = watch::channel(Seen::NotYet);
        let users = Users::default();
        let api = Api::<K>::namespaced(self.client.clone(), namespace);
        let task = tokio::spawn(follow(api, name.to_owned(), sender, users.clone()));
        Entry {
            seen,
            users,
            task: task.abort_handle(),
        }
    }

    async fn get(&self, namespace: &str, name: &str) -> Result<Option<Arc<K>>, LookError> {
        let slot = (namespace.to_owned(), name.to_owned());
        let seen = self.entries().get(&slot).map(|e| e.seen.clone());
        let failed = |message: &str| LookError {
            kind: K::kind(&()).to_lowercase(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            message: message.to_owned(),
        };
        let Some(mut seen) = seen else {
            return Err(failed("the pod does not refer to it"));
        };
        let known = seen.wait_for(|s| !matches!(s, Seen::NotYet));
        match tokio::time::timeout(FIRST_LOOK, known).await {
            Ok(Ok(state)) => match &*state {
                Seen::Found(object) => Ok(Some(object.clone())),
                Seen::Failed(message) => Err(failed(message)),
                _ => Ok(None),
            },
            _ => Err(failed("timed out waiting for the API server")),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn follow<K: Object>(api: Api<K>, name: String, seen: watch::Sender<Seen<K>>, users: Users) {
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = std::pin::pin!(watcher(api, config).default_backoff());
    let mut listed = None;
    while let Some(event) = events.next().await {
        let next = match event {
            Ok(watcher::Event::Init) => {
                listed = None;
                continue;
            }
            Ok(watcher::Event::InitApply(object)) => {
                listed = Some(object);
                continue;
            }
            Ok(watcher::Event::InitDone) => listed.take().map_or(Seen::Missing, found),
            Ok(watcher::Event::Apply(object)) => found(object),
            Ok(watcher::Event::Delete(_)) => Seen::Missing,
            Err(error) => {
                // What is known stays good while the API server is away.
                if matches!(*seen.borrow(), Seen::NotYet) {
                    seen.send_replace(Seen::Failed(error.to_string()));
                }
                continue;
            }
        };
        let first = matches!(*seen.borrow(), Seen::NotYet);
        let same = match (&*seen.borrow(), &next) {
            (Seen::Found(a), Seen::Found(b)) => a.meta().resource_version == b.meta().resource_version,
            (Seen::Missing, Seen::Missing) => true,
            _ => false,
        };
        if same {
            continue;
        }
        seen.send_replace(next);
        if !first {
            for mailbox in lock(&users).values() {
                mailbox.objects_changed();
            }
        }
    }
}

fn found<K: Object>(mut object: K) -> Seen<K> {
    object.meta_mut().managed_fields = None;
    Seen::Found(Arc::new(object))
}

/// All objects that pods refer to.
pub struct Objects {
    config_maps: Watched<ConfigMap>,
    secrets: Watched<Secret>,
}

impl Objects {
    /// Nothing watched yet.
    pub fn new(client: Client) -> Self {
        Objects {
            config_maps: Watched::new(client.clone()),
            secrets: Watched::new(client),
        }
    }

    /// The pod refers to exactly these; its mailbox hears of their changes.
    pub fn set_references(&self, namespace: &str, pod: &str, refs: &References, mailbox: &Arc<Mailbox>) {
        self.config_maps
            .set_users(namespace, &refs.config_maps, pod, mailbox);
        self.secrets.set_users(namespace, &refs.secrets, pod, mailbox);
    }

    /// The pod is gone.
    pub fn forget(&self, namespace: &str, pod: &str, mailbox: &Arc<Mailbox>) {
        self.set_references(namespace, pod, &References::default(), mailbox);
    }

    /// The objects themselves, as far as they exist; waits for each one's first look.
    pub async fn get(&self, namespace: &str, refs: &References) -> Result<Referenced, LookError> {
        let mut referenced = Referenced::default();
        let names: HashSet<&String> = refs.config_maps.keys().collect();
        for name in names {
            if let Some(object) = self.config_maps.get(namespace, name).await? {
                referenced.config_maps.insert(name.clone(), object);
            }
        }
        for name in refs.secrets.keys() {
            if let Some(object) = self.secrets.get(namespace, name).await? {
                referenced.secrets.insert(name.clone(), object);
            }
        }
        Ok(referenced)
    }
}
