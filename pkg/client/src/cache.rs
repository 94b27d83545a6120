//! Shared caches: the newest known state of a kind, kept by one watch.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use futures_util::StreamExt;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::retry::Retry;

/// Namespace and name of an object; the namespace is empty for kinds of cluster scope.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// `metadata.namespace`, or empty.
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
}

impl Key {
    /// A key from its parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Key {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The key of an object.
    pub fn of<K: Resource>(object: &K) -> Self {
        let meta = object.meta();
        Key::new(
            meta.namespace.clone().unwrap_or_default(),
            meta.name.clone().unwrap_or_default(),
        )
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.namespace.as_str() {
            "" => f.write_str(&self.name),
            namespace => write!(f, "{namespace}/{}", self.name),
        }
    }
}

/// One change of a cache. Pointers only: cheap to pass on.
#[derive(Debug, Clone)]
pub enum Change<K> {
    /// An object is new (`previous` is `None`) or differs from before.
    Applied {
        /// The object now.
        object: Arc<K>,
        /// The object before.
        previous: Option<Arc<K>>,
    },
    /// An object is gone; this is its last known state.
    Deleted(Arc<K>),
}

impl<K> Change<K> {
    /// The object concerned, in its newest known state.
    pub fn object(&self) -> &Arc<K> {
        match self {
            Change::Applied { object, .. } | Change::Deleted(object) => object,
        }
    }
}

/// What can be cached: any kind of the API whose type is known at compile time.
pub trait Cached:
    Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static
{
}
impl<K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static> Cached for K {}

/// The changes of a cache, first every object that was there when the subscription began.
pub struct Changes<K>(mpsc::UnboundedReceiver<Change<K>>);

impl<K> Changes<K> {
    /// The next change; `None` when the cache has stopped.
    pub async fn next(&mut self) -> Option<Change<K>> {
        self.0.recv().await
    }

    /// A change that is there already.
    pub fn try_next(&mut self) -> Option<Change<K>> {
        self.0.try_recv().ok()
    }
}

struct State<K> {
    objects: HashMap<Key, Arc<K>>,
    subscribers: Vec<mpsc::UnboundedSender<Change<K>>>,
}

impl<K> State<K> {
    fn publish(&mut self, change: Change<K>) {
        self.subscribers.retain(|subscriber| {
            let copy = match &change {
                Change::Applied { object, previous } => Change::Applied {
                    object: object.clone(),
                    previous: previous.clone(),
                },
                Change::Deleted(object) => Change::Deleted(object.clone()),
            };
            subscriber.send(copy).is_ok()
        });
    }
}

struct Inner<K> {
    state: RwLock<State<K>>,
    ready: watch::Receiver<bool>,
}

/// The newest known state of one kind. Cheap to clone.
pub struct Cache<K>(Arc<Inner<K>>);

impl<K> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Cache(self.0.clone())
    }
}

impl<K: Cached> Cache<K> {
    /// Waits for the first complete list; false when the cache stopped before.
    pub async fn ready(&self) -> bool {
        let mut ready = self.0.ready.clone();
        // The error says that the feeding task ended, which happens at a shutdown only.
        ready.wait_for(|ready| *ready).await.is_ok()
    }

    /// One object.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.get_key(&Key::new(namespace, name))
    }

    /// One object.
    pub fn get_key(&self, key: &Key) -> Option<Arc<K>> {
        self.read(|state| state.objects.get(key).cloned())
    }

    /// All objects, in no order.
    pub fn list(&self) -> Vec<Arc<K>> {
        self.read(|state| state.objects.values().cloned().collect())
    }

    /// The objects of a namespace, in no order.
    pub fn list_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        self.filter(|key, _| key.namespace == namespace)
    }

    /// The objects that `keep` holds for. It runs under the cache's lock: keep it short.
    pub fn filter(&self, keep: impl Fn(&Key, &K) -> bool) -> Vec<Arc<K>> {
        self.read(|state| {
            state
                .objects
                .iter()
                .filter(|(key, object)| keep(key, object))
                .map(|(_, object)| object.clone())
                .collect()
        })
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.read(|state| state.objects.len())
    }

    /// True when there is no object (or none yet: see [`Cache::ready`]).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All changes from now on, preceded by all objects that are there now. None is lost; a
    /// subscriber that does not read keeps them in memory.
    pub fn subscribe(&self) -> Changes<K> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut state = self.0.state.write().unwrap_or_else(PoisonError::into_inner);
        for object in state.objects.values() {
            // The receiver is in our hands: sending cannot fail.
            let _ = sender.send(Change::Applied {
                object: object.clone(),
                previous: None,
            });
        }
        state.subscribers.push(sender);
        Changes(receiver)
    }

    fn read<T>(&self, look: impl FnOnce(&State<K>) -> T) -> T {
        look(&self.0.state.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<K: Cached> Inner<K> {
    fn apply(&self, object: K) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        insert(&mut state, object);
    }

    fn delete(&self, object: &K) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.objects.remove(&Key::of(object)).is_some() {
            // The event's object is the final state, newer than what was cached.
            state.publish(Change::Deleted(Arc::new(object.clone())));
        }
    }

    /// A complete list replaces everything; subscribers see only what differs.
    fn replace(&self, objects: Vec<K>) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let listed: std::collections::HashSet<Key> = objects.iter().map(Key::of).collect();
        let gone: Vec<Key> = state
            .objects
            .keys()
            .filter(|key| !listed.contains(*key))
            .cloned()
            .collect();
        for key in gone {
            if let Some(object) = state.objects.remove(&key) {
                state.publish(Change::Deleted(object));
            }
        }
        for object in objects {
            insert(&mut state, object);
        }
    }
}

