//! The Node: registered, kept up to date, its Lease renewed.
//!
//! The Lease is the heartbeat (every 10 s); the status is written when something changed, or after
//! five minutes.

pub mod machine;
pub mod object;
mod pressure;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kobune_client::EventType;
use kobune_client::k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kobune_client::k8s_openapi::api::core::v1::{Node, NodeStatus, ObjectReference};
use kobune_client::k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference};
use kobune_client::kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kobune_client::kube::{self, Api};
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use self::machine::{Disk, Machine, memory_available};
use self::object::Health;
use self::pressure::{Pressure, disk_is_low, memory_is_low};
use crate::context::Context;
use crate::image::gc::{self, Thresholds};

const LEASE_NAMESPACE: &str = "kube-node-lease";
const LEASE_SECONDS: i32 = 40;
const RETRY: Duration = Duration::from_millis(200);

struct Keeper {
    context: Arc<Context>,
    machine: Machine,
    nodes: Api<Node>,
    leases: Api<Lease>,
    status: NodeStatus,
    health: Health,
    memory: Pressure,
    disk: Pressure,
    uid: String,
    written_at: Instant,
    images: usize,
}

/// Keeps the Node's object until cancelled. `ready` is told once the node was first written as ready.
pub async fn run(
    context: Arc<Context>,
    machine: Machine,
    ready: oneshot::Sender<()>,
    cancel: CancellationToken,
) {
    let keeper = tokio::select! {
        keeper = Keeper::register(context, machine) => keeper,
        () = cancel.cancelled() => return,
    };
    tokio::select! {
        () = keeper.keep(ready) => {}
        () = cancel.cancelled() => {}
    }
}

