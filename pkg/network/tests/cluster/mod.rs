//! A cluster's API as far as the caches need it: lists and watches of what a test puts in.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "no test uses all; a test ends at the first surprise"
)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use kobune_client::kube::client::Body;
use kobune_client::{Caches, in_process};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub const SERVICES: &str = "/api/v1/services";
pub const NAMESPACES: &str = "/api/v1/namespaces";
pub const SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices";
pub const RANGES: &str = "/apis/networking.k8s.io/v1/servicecidrs";

#[derive(Default)]
struct State {
    revision: u64,
    objects: BTreeMap<(String, String), Value>,
    events: Vec<(u64, String, Bytes)>,
    watches: Vec<(String, mpsc::UnboundedSender<Bytes>)>,
}

/// The API.
#[derive(Clone, Default)]
pub struct Cluster(Arc<Mutex<State>>);

impl Cluster {
    pub fn caches(&self, cancel: &CancellationToken) -> Caches {
        let api = self.clone();
        let client = in_process(move |request: http::Request<Body>| {
            let response = api.handle(&request);
            async move { response }
        });
        Caches::new(client, cancel.clone())
    }

    /// Creates or replaces an object of a collection.
    pub fn set(&self, collection: &str, mut object: Value) {
        let mut state = self.0.lock().unwrap();
        state.revision += 1;
        object["metadata"]["resourceVersion"] = json!(state.revision.to_string());
        let key = (
            collection.to_owned(),
            format!(
                "{}/{}",
                object["metadata"]["namespace"], object["metadata"]["name"]
            ),
        );
        let new = state.objects.insert(key, object.clone()).is_none();
        state.publish(collection, if new { "ADDED" } else { "MODIFIED" }, &object);
    }

    pub fn delete(&self, collection: &str, namespace: &str, name: &str) {
        let mut state = self.0.lock().unwrap();
        state.revision += 1;
        let key = (
            collection.to_owned(),
            format!("{}/{}", json!(namespace), json!(name)),
        );
        let mut object = state.objects.remove(&key).unwrap();
        object["metadata"]["resourceVersion"] = json!(state.revision.to_string());
        state.publish(collection, "DELETED", &object);
    }

    /// A Service and its slice with these endpoints.
    pub fn serve(&self, name: &str, spec: Value, endpoints: Value) {
        self.set(
            SERVICES,
            json!({"metadata": {"namespace": "shop", "name": name}, "spec": spec}),
        );
        self.endpoints(name, endpoints);
    }

    pub fn endpoints(&self, name: &str, endpoints: Value) {
        self.set(
            SLICES,
            json!({
            "metadata": {"namespace": "shop", "name": format!("{name}-1"),
                "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4", "endpoints": endpoints,
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"},
                {"name": "udp", "port": 8080, "protocol": "UDP"}]}),
        );
    }

    fn handle(&self, request: &http::Request<Body>) -> http::Response<UnsyncBoxBody<Bytes, Infallible>> {
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        let mut state = self.0.lock().unwrap();
        if !query.contains("watch=true") {
            let items: Vec<_> = state
                .objects
                .iter()
                .filter(|((of, _), _)| *of == path)
                .map(|(_, object)| object)
                .collect();
            let list = json!({"metadata": {"resourceVersion": state.revision.to_string()}, "items": items});
            return http::Response::new(Full::new(Bytes::from(list.to_string())).boxed_unsync());
        }
        let after = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("resourceVersion="))
            .unwrap_or("0");
        let after: u64 = after.parse().unwrap();
        let (sender, receiver) = mpsc::unbounded_channel();
        for (_, _, event) in state
            .events
            .iter()
            .filter(|(at, of, _)| *at > after && *of == path)
        {
            sender.send(event.clone()).unwrap();
        }
        state.watches.push((path, sender));
        let stream = futures_util::stream::unfold(receiver, |mut receiver| async move {
            let frame = Ok(http_body::Frame::data(receiver.recv().await?));
            Some((frame, receiver))
        });
        http::Response::new(StreamBody::new(stream).boxed_unsync())
    }
}

impl State {
    fn publish(&mut self, collection: &str, kind: &str, object: &Value) {
        let event = Bytes::from(format!("{}\n", json!({"type": kind, "object": object})));
        self.events
            .push((self.revision, collection.to_owned(), event.clone()));
        self.watches
            .retain(|(of, watch)| of != collection || watch.send(event.clone()).is_ok());
    }
}