fn insert<K: Cached>(state: &mut State<K>, mut object: K) {
    // Nobody in the house reads field ownership, and it is half of many an object.
    object.meta_mut().managed_fields = None;
    let key = Key::of(&object);
    if let Some(previous) = state.objects.get(&key)
        && previous.resource_version() == object.resource_version()
    {
        return;
    }
    // Same name, other uid: the old object went and a new one came between two looks.
    if let Some(previous) = state.objects.get(&key)
        && previous.uid() != object.uid()
        && let Some(previous) = state.objects.remove(&key)
    {
        state.publish(Change::Deleted(previous));
    }
    let object = Arc::new(object);
    let previous = state.objects.insert(key, object.clone());
    state.publish(Change::Applied { object, previous });
}

/// The caches that were started, by kind and field selector.
type Started = HashMap<(TypeId, String), Box<dyn Any + Send + Sync>>;

/// All caches of this process.
#[derive(Clone)]
pub struct Caches {
    client: Client,
    cancel: CancellationToken,
    caches: Arc<Mutex<Started>>,
}

impl Caches {
    /// No cache yet; each starts at its first use and stops with `cancel`.
    pub fn new(client: Client, cancel: CancellationToken) -> Self {
        Caches {
            client,
            cancel,
            caches: Arc::default(),
        }
    }

    /// The cache of a kind, all namespaces.
    pub fn get<K: Cached>(&self) -> Cache<K> {
        self.get_selected("")
    }

    /// The cache of those objects of a kind that a field selector matches, for example
    /// `spec.nodeName=edge-1`. Empty: all.
    pub fn get_selected<K: Cached>(&self, fields: &str) -> Cache<K> {
        let mut caches = self.caches.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = (TypeId::of::<K>(), fields.to_owned());
        if let Some(cache) = caches
            .get(&slot)
            .and_then(|cache| cache.downcast_ref::<Cache<K>>())
        {
            return cache.clone();
        }
        let cache = self.start::<K>(fields);
        caches.insert(slot, Box::new(cache.clone()));
        cache
    }

    fn start<K: Cached>(&self, fields: &str) -> Cache<K> {
        let (is_ready, ready) = watch::channel(false);
        let state = RwLock::new(State {
            objects: HashMap::new(),
            subscribers: Vec::new(),
        });
        let inner = Arc::new(Inner { state, ready });
        let api = Api::<K>::all(self.client.clone());
        let config = if fields.is_empty() {
            watcher::Config::default()
        } else {
            watcher::Config::default().fields(fields)
        };
        tokio::spawn(feed(api, config, inner.clone(), is_ready, self.cancel.clone()));
        Cache(inner)
    }
}

async fn feed<K: Cached>(
    api: Api<K>,
    config: watcher::Config,
    inner: Arc<Inner<K>>,
    is_ready: watch::Sender<bool>,
    cancel: CancellationToken,
) {
    let mut events = std::pin::pin!(watcher(api, config).backoff(Retry::new()));
    let mut listed = Vec::new();
    loop {
        let event = tokio::select! {
            () = cancel.cancelled() => return,
            event = events.next() => event,
        };
        match event {
            Some(Ok(watcher::Event::Apply(object))) => inner.apply(object),
            Some(Ok(watcher::Event::Delete(object))) => inner.delete(&object),
            Some(Ok(watcher::Event::Init)) => listed.clear(),
            Some(Ok(watcher::Event::InitApply(object))) => listed.push(object),
            Some(Ok(watcher::Event::InitDone)) => {
                inner.replace(std::mem::take(&mut listed));
                is_ready.send_replace(true);
            }
            Some(Err(error)) => {
                tracing::debug!(kind = %K::kind(&()), %error, "a watch ended and is begun again");
            }
            None => return,
        }
    }
}