impl Keeper {
    /// Until it works: the API server may just be starting.
    async fn register(context: Arc<Context>, machine: Machine) -> Self {
        let nodes: Api<Node> = Api::all(context.client.clone());
        let leases: Api<Lease> = Api::namespaced(context.client.clone(), LEASE_NAMESPACE);
        let mut keeper = Keeper {
            context,
            machine,
            nodes,
            leases,
            status: NodeStatus::default(),
            health: Health::default(),
            memory: Pressure::default(),
            disk: Pressure::default(),
            uid: String::new(),
            written_at: Instant::now(),
            images: 0,
        };
        loop {
            match keeper.register_once().await {
                Ok(()) => return keeper,
                Err(error) => {
                    tracing::warn!(%error, "registering the node failed");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn register_once(&mut self) -> Result<(), kube::Error> {
        self.health = self.look().await;
        let config = &self.context.config;
        let status = self.make_status(None).await;
        let wanted = object::node(config, &self.machine, status.clone());
        let there = match self.nodes.create(&PostParams::default(), &wanted).await {
            Ok(node) => node,
            Err(kube::Error::Api(e)) if e.code == 409 => self.update_existing(&wanted).await?,
            Err(error) => return Err(error),
        };
        self.uid = there.metadata.uid.clone().unwrap_or_default();
        self.status = there.status.unwrap_or_default();
        tracing::info!(node = %config.node_name, "registered");
        self.tell(EventType::Normal, "Starting", "Starting kubelet.");
        let before = self.status.node_info.as_ref().map(|info| info.boot_id.as_str());
        if before.is_some_and(|before| !before.is_empty() && before != self.machine.boot_id) {
            let (name, boot) = (&config.node_name, &self.machine.boot_id);
            let message = format!("Node {name} has been rebooted, boot id: {boot}");
            self.tell(EventType::Warning, "Rebooted", &message);
        }
        self.tell_pressures(None, &self.health);
        self.write_status().await
    }

    async fn update_existing(&self, wanted: &Node) -> Result<Node, kube::Error> {
        let name = &self.context.config.node_name;
        let there = self.nodes.get(name).await?;
        let has = |have: &Option<std::collections::BTreeMap<String, String>>,
                   want: &Option<std::collections::BTreeMap<String, String>>| {
            want.iter()
                .flatten()
                .all(|(k, v)| have.as_ref().and_then(|h| h.get(k)) == Some(v))
        };
        let (have, want) = (&there.metadata, &wanted.metadata);
        let cidr = wanted.spec.as_ref().and_then(|s| s.pod_cidr.clone());
        let lacks_cidr = cidr.is_some() && there.spec.as_ref().is_none_or(|s| s.pod_cidr.is_none());
        if has(&have.labels, &want.labels) && has(&have.annotations, &want.annotations) && !lacks_cidr {
            return Ok(there);
        }
        let mut patch = serde_json::json!({
            "metadata": {"labels": want.labels, "annotations": want.annotations.clone().unwrap_or_default()}
        });
        if lacks_cidr {
            patch["spec"] = serde_json::json!({"podCIDR": cidr, "podCIDRs": [cidr]});
        }
        self.nodes
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
    }

    fn tell(&self, kind: EventType, reason: &str, message: &str) {
        let name = &self.context.config.node_name;
        let reference = ObjectReference {
            kind: Some("Node".into()),
            api_version: Some("v1".into()),
            name: Some(name.clone()),
            // Upstream's way: events of nodes carry the name as uid.
            uid: Some(name.clone()),
            ..ObjectReference::default()
        };
        self.context.recorder.event(&reference, kind, reason, message);
    }

    async fn keep(mut self, ready: oneshot::Sender<()>) {
        let mut ready = Some(ready);
        let mut tick = tokio::time::interval(self.context.config.lease_period);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.renew_lease().await;
            let health = self.look().await;
            let due = self.written_at.elapsed() >= self.context.config.status_period;
            if due && health.not_ready.is_none() {
                self.collect_images().await;
            }
            if health != self.health || due {
                self.tell_health(&health);
                self.health = health;
                if let Err(error) = self.write_status().await {
                    tracing::warn!(%error, "writing the node's status failed");
                }
            }
            if self.health.not_ready.is_none()
                && let Some(ready) = ready.take()
            {
                // Nobody may wait for it.
                let _ = ready.send(());
            }
        }
    }

    fn tell_health(&self, now: &Health) {
        let name = &self.context.config.node_name;
        match (&self.health.not_ready, &now.not_ready) {
            (Some(_), None) => self.tell(
                EventType::Normal,
                "NodeReady",
                &format!("Node {name} status is now: NodeReady"),
            ),
            (None, Some(_)) => self.tell(
                EventType::Normal,
                "NodeNotReady",
                &format!("Node {name} status is now: NodeNotReady"),
            ),
            _ => {}
        }
        self.tell_pressures(Some(&self.health), now);
    }

    /// An event for each pressure that began or ended; for all of them when nothing was known.
    fn tell_pressures(&self, old: Option<&Health>, now: &Health) {
        /// How a pressure is looked up, and the reasons for its end and its beginning.
        type Pressure = (fn(&Health) -> bool, [&'static str; 2]);
        let pressures: [Pressure; 3] = [
            (
                |h| h.memory_pressure,
                ["NodeHasSufficientMemory", "NodeHasInsufficientMemory"],
            ),
            (
                |h| h.disk_pressure,
                ["NodeHasNoDiskPressure", "NodeHasDiskPressure"],
            ),
            (
                |h| h.pid_pressure,
                ["NodeHasSufficientPID", "NodeHasInsufficientPID"],
            ),
        ];
        for (of, reasons) in pressures {
            if old.map(of) != Some(of(now)) {
                let reason = reasons[usize::from(of(now))];
                let name = &self.context.config.node_name;
                self.tell(
                    EventType::Normal,
                    reason,
                    &format!("Node {name} status is now: {reason}"),
                );
            }
        }
    }

    async fn look(&mut self) -> Health {
        let runtime = self.asked(self.context.runtime.version()).await;
        let disk = Disk::of(&self.context.config.root_dir);
        let now = Instant::now();
        Health {
            not_ready: runtime.err().map(|e| format!("container runtime is down: {e}")),
            memory_pressure: self.memory.see(memory_is_low(memory_available()), now),
            disk_pressure: self.disk.see(disk.is_some_and(|disk| disk_is_low(&disk)), now),
            pid_pressure: false,
        }
    }

    /// The runtime's answer. One that says nothing for a Lease's period is as good as down, and must not
    /// keep the Lease from being renewed.
    async fn asked<T>(
        &self,
        answer: impl Future<Output = kobune_runtime::Result<T>>,
    ) -> kobune_runtime::Result<T> {
        let silence = self.context.config.lease_period;
        let silent = |_| kobune_runtime::Error::Unavailable {
            message: format!("it has said nothing for {} s", silence.as_secs()),
        };
        tokio::time::timeout(silence, answer).await.map_err(silent)?
    }

    async fn make_status(&self, old: Option<&NodeStatus>) -> NodeStatus {
        let runtime = &self.context.runtime;
        let (mut version, mut images) = (None, None);
        if self.health.not_ready.is_none() {
            version = self.asked(runtime.version()).await.ok();
            images = self.asked(runtime.images()).await.ok();
        }
        let config = &self.context.config;
        let now = Timestamp::now();
        object::status(
            config,
            &self.machine,
            version.as_ref(),
            images.as_deref(),
            &self.health,
            old,
            now,
        )
    }

    async fn write_status(&mut self) -> Result<(), kube::Error> {
        let next = self.make_status(Some(&self.status)).await;
        self.images = next.images.as_ref().map_or(0, Vec::len);
        let patch = serde_json::json!({ "status": next });
        let name = &self.context.config.node_name;
        let written = self
            .nodes
            .patch_status(name, &PatchParams::default(), &Patch::Strategic(patch))
            .await;
        self.written_at = Instant::now();
        match written {
            Ok(node) => {
                self.status = node.status.unwrap_or_default();
                Ok(())
            }
            Err(kube::Error::Api(e)) if e.code == 404 => {
                // Somebody deleted the Node while this process runs: it comes back.
                let wanted = object::node(&self.context.config, &self.machine, next);
                let node = self.nodes.create(&PostParams::default(), &wanted).await?;
                self.uid = node.metadata.uid.unwrap_or_default();
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn renew_lease(&self) {
        let name = &self.context.config.node_name;
        let now = MicroTime(Timestamp::now());
        let patch = serde_json::json!({"spec": {"renewTime": now, "holderIdentity": name,
            "leaseDurationSeconds": LEASE_SECONDS}});
        let renewed = self
            .leases
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await;
        let result = match renewed {
            Err(kube::Error::Api(e)) if e.code == 404 => self.create_lease(now).await,
            other => other.map(drop),
        };
        if let Err(error) = result {
            tracing::warn!(%error, "renewing the node's Lease failed");
        }
    }

    async fn create_lease(&self, now: MicroTime) -> Result<(), kube::Error> {
        let name = self.context.config.node_name.clone();
        let owner = OwnerReference {
            api_version: "v1".into(),
            kind: "Node".into(),
            name: name.clone(),
            uid: self.uid.clone(),
            ..OwnerReference::default()
        };
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(LEASE_NAMESPACE.into()),
                owner_references: (!self.uid.is_empty()).then(|| vec![owner]),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(name),
                lease_duration_seconds: Some(LEASE_SECONDS),
                renew_time: Some(now),
                ..LeaseSpec::default()
            }),
        };
        self.leases.create(&PostParams::default(), &lease).await.map(drop)
    }

    async fn collect_images(&self) {
        let config = &self.context.config;
        let thresholds = Thresholds {
            high: config.image_gc_high_percent,
            low: config.image_gc_low_percent,
            minimum_age: config.image_minimum_age,
        };
        match gc::collect(&*self.context.runtime, thresholds).await {
            Ok(0) => {}
            Ok(bytes) => {
                tracing::info!(bytes, "freed disk space by removing unused images");
                self.context.puller.forget_gone(&*self.context.runtime).await;
            }
            Err(error) => {
                tracing::warn!(%error, "removing unused images failed");
                self.tell(EventType::Warning, "ImageGCFailed", &error.to_string());
            }
        }
    }
}
